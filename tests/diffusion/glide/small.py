"""Tiny networks with random weights everywhere, for the tests."""

import torch

from llmnotes.diffusion.ddpm import Data, Denoiser, Schedule, cosine
from llmnotes.diffusion.glide import (
    CaptionConfig,
    Captions,
    DiT,
    DiTConfig,
    Vectors,
)

EMPTY = (1, 6, 0, 0, 0)  # start, end, padding
CAPTIONS = CaptionConfig(vocab=7, empty=EMPTY, width=10, depth=2, heads=2)
SHAPE = DiTConfig(
    channels=2, rows=6, columns=9, patch=3, width=12, depth=2, heads=3,
    context=10,
)  # fmt: skip


def stirred(module, seed=0, size=0.3):
    """Every weight drawn anew: what begins at zero proves nothing."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(size * torch.randn(p.shape, generator=draw))
    return module


def captions(seed=0):
    """A text encoder."""
    return stirred(Captions(CAPTIONS), seed)


def network(seed=0):
    """A patch transformer that reads captions."""
    return stirred(DiT(SHAPE, captions()), seed)


def looker(features=4, tokens=2, seed=0):
    """A patch transformer that reads vectors."""
    return stirred(DiT(SHAPE, Vectors(features, 10, tokens)), seed)


def denoiser(network, steps=20):
    """It, with a schedule, asked for pictures."""
    return Denoiser(network, Schedule(cosine(steps)), Data())


def pictures(batch=3, seed=1):
    """Noise in the shape of the network's pictures."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 2, 6, 9, generator=draw)


IDS = torch.tensor([[1, 3, 2, 6, 0], [1, 6, 0, 0, 0], [1, 2, 4, 5, 6]])
