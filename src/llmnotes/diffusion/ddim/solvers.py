"""One step from noise towards a picture, done in several ways.

Point     = a place on the way: α and σ, x = α x_0 + σ ε there
clarity   = λ = ln(α / σ), half the logarithm of the signal-to-noise ratio
Guess     = what the network said at a point; x0 = x̂_0, its picture
now, then = where a step begins and where it ends; last = the guess before
eta       = η: 0 draws nothing, 1 draws as much as DDPM

All need one call of the network a step. They differ in how they go on with
what it said.

Sources
- Song et al. 2021, "DDIM", arXiv 2010.02502 (eq. 12: the step; eq. 16: σ(η);
  eq. 14: it is Euler's method in σ / α).
- Song et al. 2021, "Score-Based Generative Modeling through SDEs", arXiv
  2011.13456 (eq. 13: the ordinary differential equation).
- Lu et al. 2022, "DPM-Solver++", arXiv 2211.01095 (algorithm 2: 2M).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from llmnotes.diffusion.ddpm.targets import noise_from


class Point(NamedTuple):
    """How much of the picture and how much noise there is."""

    alpha: float
    sigma: float

    @property
    def clarity(self) -> float:
        """λ = ln(α / σ); ±∞ at the ends of the way."""
        if not self.alpha or not self.sigma:
            return math.inf if self.alpha else -math.inf
        return math.log(self.alpha / self.sigma)


class Guess(NamedTuple):
    """A picture that the network guessed: within bounds, and as it said."""

    at: Point
    x0: Tensor
    said: Tensor


@runtime_checkable
class Solver(Protocol):
    """What goes from x at a point to x at the next."""

    def step(
        self,
        x: Tensor,
        now: Guess,
        then: Point,
        last: Guess | None,
        draw: Callable[[], Tensor],
    ) -> Tensor:
        """Return x at `then`; `draw` gives normal noise of its shape."""
        ...


@dataclass(frozen=True)
class DDIM:
    """Set the guess and its noise in the proportions of the next point.

    With `eta` a part of that noise is drawn anew. `follow` says whose noise
    it is where the guess was clipped: what x holds beside the clipped guess,
    as in GLIDE, or what the network said before, as in diffusers.

    Raises `ValueError` for an eta outside 0 to 1.

    Source: Song et al. 2021, DDIM, eq. 12.
    """

    eta: float = 0.0
    follow: bool = True

    def __post_init__(self):
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta: got {self.eta}, expected 0 to 1")

    def step(self, x, now, then, last, draw) -> Tensor:
        """Guess, direction towards x, and fresh noise."""
        source = now.x0 if self.follow else now.said
        noise = x - now.at.alpha * source  # ε, times σ
        fresh = self.eta * most_noise(now.at, then)
        kept = math.sqrt(max(0.0, then.sigma**2 - fresh**2)) / now.at.sigma
        x = then.alpha * now.x0 + kept * noise
        return x + fresh * draw() if fresh else x


def most_noise(now: Point, then: Point) -> float:
    """σ at η = 1: the deviation of DDPM's posterior over such a step.

    Source: Song et al. 2021, DDIM, eq. 16.
    """
    lost = now.sigma**2 - (now.alpha / then.alpha * then.sigma) ** 2
    return then.sigma / now.sigma * math.sqrt(max(0.0, lost))


class Euler:
    """Follow the slope of the ODE, as if it stayed the same, in ln α.

    For schedules with α² + σ² = 1. The obvious method, kept for comparison:
    what is straight over a step is the way of x, noise and all, where DDIM
    supposes no more than a guess that stays.

    Source: Song et al. 2021, SDEs, eq. 13, with ½ ∫ β dt = -ln α.
    """

    def step(self, x, now, then, last, draw) -> Tensor:
        """To x comes its slope, times the change of ln α."""
        noise = noise_from(now.x0, x, *now.at)
        slope = x - noise / now.at.sigma
        return x + math.log(then.alpha / now.at.alpha) * slope


class DPMSolver2M:
    """DDIM with a guess that is drawn on along λ, half a step ahead.

    The first step and one that ends without noise, where λ is infinite, are
    DDIM's. Source: Lu et al. 2022, algorithm 2.
    """

    def step(self, x, now, then, last, draw) -> Tensor:
        """A step of DDIM with what the guess will be on average."""
        x0 = now.x0
        if last is not None and then.sigma:
            ahead = then.clarity - now.at.clarity
            behind = now.at.clarity - last.at.clarity
            x0 = x0 + ahead / behind / 2 * (x0 - last.x0)
        return DDIM().step(x, now._replace(x0=x0), then, last, draw)
