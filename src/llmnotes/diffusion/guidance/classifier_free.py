"""Classifier-free guidance: what a condition changes, taken further.

without, with_ = u, c (what the network says without a condition and with it)
scale          = s in u + s (c - u): 0 ignores the condition, 1 is the model
                 as it was trained, above 1 the condition counts for more
w              = the paper's: s = 1 + w, so that 0 is the model as trained
negative       = what stands where nothing else does, to lead away from it

Sources
- Ho & Salimans 2022, "Classifier-Free Diffusion Guidance", arXiv
  2207.12598 (eq. 6).
- Lin et al. 2024, "Common Diffusion Noise Schedules and Sample Steps are
  Flawed", arXiv 2305.08891, §3.4 (rescaling).
- Kynkäänniemi et al. 2024, "Applying Guidance in a Limited Interval Improves
  Sample and Distribution Quality in Diffusion Models", arXiv 2404.07724.
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmnotes.diffusion.ddpm import Denoiser
from llmnotes.diffusion.guidance.conditions import repeated, stacked
from llmnotes.diffusion.guidance.guided import Guided


def guide(
    without: Float[Tensor, "batch *shape"],
    with_: Float[Tensor, "batch *shape"],
    scale: float,
) -> Float[Tensor, "batch *shape"]:
    """Along the line from u to c, and past c where s is above 1.

    It is u + s (c - u).

    x_0, ε and v can all be guided so, with the same outcome: each is a
    stretched and shifted other. Source: Ho & Salimans 2022, eq. 6.
    """
    return torch.lerp(without, with_, scale)


class ClassifierFree(Guided):
    """A denoiser that follows its condition more, or less.

    Each step evaluates the network on a batch twice as large; at scale 1,
    and at 0, on one half of it alone. `negative` is a condition of one row,
    or of one for each picture; by default the one that says nothing.

    Raises `ValueError` for a scale that is not finite.
    """

    def __init__(self, denoiser: Denoiser, scale: float, negative: Any = None):
        check_scale(scale)
        super().__init__(denoiser)
        self.scale, self.negative = scale, negative

    def forward(
        self,
        xt: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
        condition: Any = None,
    ) -> Float[Tensor, "batch *shape"]:
        """What the target asks for, after guidance."""
        against = self.against(condition)
        if self.scale == 1 or against is condition:
            return self.denoiser(xt, t, condition)
        if self.scale == 0:
            return self.denoiser(xt, t, against)
        return self.combined(*both(self.denoiser, xt, t, against, condition))

    def against(self, condition: Any) -> Any:
        """What to lead away from, a row for each picture."""
        if condition is None:
            return self.negative
        if self.negative is None:
            return self.nothing(condition)
        return repeated(self.negative, condition)

    def combined(self, without: Tensor, with_: Tensor) -> Tensor:
        """What is made of both."""
        return guide(without, with_, self.scale)


class Rescaled(ClassifierFree):
    """Guidance that keeps the spread which the condition alone gives.

    Source: Lin et al. 2024, §3.4; `share` is their φ.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        scale: float,
        negative: Any = None,
        *,
        share: float = 0.7,
    ):
        super().__init__(denoiser, scale, negative)
        self.share = share

    def combined(self, without: Tensor, with_: Tensor) -> Tensor:
        """What is made of both, shrunk towards the old spread."""
        guided = super().combined(without, with_)
        return rescaled(guided, with_, self.share)


class Interval(ClassifierFree):
    """Guidance between two noise levels, and none above and below.

    It acts where first <= t <= last. Source: Kynkäänniemi et al. 2024.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        scale: float,
        negative: Any = None,
        *,
        first: int,
        last: int,
    ):
        super().__init__(denoiser, scale, negative)
        self.first, self.last = first, last

    def forward(
        self,
        xt: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
        condition: Any = None,
    ) -> Float[Tensor, "batch *shape"]:
        """What the target asks for; outside, no second evaluation."""
        inside = (self.first <= t) & (t <= self.last)
        if not inside.any():
            return self.denoiser(xt, t, condition)
        guided = super().forward(xt, t, condition)
        if inside.all():
            return guided
        inside = inside.view(-1, *[1] * (xt.ndim - 1))
        return torch.where(inside, guided, self.denoiser(xt, t, condition))


def both(
    denoiser: Denoiser, xt: Tensor, t: Tensor, first: Any, second: Any
) -> tuple[Tensor, Tensor]:
    """What it says under two conditions: one batch, twice as large.

    None cannot be stacked: where the network knows no condition of its own
    that says nothing, it is evaluated twice.
    """
    if first is None or second is None:
        return denoiser(xt, t, first), denoiser(xt, t, second)
    conditions = stacked(first, second)
    said = denoiser(torch.cat([xt, xt]), torch.cat([t, t]), conditions)
    return tuple(said.chunk(2))


def rescaled(
    guided: Float[Tensor, "batch *shape"],
    with_: Float[Tensor, "batch *shape"],
    share: float = 0.7,
) -> Float[Tensor, "batch *shape"]:
    """Guided pictures, with a share of the spread of those they came from.

    The spread is the standard deviation within each picture. It is not the
    same for x_0, ε and v: the paper takes v. Source: Lin et al. 2024, §3.4.
    """
    axes = tuple(range(1, guided.ndim))
    spread = with_.std(axes, keepdim=True) / guided.std(axes, keepdim=True)
    return torch.lerp(guided, guided * spread, share)


def check_scale(scale: float) -> None:
    """Raise `ValueError` unless a scale is a finite number."""
    if not math.isfinite(scale):
        raise ValueError(f"scale: got {scale}, expected a finite number")
