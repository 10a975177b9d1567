"""Denoisers of captioned shapes that experiments of several chapters use.

kept = build/races/glide-…: their checkpoints, by the code that trained them

Each is trained once, in minutes, and read again afterwards.
"""

import hashlib
import shutil
import time
from pathlib import Path

import torch

from llmnotes import checkpoint
from llmnotes.diffusion.ddpm import Denoiser
from llmnotes.diffusion.glide import runs
from tests import contests
from tests.diffusion.clip import models


def trained(objects=2, seed=0, reads="itself", target="data") -> Denoiser:
    """A denoiser that has learned scenes of so many things; frozen."""
    denoiser, _ = with_seconds(objects, seed, reads, target)
    return denoiser.requires_grad_(False).eval()


def with_seconds(objects=2, seed=0, reads="itself", target="data"):
    """The same, and the CPU seconds that its training took.

    `reads` says who reads captions: the network "itself", or "CLIP".
    """
    job = objects, seed, reads, target
    folder, noted = home(job), home(job).with_suffix(".seconds")
    denoiser = untrained(*job)
    if noted.exists():
        checkpoint.load(folder, denoiser)
    else:
        noted.write_text(str(teach(denoiser, job, folder)), "utf-8")
    return denoiser, float(noted.read_text("utf-8"))


def untrained(objects, seed, reads, target) -> Denoiser:
    """The same, before it learns."""
    shape = runs.SHAPES[objects]
    if reads == "itself":
        return runs.untrained(shape, target, seed)
    return runs.reading(models.trained(seed), shape, target, seed)


def teach(denoiser, job, folder) -> float:
    """Train from the start on one thread; the CPU seconds that it took."""
    objects, seed, *_ = job
    torch.set_num_threads(1)
    learned = runs.task(denoiser, objects, seed)
    config = runs.config(runs.STEPS[objects], seed=seed)
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
    start = time.process_time()
    runs.learn(denoiser, learned, config, out=folder, progress=False)
    return time.process_time() - start


def home(job) -> Path:
    """Where a denoiser is kept."""
    text = f"{contests.sources(runs.__name__)} {job}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return contests.KEPT / f"glide-{digest}"
