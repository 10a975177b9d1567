"""CLIPs of captioned shapes that experiments of several chapters begin with.

kept = build/races/clip-…: their checkpoints, by the code that trained them

Each is trained once, in a minute or so, and read again afterwards.
"""

import hashlib
import shutil
import time
from dataclasses import asdict
from pathlib import Path

import torch

from llmnotes import checkpoint, scenes
from llmnotes.diffusion.clip import CLIP, runs
from llmnotes.diffusion.clip.looker import DrownedCLIP, ShapesCLIP
from llmnotes.diffusion.clip.task import (
    candidates,
    embedded,
    judge,
    pixels,
    told,
)
from llmnotes.modes import evaluating
from llmnotes.scenes import VOCABULARY
from tests import contests

KINDS = {"shapes": ShapesCLIP, "drowned": DrownedCLIP}
STEPS = runs.STEPS
PICTURES, SEED = 512, 777  # that a model is judged by


def trained(
    seed=0, recipe="exchanges", kind="shapes", steps=runs.STEPS
) -> CLIP:
    """A CLIP that has learned; frozen."""
    model, _ = with_seconds(recipe, kind, steps, seed)
    return model.requires_grad_(False).eval()


def with_seconds(recipe, kind, steps, seed):
    """The same, still to be trained on, and the CPU seconds that it took."""
    job = recipe, kind, steps, seed
    folder, noted = home(job), home(job).with_suffix(".seconds")
    model = runs.untrained(KINDS[kind], seed)
    if noted.exists():
        checkpoint.load(folder, model)
    else:
        noted.parent.mkdir(parents=True, exist_ok=True)
        noted.write_text(str(teach(model, job, folder)), "utf-8")
    return model, float(noted.read_text("utf-8"))


def teach(model, job, folder) -> float:
    """Train from the start on one thread; the CPU seconds that it took."""
    recipe, _, steps, seed = job
    torch.set_num_threads(1)
    learned = runs.task(recipe, seed)
    config = runs.config(steps, seed=seed, every=steps // 3)
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
    start = time.process_time()
    runs.learn(model, learned, config, out=folder, progress=False)
    return time.process_time() - start


def home(job) -> Path:
    """Where a CLIP is kept."""
    text = f"{contests.sources(runs.__name__)} {job}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return contests.KEPT / f"clip-{digest}"


def judged(recipe, kind, steps, seed):
    """What a CLIP reads of known and of held-out scenes, and its seconds."""
    torch.set_num_threads(1)
    model, seconds = with_seconds(recipe, kind, steps, seed)
    found = {"seconds": seconds, "scale": model.logit_scale.exp().item()}
    with evaluating(model):
        found["loss"] = runs.task("pairs").evaluate(model)
    for split in ("test", "held_out"):
        shown = scenes.batch(SEED, 0, PICTURES, split=split)
        said = judge(model, pixels(shown.images), shown.scenes)
        found |= {f"{split} {name}": v for name, v in asdict(said).items()}
        found[f"{split} alone"] = alone(model, split == "held_out")
    return found


def alone(model, held_out):
    """The share of single things whose caption is found among all 24.

    No caption in training tells of one thing.
    """
    every = scenes.scenes(1, None)
    some = scenes.scenes(1, held_out)
    shown = scenes.batch(SEED, 1, PICTURES, some, split="test")
    ids = VOCABULARY.encode([scenes.caption(scene) for scene in every])
    with evaluating(model):
        seen = embedded(model.embed_images, pixels(shown.images))
        best = (seen @ model.embed_texts(ids).T).argmax(1)
    right = [every[i] == s for i, s in zip(best, shown.scenes, strict=True)]
    return sum(right) / len(right)


def eight(seed=0, count=8):
    """Pictures and captions, each with every one: captions and cosines."""
    model = trained(seed)
    shown = scenes.batch(SEED, 2, count, split="test")
    ids = VOCABULARY.encode([scenes.caption(scene) for scene in shown.scenes])
    with evaluating(model):
        seen = model.embed_images(pixels(shown.images))
        cosines = seen @ model.embed_texts(ids).T
    return [scenes.caption(scene) for scene in shown.scenes], cosines


def nearest(seed=0, count=5):
    """The captions that come nearest to one picture, and their logits."""
    model = trained(seed)
    shown = scenes.batch(SEED, 3, 1, split="test")
    meant = [s for s in candidates() if s.relation in ("left of", "above")]
    with evaluating(model):
        seen = model.embed_images(pixels(shown.images))
        texts = embedded(model.embed_texts, told(meant))
        logits = (model.logit_scale.exp() * seen @ texts.T)[0]
    chances = logits.softmax(0)
    best = logits.topk(count).indices.tolist()
    return shown, [
        (scenes.caption(meant[i]), logits[i].item(), chances[i].item())
        for i in best
    ]
