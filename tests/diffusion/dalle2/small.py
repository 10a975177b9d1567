"""Tiny models with random weights everywhere, for the tests."""

import torch

from llmnotes import scenes
from llmnotes.diffusion.clip import CLIP, CLIPConfig, TextConfig, VisionConfig
from llmnotes.diffusion.dalle2 import (
    AutoregressivePrior,
    CodesConfig,
    DiffusionPrior,
    Direct,
    EmbeddingConfig,
    EmbeddingNetwork,
    MeanGap,
    Regression,
    decoder,
    scaled,
)
from llmnotes.diffusion.ddpm import Data, Denoiser, Schedule, cosine
from llmnotes.diffusion.glide import DiTConfig, Vectors
from llmnotes.scenes import VOCABULARY

FEATURES = 7
TOWER = dict(
    hidden_size=8,
    intermediate_size=12,
    num_hidden_layers=1,
    num_attention_heads=2,
)
EYES = CLIPConfig(
    TextConfig(
        **TOWER,
        vocab_size=VOCABULARY.size,
        max_position_embeddings=VOCABULARY.length,
        eos_token_id=VOCABULARY.end,
    ),
    VisionConfig(**TOWER, image_size=scenes.SIDE, patch_size=8),
    projection_dim=FEATURES,
)
NETWORK = EmbeddingConfig(features=FEATURES, width=10, depth=2, about=6)
CODES = CodesConfig(
    kept=3, buckets=4, levels=5, width=12, depth=2, heads=3
)  # fmt: skip
SHAPE = DiTConfig(width=12, depth=1, heads=3, context=10)
DRAWS = 5  # pictures of most tests


def fresh(seed=0):
    """A generator."""
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0, dtype=torch.float64):
    """Numbers of size 1."""
    return torch.randn(shape, generator=fresh(seed), dtype=dtype)


def stirred(module, seed=0, size=0.3):
    """Every weight drawn anew: what begins at zero proves nothing."""
    draw = fresh(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(size * torch.randn(p.shape, generator=draw))
    return module


def clip(seed=0):
    """A CLIP whose embeddings differ from picture to picture."""
    return stirred(CLIP(EYES), seed, 0.5)


def pairs(count=40, features=FEATURES, dtype=torch.float32):
    """Embeddings of captions, and of pictures that resemble them, shifted."""
    texts = noise(count, features, seed=1, dtype=dtype)
    images = texts + noise(count, features, seed=2, dtype=dtype) + 1
    return scaled(texts), scaled(images)


def network(seed=0):
    """A network of embeddings."""
    return stirred(EmbeddingNetwork(NETWORK), seed)


def diffusion(**options):
    """A diffusion prior."""
    return DiffusionPrior(network(), **dict(steps=3) | options)


def autoregressive(config=CODES, **options):
    """An autoregressive prior of some pairs."""
    return stirred(AutoregressivePrior(*pairs(), config, **options), 3, 0.5)


PRIORS = {
    "direct": Direct,
    "mean gap": lambda: MeanGap(*pairs()),
    "regression": lambda: Regression(network()),
    "autoregressive": autoregressive,
    "diffusion": diffusion,
}


def painter(features=FEATURES, seed=0):
    """A decoder."""
    return stirred(decoder(SHAPE, features), seed, 0.2)


class Exact(torch.nn.Module):
    """Knows what is under the noise: pixels of N(a grey, 1/4).

    The grey is told by the embedding. Random weights would not do where a
    picture has to come back: their guess at the last step is no picture.
    """

    def __init__(self):
        super().__init__()
        self.schedule, self.config = Schedule(cosine()), SHAPE
        self.encoder = Vectors(FEATURES)

    def forward(self, x, time, condition=None):
        """The mean of x_0, given x_t."""
        t = (time * self.schedule.steps).round().long()
        alpha, sigma = self.schedule.alpha(t, x), self.schedule.sigma(t, x)
        grey = 0.3 * condition[:, 0, 0].tanh().view(-1, 1, 1, 1)
        gain = alpha / 4 / (alpha**2 / 4 + sigma**2)
        return grey + gain * (x - alpha * grey)


def exact():
    """A decoder that needs no training."""
    return Denoiser(Exact(), Schedule(cosine()), Data())
