"""What `llmnotes train latent` and `llmnotes draw` ask: see `llmnotes.draw`.

Three networks learn, one after the other: a CLIP in the folder `clip`, of
which the text tower stays, an autoencoder in `autoencoder`, and the denoiser
of its latents. What is there already is read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.diffusion.clip import runs as clip_runs
from llmnotes.diffusion.ddpm import Denoiser
from llmnotes.diffusion.glide import DiTConfig
from llmnotes.diffusion.glide import studio as glide
from llmnotes.diffusion.latent_diffusion import runs
from llmnotes.diffusion.latent_diffusion.autoencoder import Autoencoder
from llmnotes.scenes import parse, scenes
from llmnotes.train import History
from llmnotes.train_config import TrainConfig

THINGS = 2  # of the scenes that it learns
verdict = glide.verdict


class Painter(Denoiser):
    """A denoiser of latents, and the autoencoder whose latents they are."""

    def __init__(self, denoiser: Denoiser, autoencoder: Autoencoder):
        parts = denoiser.network, denoiser.schedule, denoiser.target
        super().__init__(*parts)
        self.autoencoder = autoencoder


def model(shape: Mapping[str, Any], seed: int) -> Painter:
    """The untrained painter of a shape."""
    clip, config = clip_runs.untrained(seed=seed), DiTConfig(**shape)
    denoiser = runs.reading(clip, config, seed=seed)
    return Painter(denoiser, runs.untrained_autoencoder(seed=seed))


def learn(model: Painter, config: TrainConfig, **options) -> History:
    """Train in place, first to read, then to make small, then to draw."""
    glide.learn_to_read(model.network.encoder, config.seed, **options)
    learn_to_shrink(model.autoencoder, config.seed, **options)
    size = config.batch_size
    learned = runs.task(model, model.autoencoder, THINGS, config.seed, size)
    return runs.learn(model, learned, config, **options)


def learn_to_shrink(
    autoencoder: Autoencoder, seed: int, out: str | None = None,
    progress: bool = True, **others,
) -> None:  # fmt: skip
    """Train it, in `out`/autoencoder."""
    folder = None if out is None else Path(out) / "autoencoder"
    steps = runs.AUTOENCODER_STEPS
    config = first_stage(steps, seed, every=max(1, steps // 10))
    runs.learn_autoencoder(
        autoencoder, runs.encoding(autoencoder, THINGS, seed), config,
        out=folder, resume=folder is not None, progress=progress,
    )  # fmt: skip


def first_stage(steps: int, seed: int, every: int) -> TrainConfig:
    """A short rise and a long fall, as for the denoiser; by AdamW."""
    return TrainConfig(
        steps=steps,
        batch_size=1,  # the task makes its own batches
        learning_rate=runs.AUTOENCODER_RATE,
        min_learning_rate=0.0,
        schedule="linear",
        warmup=min(50, steps // 10),
        betas=(0.9, 0.99),
        weight_decay=0.0,
        eval_every=every,
        seed=seed,
    )


def check(caption: str) -> None:
    """Raise `ValueError` for a caption that tells of no two things."""
    count = len(parse(caption).things)
    if count != THINGS:
        raise ValueError(
            f"caption: got {count} thing(s), expected {THINGS}: no other "
            "sentences were learned"
        )


def draw(
    model: Painter, caption: str, *, scale: float, steps: int,
    generator: torch.Generator,
) -> Float[Tensor, "channels rows columns"]:  # fmt: skip
    """One picture, from 0 to 1.

    The scaling factor stands in no file: it is measured again.

    Raises `ValueError` for a caption of more or fewer things than it learned.
    """
    check(caption)
    runs.rescale(model.autoencoder, runs.measured(scenes(THINGS)))
    return runs.draw(
        model, model.autoencoder, [caption], scale=scale, steps=steps,
        generator=generator,
    )[0]  # fmt: skip
