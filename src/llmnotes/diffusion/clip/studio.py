"""What `llmnotes train clip` asks, and what trains a CLIP for others first.

A CLIP draws nothing; it reads for `llmnotes train glide` and `latent`, which
train one in a folder `clip` of theirs, or find it there.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from llmnotes.diffusion.clip import runs
from llmnotes.diffusion.clip.config import (
    CLIPConfig,
    TextConfig,
    VisionConfig,
)
from llmnotes.diffusion.clip.model import CLIP
from llmnotes.presets import PICTURES
from llmnotes.train import History
from llmnotes.train_config import TrainConfig


def model(shape: Mapping[str, Any], seed: int) -> CLIP:
    """The untrained CLIP of a shape."""
    towers = {
        "text_config": TextConfig(**shape["text_config"]),
        "vision_config": VisionConfig(**shape["vision_config"]),
    }
    config = CLIPConfig(**{**shape, **towers})
    return runs.untrained(seed=seed, config=config)


def learn(model: CLIP, config: TrainConfig, **options) -> History:
    """Train in place: families of scenes, `config.batch_size` a step."""
    learned = runs.task(seed=config.seed, size=config.batch_size)
    return runs.learn(model, learned, config, **options)


def learned(folder: str | Path | None, seed: int, progress=True) -> CLIP:
    """A CLIP that has learned: found in a folder, or trained into it."""
    model = runs.untrained(seed=seed)
    preset = PICTURES["clip"].preset(None)
    config = replace(preset.training, seed=seed)
    about = {"model": "clip", "shape": asdict(model.config)}
    options = {"progress": progress, "resume": folder is not None}
    learn(model, config, out=folder, about=about, **options)
    return model.requires_grad_(False).eval()


def check(caption: str) -> NoReturn:
    """Raise `ValueError`: whatever the caption, no picture comes of it."""
    raise ValueError(
        "run: got a CLIP, which draws nothing; expected a run of llmnotes "
        "train glide or latent"
    )


def draw(
    model: CLIP, caption: str, *, scale: float, steps: int,
    generator: torch.Generator,
) -> NoReturn:  # fmt: skip
    """Raise `ValueError`, as `check` does."""
    check(caption)


def verdict(picture: Tensor, caption: str) -> NoReturn:
    """Raise `ValueError`, as `check` does."""
    check(caption)
