"""Trained CLIPs, priors and decoders, each with what its training took.

kept = build/races/dalle2-…: checkpoints, by the code that trained them
"""

import functools
import hashlib
import shutil
import time
from pathlib import Path

import torch

from llmnotes import checkpoint
from llmnotes.diffusion.dalle2 import runs
from llmnotes.diffusion.dalle2.task import Known, known
from llmnotes.scenes import scenes
from tests import contests
from tests.diffusion.clip import models as clips


def clip(seed):
    """The CLIP of the chapter before, frozen."""
    return clips.trained(seed)


@functools.cache
def pairs(seed):
    """What priors learn from, and what judges them on the way."""
    path = home(("pairs", seed)).with_suffix(".pt")
    if not path.exists():
        eyes, among = clip(seed), scenes(2)
        learned = known(eyes, runs.PAIRS, among=among, seed=seed)
        judged = known(eyes, runs.JUDGED, among=among, split="test")
        found = [(k.texts, k.images) for k in (learned, judged)]
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        torch.save(found, part)
        part.replace(path)
    return [Known(*each, []) for each in torch.load(path)]


def prior(name, seed):
    """A prior as its recipe makes it, and the CPU seconds of that."""
    learned, judged = pairs(seed)
    made = runs.untrained(name, learned, seed)

    def teach(folder):
        runs.learn(
            made, name, learned, judged, seed=seed, out=folder, progress=False
        )

    if name not in runs.RECIPES:
        return made.eval(), 0.0
    return kept(made, teach, name, seed)


def decoder(seed):
    """A decoder, and the CPU seconds of its training."""
    eyes = clip(seed)
    made = runs.untrained_decoder(eyes.config.projection_dim, seed=seed)

    def teach(folder):
        runs.learn_decoder(made, eyes, seed=seed, out=folder, progress=False)

    return kept(made, teach, "decoder", seed)


def kept(model, teach, *job):
    """Load a model, or teach it and keep it; with the seconds it took."""
    folder, noted = home(job), home(job).with_suffix(".seconds")
    if noted.exists():
        checkpoint.load(folder, model)
    else:
        torch.set_num_threads(1)
        shutil.rmtree(folder, ignore_errors=True)  # of a run that stopped
        start = time.process_time()
        teach(folder)
        seconds = time.process_time() - start
        noted.write_text(str(seconds), "utf-8")
    model.requires_grad_(False).eval()
    return model, float(noted.read_text("utf-8"))


def home(job) -> Path:
    """Where a model is kept."""
    known = [contests.sources(m.__name__) for m in (runs, clips.runs)]
    text = f"{known} {job}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return contests.KEPT / f"dalle2-{digest}"
