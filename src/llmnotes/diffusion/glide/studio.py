"""What `llmnotes train glide` and `llmnotes draw` ask: see `llmnotes.draw`."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes import scenes
from llmnotes.diffusion.ddpm import Denoiser
from llmnotes.diffusion.glide import runs
from llmnotes.diffusion.glide.model import DiTConfig
from llmnotes.scenes import parse
from llmnotes.train import History
from llmnotes.train_config import TrainConfig


def model(shape: Mapping[str, Any], seed: int) -> Denoiser:
    """The untrained denoiser of a shape."""
    return runs.untrained(DiTConfig(**shape), seed=seed)


def learn(model: Denoiser, config: TrainConfig, **options) -> History:
    """Train in place: scenes of two things, `config.batch_size` a step."""
    learned = runs.task(model, seed=config.seed, size=config.batch_size)
    return runs.learn(model, learned, config, **options)


def check(caption: str) -> None:
    """Raise `ValueError` for a caption that was not learned.

    The grammar does not have it, or it tells of one thing.
    """
    if len(parse(caption).things) == 1:
        raise ValueError(
            "caption: got one thing, expected two and how they stand: "
            "sentences of one were not learned"
        )


def draw(
    model: Denoiser, caption: str, *, scale: float, steps: int,
    generator: torch.Generator,
) -> Float[Tensor, "channels rows columns"]:  # fmt: skip
    """One picture, from 0 to 1."""
    return runs.draw(
        model, [caption], scale=scale, steps=steps, generator=generator
    )[0]


def verdict(
    picture: Float[Tensor, "channels rows columns"], caption: str
) -> str:
    """What the checker says: all right, or what is wrong."""
    found = scenes.verdict(picture, caption)
    if found.all:
        return "right in every attribute"
    wrong = [name for name, right in vars(found).items() if not right]
    return f"wrong: {', '.join(wrong)}"
