"""Training a flow on digits, and straightening it once it is trained.

flow    = the network and the task of DDPM's digits, another way and target
pairs   = noise and the picture that a trained flow makes of it
reflow  = learning anew from pairs, whose straight lines hardly cross

Sources
- Liu et al. 2023, "Flow Straight and Fast: Rectified Flow", arXiv 2209.03003
  (algorithm 1).
"""

import torch
from torch import Tensor

from llmnotes.diffusion.ddim.flow import Flow, line
from llmnotes.diffusion.ddim.model import solve
from llmnotes.diffusion.ddim.spacing import visited
from llmnotes.diffusion.ddpm.ema import EMA
from llmnotes.diffusion.ddpm.model import Denoiser
from llmnotes.diffusion.ddpm.network import MLPConfig, ResidualMLP
from llmnotes.diffusion.ddpm.runs import DECAY, SMALL
from llmnotes.diffusion.ddpm.task import (
    CLASSES,
    JUDGED,
    SHAPE,
    Denoising,
    digits,
    generator,
)

PAIRS, PAIR_STEPS = 4000, 25  # pairs for a reflow, and DDIM's steps for each


def untrained(
    seed: int = 0, config: MLPConfig = SMALL, decay: float = DECAY
) -> Denoiser:
    """A flow that knows nothing yet; its network keeps an average."""
    torch.manual_seed(seed)
    return Denoiser(EMA(ResidualMLP(config), decay), line(), Flow())


class Reflow(Denoising):
    """Digits as a flow draws them, each with the noise it came from.

    Source: Liu et al. 2023, algorithm 1.
    """

    def __init__(self, flow: Denoiser, *, seed: int = 0, **options):
        super().__init__(*digits(), steps=flow.schedule.steps, **options)
        draw = generator(seed, JUDGED + 1)
        classes = torch.randint(CLASSES, (PAIRS,), generator=draw)
        noise = torch.randn(PAIRS, *SHAPE, generator=draw)
        self.pairs = made(flow, noise, classes), classes, noise

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pictures, classes, t, and the noise that each was made from."""
        draw = generator(self.seed, step)
        some = torch.randint(PAIRS, (self.size,), generator=draw)
        pictures, classes, noise = (part[some] for part in self.pairs)
        t = torch.randint(1, self.steps + 1, (self.size,), generator=draw)
        return pictures, classes, t, noise


def made(flow: Denoiser, noise: Tensor, classes: Tensor) -> Tensor:
    """What the flow makes of noise, without clipping: the ODE's own end."""
    times = visited(flow.schedule.steps, PAIR_STEPS)
    return solve(flow, noise, times, classes, clip=None)
