"""A denoiser small enough for every test, and noisy pictures for it."""

import torch
from torch import nn

from llmnotes.diffusion.ddpm import (
    Data,
    Denoiser,
    MLPConfig,
    ResidualMLP,
    Schedule,
    cosine,
)

STEPS, CLASSES = 20, 5
CONFIG = MLPConfig(size=6, classes=CLASSES, width=8, depth=1, about=4)
TIMES = torch.tensor([1, 7, 13, 20])
LABELS = torch.tensor([4, 0, 3, 3])
TIME = (TIMES / STEPS).double()  # what networks read


class Counted(nn.Module):
    """A network that notes how many pictures each evaluation had."""

    def __init__(self, network):
        super().__init__()
        self.inner, self.seen = network, []

    def nothing(self, condition):
        return self.inner.nothing(condition)

    def forward(self, x, time, condition=None):
        self.seen.append(len(x))
        return self.inner(x, time, condition)


def denoiser(target=None, dtype=torch.float64):
    """With weights that nothing is zero in: labels and gates count."""
    torch.manual_seed(0)
    network = ResidualMLP(CONFIG)
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.5)
    schedule = Schedule(cosine(STEPS))
    return Denoiser(network, schedule, target or Data()).to(dtype)


def noisy(seed=0, dtype=torch.float64):
    """Pictures of 2 × 3, one for each of `TIMES`."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(len(TIMES), 2, 3, generator=draw, dtype=dtype)
