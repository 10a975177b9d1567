"""What `llmnotes train glide` and `llmnotes draw` ask: see `llmnotes.draw`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes import scenes
from llmnotes.diffusion.clip import studio as clip
from llmnotes.diffusion.ddpm import Denoiser
from llmnotes.diffusion.glide import runs
from llmnotes.diffusion.glide.model import DiTConfig
from llmnotes.diffusion.glide.tower import Tower
from llmnotes.scenes import parse
from llmnotes.train import History
from llmnotes.train_config import TrainConfig


def model(shape: Mapping[str, Any], seed: int) -> Denoiser:
    """The untrained denoiser of a shape; of two things, CLIP will read."""
    config = DiTConfig(**shape)
    if config == runs.ONE:
        return runs.untrained(config, seed=seed)
    return runs.reading(clip.runs.untrained(seed=seed), config, seed=seed)


def learn(model: Denoiser, config: TrainConfig, **options) -> History:
    """Train in place: scenes that it is for, `config.batch_size` a step."""
    if isinstance(model.network.encoder, Tower):
        learn_to_read(model.network.encoder, config.seed, **options)
    learned = runs.task(model, things(model), config.seed, config.batch_size)
    return runs.learn(model, learned, config, **options)


def learn_to_read(
    tower: Tower, seed: int, out: str | None = None, progress: bool = True,
    **others,
) -> None:  # fmt: skip
    """Give it the text tower of a CLIP, trained first, in `out`/clip."""
    folder = None if out is None else Path(out) / "clip"
    trained = clip.learned(folder, seed, progress)
    tower.tower.load_state_dict(trained.text_model.state_dict())


def things(model: Denoiser) -> int:
    """How many things its shape is for: one has a shape of its own."""
    return 1 if model.network.config == runs.ONE else 2


def check(caption: str) -> None:
    """Raise `ValueError` for a caption that the grammar does not have."""
    parse(caption)


def draw(
    model: Denoiser, caption: str, *, scale: float, steps: int,
    generator: torch.Generator,
) -> Float[Tensor, "channels rows columns"]:  # fmt: skip
    """One picture, from 0 to 1.

    Raises `ValueError` for a caption of more or fewer things than it learned.
    """
    count, learned = len(parse(caption).things), things(model)
    if count != learned:
        raise ValueError(
            f"caption: got {count} thing(s), expected {learned}: no other "
            "sentences were learned"
        )
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
