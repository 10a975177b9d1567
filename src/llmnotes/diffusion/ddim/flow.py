"""Flow matching: the same way from noise to picture, drawn straight.

line     = α = 1 - u, σ = u with u = t / T: x_u = (1 - u) x_0 + u ε
velocity = dx/du = ε - x_0, what a network is asked for on it
circle   = α² + σ² = 1, the way of DDPM

A point is known by σ / α alone: x divided by α + σ lies on the line, divided
by √(α² + σ²) on the circle. So a model of one is a model of the other, and a
step of DDIM on the line is Euler's x + (u' - u) velocity.

Sources
- Lipman et al. 2023, "Flow Matching for Generative Modeling", arXiv
  2210.02747 (eq. 23: its conditional path, with σ_min = 0).
- Liu et al. 2023, "Flow Straight and Fast: Rectified Flow", arXiv 2209.03003
  (eq. 1: the loss; §2.2: straightness; algorithm 1: reflow).
- Gao et al. 2024, "Diffusion Meets Flow Matching: Two Sides of the Same
  Coin", diffusionflow.github.io.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.diffusion.ddpm.schedule import Levels


class Way(Levels):
    """Any α and σ for t = 0 … T, from the picture to noise.

    Raises `ValueError` unless σ / α rises from 0.
    """

    def __init__(
        self, alphas: Float[Tensor, "times"], sigmas: Float[Tensor, "times"]
    ):
        super().__init__()
        check_rises(alphas, sigmas)
        self.steps = len(alphas) - 1
        self.register_buffer("alphas", alphas)
        self.register_buffer("sigmas", sigmas)


def line(steps: int = 1000) -> Way:
    """α = 1 - t / T and σ = t / T. Source: Liu et al. 2023, eq. 1."""
    u = torch.arange(steps + 1, dtype=torch.float64) / steps
    return Way(1 - u, u)


def onto_line(levels: Levels) -> Way:
    """The same points with α + σ = 1."""
    size = levels.alphas + levels.sigmas
    return Way(levels.alphas / size, levels.sigmas / size)


def onto_circle(levels: Levels) -> Way:
    """The same points with α² + σ² = 1."""
    size = (levels.alphas**2 + levels.sigmas**2).sqrt()
    return Way(levels.alphas / size, levels.sigmas / size)


class Flow:
    """The target ε - x_0: the velocity on the line, at every u the same.

    Source: Liu et al. 2023, eq. 1.
    """

    def of(self, x0, noise, alpha, sigma) -> Tensor:
        """ε - x_0."""
        return noise - x0

    def data(self, said, xt, alpha, sigma) -> Tensor:
        """x_0 = (x_t - sigma velocity) / (alpha + sigma), on any way."""
        return (xt - sigma * said) / (alpha + sigma)


class Rescaled(nn.Module):
    """A denoiser on another way through the same points: x in other units.

    Raises `ValueError` for a way whose points are not the denoiser's.

    Source: Gao et al. 2024.
    """

    def __init__(self, denoiser: nn.Module, schedule: Levels):
        super().__init__()
        check_same_points(denoiser.schedule, schedule)
        self.denoiser, self.schedule = denoiser, schedule

    def data(
        self,
        xt: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
        condition: Any = None,
    ) -> Float[Tensor, "batch *shape"]:
        """x_0, after x is brought to the size that the denoiser knows."""
        own, new = self.denoiser.schedule, self.schedule
        size = own.alpha(t, xt) + own.sigma(t, xt)
        size = size / (new.alpha(t, xt) + new.sigma(t, xt))
        return self.denoiser.data(size * xt, t, condition)


def even(levels: Levels, count: int) -> list[int]:
    """Steps that are about even in u = σ / (α + σ), beginning at T.

    Two that would be the same t are one.
    """
    u = levels.sigmas / (levels.alphas + levels.sigmas)
    wanted = torch.arange(count, 0, -1, device=u.device) / count * u[-1]
    near = (u[1:] - wanted[:, None]).abs().argmin(1) + 1
    return near.unique_consecutive().tolist()


def crookedness(
    xs: Sequence[Float[Tensor, "batch *shape"]], us: Sequence[float]
) -> float:
    """How far velocities are from the straight line between both ends.

    ∫ |dx/du - (x_1 - x_0)|² du / |x_1 - x_0|², means over the batch: 0 where
    every path is straight, and one step then is as good as many.

    Source: Liu et al. 2023, §2.2, divided by the length.
    """
    whole = (xs[-1] - xs[0]) / (us[-1] - us[0])
    bent = 0.0
    for i in range(len(us) - 1):
        gap = us[i + 1] - us[i]
        off = (xs[i + 1] - xs[i]) / gap - whole
        bent += abs(gap) * float(off.square().mean())
    return bent / abs(us[-1] - us[0]) / float(whole.square().mean())


def check_rises(alphas: Tensor, sigmas: Tensor) -> None:
    """Raise `ValueError` for what is no way from a picture into noise."""
    if len(alphas) != len(sigmas) or len(alphas) < 2:
        raise ValueError(
            f"sigmas: got shape {tuple(sigmas.shape)} for alphas of "
            f"{tuple(alphas.shape)}, expected one row, of the same length"
        )
    u = sigmas / (alphas + sigmas)
    if not (u[0] == 0 and (u.diff() > 0).all()):
        raise ValueError(
            "sigmas: got σ / α that does not rise from 0, expected more "
            "noise at each t"
        )


def check_same_points(own: Levels, new: Levels) -> None:
    """Raise `ValueError` unless σ / α agree at every t."""
    if own.steps != new.steps:
        raise ValueError(
            f"schedule: got {new.steps} steps, expected {own.steps}"
        )
    off = (own.sigmas * new.alphas - new.sigmas * own.alphas).abs().max()
    if off > 1e-9:
        raise ValueError(
            f"schedule: got other points, off by {float(off):.1e}, expected "
            "the denoiser's: `onto_line`, `onto_circle` give them"
        )
