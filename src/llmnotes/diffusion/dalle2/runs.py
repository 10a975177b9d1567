"""Training priors and decoders of captioned shapes, and what they draw.

PRIORS  = every way from a caption's embedding to a picture's, by name
RECIPES = steps and peak rate of those that learn
scale   = of the decoder's guidance

Sources
- Ramesh et al. 2022, "DALL·E 2", arXiv 2204.06125, §2.
- Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural
  networks", kellerjordan.github.io/posts/muon (the decoder's matrices).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes import scenes, train
from llmnotes.diffusion.clip import CLIP
from llmnotes.diffusion.dalle2 import decoding
from llmnotes.diffusion.dalle2.autoregressive import AutoregressivePrior
from llmnotes.diffusion.dalle2.diffusion_prior import DiffusionPrior
from llmnotes.diffusion.dalle2.network import EmbeddingConfig, EmbeddingNetwork
from llmnotes.diffusion.dalle2.priors import (
    Direct,
    MeanGap,
    Prior,
    Regression,
)
from llmnotes.diffusion.dalle2.task import (
    Decoding,
    Guessing,
    Known,
    of_captions,
)
from llmnotes.diffusion.ddpm import Denoiser
from llmnotes.diffusion.glide import DiTConfig
from llmnotes.transformer.pretraining.muon import MuonAdamW

PAIRS, JUDGED = 10_000, 1_000
DECODER, STEPS, RATE, SIZE = DiTConfig(depth=5), 800, 6e-3, 64
RECIPES = {
    "regression": (400, 2e-3),
    "autoregressive": (700, 3e-3),
    "diffusion": (1000, 2e-3),
}
SIZES = {"regression": 128, "autoregressive": 64, "diffusion": 128}


def direct(learned: Known) -> Prior:
    """No prior at all."""
    return Direct()


def mean_gap(learned: Known) -> Prior:
    """A caption's embedding, moved."""
    return MeanGap(learned.texts, learned.images)


def regression(learned: Known) -> Prior:
    """A mean for each caption."""
    return Regression(network(learned))


def autoregressive(learned: Known) -> Prior:
    """Code by code."""
    return AutoregressivePrior(learned.texts, learned.images)


def diffusion(learned: Known) -> Prior:
    """Out of noise."""
    return DiffusionPrior(network(learned))


def network(learned: Known) -> EmbeddingNetwork:
    """A residual MLP as wide as these embeddings ask for."""
    return EmbeddingNetwork(EmbeddingConfig(learned.images.shape[1]))


PRIORS = {
    "direct": direct,
    "mean gap": mean_gap,
    "regression": regression,
    "autoregressive": autoregressive,
    "diffusion": diffusion,
}


def untrained(name: str, learned: Known, seed: int = 0) -> Prior:
    """A prior that knows nothing but means and axes of these embeddings.

    Raises `ValueError` for an unknown name.
    """
    check_name(name)
    torch.manual_seed(seed)
    return PRIORS[name](learned)


def untrained_decoder(
    features: int = 64, shape: DiTConfig = DECODER, seed: int = 0
) -> Denoiser:
    """A decoder that knows neither embeddings nor pictures yet."""
    torch.manual_seed(seed)
    return decoding.decoder(shape, features)


def config(steps: int, rate: float, seed: int = 0) -> train.TrainConfig:
    """A short rise and a long fall."""
    return train.TrainConfig(
        steps=steps,
        batch_size=1,  # the task makes its own batches
        learning_rate=rate,
        min_learning_rate=0.0,
        schedule="linear",
        warmup=min(50, steps // 10),
        betas=(0.9, 0.98),
        weight_decay=0.0,
        eval_every=steps,
        seed=seed,
    )


def learn(
    prior: Prior, name: str, learned: Known, judged: Known, *,
    seed: int = 0, steps: int | None = None, rate: float | None = None,
    size: int | None = None, **options,
) -> train.History:  # fmt: skip
    """Train a prior in place by its recipe. `options` are those of `fit`."""
    usual = RECIPES[name]
    task = Guessing(learned, judged, size=size or SIZES[name], seed=seed)
    chosen = config(steps or usual[0], rate or usual[1], seed)
    return train.fit(prior, task, chosen, **options)


def learn_decoder(
    decoder: Denoiser, clip: CLIP, *, objects: int = 2, seed: int = 0,
    steps: int = STEPS, rate: float = RATE, size: int = SIZE, **options,
) -> train.History:  # fmt: skip
    """Train a decoder in place: scenes without the held-out pairs."""
    among = scenes.scenes(objects)
    task = Decoding(
        clip, steps=decoder.schedule.steps, among=among, size=size, seed=seed
    )
    optimizer = MuonAdamW(decoder.network, lr=rate)
    chosen = config(steps, rate, seed)
    return train.fit(decoder, task, chosen, optimizer=optimizer, **options)


def draw(
    clip: CLIP, prior: Prior, decoder: Denoiser, captions: Sequence[str], *,
    generator: torch.Generator, scale: float = 2.0, steps: int = 20,
) -> Float[Tensor, "batch channels rows columns"]:  # fmt: skip
    """All of unCLIP: a picture for each caption, from 0 to 1."""
    images = prior.drawn(of_captions(clip, captions), generator)
    return decoding.draw(
        decoder, images, generator=generator, scale=scale, steps=steps
    )


def check_name(name: str) -> None:
    """Raise `ValueError` unless there is such a prior."""
    if name not in PRIORS:
        raise ValueError(
            f"name: got {name!r}, expected one of {', '.join(PRIORS)}"
        )
