"""Autoencoders and denoisers of captioned shapes, trained once and kept.

kept = build/races/latent-…: their checkpoints, by the code that trained them

In both spaces the same trained CLIP reads; its own training is not counted.
"""

import functools
import hashlib
import shutil
import time
from pathlib import Path

import torch

from llmnotes import checkpoint
from llmnotes.diffusion.glide import Tower
from llmnotes.diffusion.glide import runs as glide
from llmnotes.diffusion.glide.task import EMPTY
from llmnotes.diffusion.latent_diffusion import runs, studio
from tests import contests
from tests.diffusion.clip import models
from tests.diffusion.glide import denoisers


def autoencoder(seed=0, weight=runs.WEIGHT, steps=runs.AUTOENCODER_STEPS):
    """A trained one, frozen and scaled, and the CPU seconds it took."""
    torch.set_num_threads(1)
    model = runs.untrained_autoencoder(seed=seed)
    learned = runs.encoding(model, seed=seed, weight=weight)
    teach = functools.partial(
        runs.learn_autoencoder, model, learned,
        studio.first_stage(steps, seed, every=steps), progress=False,
    )  # fmt: skip
    seconds = once(("autoencoder", seed, weight, steps), model, teach)
    runs.rescale(model, runs.measured(learned.among))
    return model.requires_grad_(False).eval(), seconds


def of_latents(seed=0, target="data", steps=runs.STEPS):
    """A denoiser, its autoencoder, and the CPU seconds of both together."""
    encoder, before = autoencoder(seed)
    denoiser = runs.reading(models.trained(seed), target=target, seed=seed)
    learned = runs.task(denoiser, encoder, seed=seed)
    seconds = second_stage("latents", denoiser, learned, target, steps, seed)
    return denoiser.requires_grad_(False).eval(), encoder, before + seconds


def of_pixels(seed=0, target="data"):
    """GLIDE's denoiser of two things, and the CPU seconds that it took.

    Its 1,200 steps take as long as both stages of latents.
    """
    denoiser, seconds = denoisers.with_seconds(2, seed, "CLIP", target)
    return denoiser.requires_grad_(False).eval(), seconds


def of_squares(seed=0, target="data"):
    """The same without convolutions: squares of 4 × 4 pixels are tokens."""
    tower = Tower(models.trained(seed), EMPTY)
    denoiser = runs.untrained(glide.TWO, target, seed, tower)
    learned, steps = glide.task(denoiser, 2, seed), glide.STEPS[2]
    seconds = second_stage("squares", denoiser, learned, target, steps, seed)
    return denoiser.requires_grad_(False).eval(), seconds


def second_stage(what, denoiser, learned, target, steps, seed):
    """Train a denoiser, or read it; its CPU seconds."""
    teach = functools.partial(
        runs.learn, denoiser, learned, runs.config(steps, seed=seed),
        progress=False,
    )  # fmt: skip
    return once((what, seed, target, steps), denoiser, teach)


def once(job, model, teach):
    """Train a model, or read it where it was trained before; CPU seconds."""
    folder = home(job)
    noted = folder.with_suffix(".seconds")
    if noted.exists():
        checkpoint.load(folder, model)
        return float(noted.read_text("utf-8"))
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
    start = time.process_time()
    teach(out=folder)
    seconds = time.process_time() - start
    noted.write_text(str(seconds), "utf-8")
    return seconds


def home(job) -> Path:
    """Where a network is kept."""
    text = f"{contests.sources(runs.__name__)} {job}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return contests.KEPT / f"latent-{digest}"
