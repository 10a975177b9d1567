"""Denoisers of digits that experiments of several chapters begin with.

kept = build/races/ddpm-…: their checkpoints, by the code that trained them

Each is trained once, in a minute or so, and read again afterwards.
"""

import hashlib
import shutil
import time
from pathlib import Path

import torch

from llmnotes import checkpoint
from llmnotes.diffusion.ddpm import Denoiser, runs
from tests import contests


def trained(
    target="velocity", schedule="cosine", error="l2", seed=0, drop=0.0,
    steps=runs.STEPS, rate=runs.RATE, shape=runs.SMALL,
) -> Denoiser:  # fmt: skip
    """A denoiser that has learned `task.digits`; frozen, its average only."""
    denoiser, _ = with_seconds(
        target, schedule, error, seed, drop, steps, rate, shape
    )
    denoiser.network = denoiser.network.average
    return denoiser.requires_grad_(False).eval()


def with_seconds(
    target, schedule, error, seed, drop, steps=runs.STEPS, rate=runs.RATE,
    shape=runs.SMALL,
):  # fmt: skip
    """The same with its learner, and the CPU seconds that it took."""
    job = target, schedule, error, seed, drop, steps, rate, shape
    folder, noted = home(job), home(job).with_suffix(".seconds")
    denoiser = runs.untrained(target, schedule, seed, shape)
    if noted.exists():
        checkpoint.load(folder, denoiser)
    else:
        noted.write_text(str(teach(denoiser, job, folder)), "utf-8")
    return denoiser, float(noted.read_text("utf-8"))


def teach(denoiser, job, folder) -> float:
    """Train from the start on one thread; the CPU seconds that it took."""
    _, _, error, seed, drop, steps, rate, _ = job
    torch.set_num_threads(1)
    learned = runs.task(denoiser, error, seed, drop)
    config = runs.config(steps, rate, seed)
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
    start = time.process_time()
    runs.learn(denoiser, learned, config, out=folder, progress=False)
    return time.process_time() - start


def home(job) -> Path:
    """Where a denoiser is kept."""
    text = f"{contests.sources(runs.__name__)} {job}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return contests.KEPT / f"ddpm-{digest}"
