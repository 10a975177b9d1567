"""CLIPs that guide: one that has seen noise, one that has not.

kept = build/races/glide-clip-…: their checkpoints, by the code that trained
"""

import hashlib
import shutil
from pathlib import Path

import torch

from llmnotes import checkpoint, train
from llmnotes.diffusion.clip import CLIP
from llmnotes.diffusion.clip.task import LAPTOP
from llmnotes.diffusion.ddpm import Schedule, cosine
from llmnotes.diffusion.glide import clip_guidance, noisy_pairs
from tests import contests

STEPS, RATE = 400, 2e-3
KINDS = {"noised": 1000, "clean": 0}  # the largest t that each has seen


def trained(kind, seed=0):
    """A CLIP of captioned shapes with the face of a noised one; frozen."""
    torch.manual_seed(seed)
    if kind == "noised":
        model = clip_guidance.NoisedCLIP(LAPTOP)
    else:
        model = clip_guidance.AsIfClean(CLIP(LAPTOP))
    folder = home((kind, seed))
    if checkpoint.steps(folder)[-1:] == [STEPS]:
        checkpoint.load(folder, model)
    else:
        teach(model, kind, seed, folder)
    return model.requires_grad_(False).eval()


def teach(model, kind, seed, folder) -> None:
    """Train from the start on one thread."""
    torch.set_num_threads(1)
    schedule = Schedule(cosine())
    learned = noisy_pairs.NoisyPairs(schedule, KINDS[kind], seed=seed)
    config = train.TrainConfig(
        steps=STEPS, batch_size=1, learning_rate=RATE,
        min_learning_rate=0.0, schedule="linear", warmup=50,
        betas=(0.9, 0.98), eval_every=STEPS, seed=seed,
    )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
    train.fit(model, learned, config, out=folder, progress=False)


def home(job) -> Path:
    """Where a CLIP is kept."""
    text = f"{contests.sources(__name__)} {job}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return contests.KEPT / f"glide-clip-{digest}"
