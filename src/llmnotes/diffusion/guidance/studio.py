"""What `llmnotes train ddpm` and `llmnotes draw` ask: see `llmnotes.draw`.

A digit is asked for by its name, 0 to 9; a classifier of real digits says
what was drawn.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.diffusion import ddim
from llmnotes.diffusion.ddpm import Denoiser, MLPConfig, quality, runs
from llmnotes.diffusion.ddpm.task import SHAPE
from llmnotes.diffusion.guidance.classifier_free import ClassifierFree
from llmnotes.modes import evaluating
from llmnotes.train import History
from llmnotes.train_config import TrainConfig

DROP = 0.3  # share of digits whose class is hidden in training
DIGITS = "0123456789"
PRESET = runs.SMALL
TRAINING = runs.config(every=runs.STEPS // 10)


def model(shape: Mapping[str, Any], seed: int) -> Denoiser:
    """The untrained denoiser of a shape, which says x_0."""
    return runs.untrained("data", config=MLPConfig(**shape), seed=seed)


def learn(model: Denoiser, config: TrainConfig, **options) -> History:
    """Train in place, classes hidden now and then."""
    learned = runs.task(model, seed=config.seed, drop=DROP)
    return runs.learn(model, learned, config, **options)


def check(caption: str) -> None:
    """Raise `ValueError` for what is no digit."""
    if len(caption) != 1 or caption not in DIGITS:
        raise ValueError(f"caption: got {caption!r}, expected a digit, 0 to 9")


def draw(
    model: Denoiser, caption: str, *, scale: float, steps: int,
    generator: torch.Generator,
) -> Float[Tensor, "channels rows columns"]:  # fmt: skip
    """One picture, from 0 to 1."""
    check(caption)
    digit = torch.tensor([int(caption)])
    drawn = ddim.sample(
        ClassifierFree(model, scale), (1, *SHAPE), digit,
        steps=steps, generator=generator,
    )  # fmt: skip
    return (drawn.clamp(-1, 1) + 1) / 2


def verdict(
    picture: Float[Tensor, "channels rows columns"], caption: str
) -> str:
    """What the classifier reads, and whether that was asked for."""
    reader = quality.reader()
    with evaluating(reader):
        read = int(reader(picture * 2 - 1).argmax())
    right = "right" if str(read) == caption else "wrong"
    return f"a classifier of real digits reads {read}: {right}"
