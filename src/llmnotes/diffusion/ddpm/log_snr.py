"""Time without steps: how noisy it is at t, from 0 to 1, as one number.

gamma = γ = -ln SNR = ln(σ² / α²); α² = sigmoid(-γ), σ² = sigmoid(γ)
t     = 0 (as good as clean) … 1 (as good as noise), a real number
first, last = γ at t = 0 and t = 1: what the bound depends on
slope = dγ/dt: how fast noise comes

Sources
- Kingma, Salimans, Poole & Ho 2021, "Variational Diffusion Models", arXiv
  2107.00630 (§3.2: γ and its sigmoids; §5.1: only the ends matter;
  appendix H: a monotone network; appendix I.1: spread times).
- Nichol & Dhariwal 2021, "Improved DDPM", arXiv 2102.09672 (eq. 17: cosine).
- Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv
  2006.11239, §4 (β in a line; -ln ᾱ is then near 1e-4 + 10 t²).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

FIRST, LAST = -8.0, 6.0


class Gamma(nn.Module):
    """γ as a curve `curve(u)` run through at an even pace, between two ends.

    This one is a line: γ itself at an even pace. Variants say another curve,
    its `rate` and `where` it has a given γ.

    Raises `ValueError` for ends in the wrong order.
    """

    def __init__(self, first: float = FIRST, last: float = LAST):
        super().__init__()
        check_ends(first, last)
        self.first, self.last = first, last

    def forward(self, t: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """The γ at times between 0 and 1."""
        return self.curve(self.along(t))

    def slope(self, t: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """The slope dγ/dt."""
        span = self.where(self.last) - self.where(self.first)
        return self.rate(self.along(t)) * span

    def along(self, t: Tensor) -> Tensor:
        """u, where the curve is at time t."""
        start, end = self.where(self.first), self.where(self.last)
        return start + (end - start) * t

    def curve(self, u: Tensor) -> Tensor:
        """The γ at u."""
        return u

    def rate(self, u: Tensor) -> Tensor:
        """The slope dγ/du."""
        return torch.ones_like(u)

    def where(self, gamma: float) -> float:
        """The u at which the curve is at γ."""
        return gamma


class CosineGamma(Gamma):
    """Cosine: α = cos(πu/2). Source: Nichol & Dhariwal 2021, eq. 17."""

    def curve(self, u: Tensor) -> Tensor:
        """Here γ = 2 ln tan(πu/2)."""
        return 2 * torch.tan(math.pi / 2 * u).log()

    def rate(self, u: Tensor) -> Tensor:
        """The slope of it, 2π / sin(πu)."""
        return 2 * math.pi / torch.sin(math.pi * u)

    def where(self, gamma: float) -> float:
        """Where γ is: u = 2/π arctan(exp(γ/2))."""
        return 2 / math.pi * math.atan(math.exp(gamma / 2))


class LinearBeta(Gamma):
    """-ln α² = 10 u²: noise that comes in a line. Source: Ho et al. 2020."""

    def curve(self, u: Tensor) -> Tensor:
        """Here γ = ln(exp(10 u²) - 1)."""
        return torch.expm1(10 * u**2).log()

    def rate(self, u: Tensor) -> Tensor:
        """The slope of it, 20 u / (1 - exp(-10 u²))."""
        return 20 * u / -torch.expm1(-10 * u**2)

    def where(self, gamma: float) -> float:
        """Where γ is: u = √(softplus(γ) / 10)."""
        return math.sqrt(math.log1p(math.exp(gamma)) / 10)


class LearnedGamma(Gamma):
    """A line and soft stairs, all of them upwards; it starts as a line.

    Source: Kingma et al. 2021, appendix H, with stairs in fixed places.
    """

    def __init__(
        self, first: float = FIRST, last: float = LAST, stairs: int = 32
    ):
        super().__init__(first, last)
        self.heights = nn.Parameter(torch.zeros(stairs))
        middles = (torch.arange(stairs) + 0.5) / stairs
        self.register_buffer("middles", middles)

    def forward(self, t: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """The γ at times between 0 and 1."""
        ends = torch.tensor([0.0, 1.0], dtype=t.dtype, device=t.device)
        low, high = self.climb(ends)
        share = (self.climb(t) - low) / (high - low)
        return self.first + (self.last - self.first) * share

    def slope(self, t: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """The slope dγ/dt."""
        ends = torch.tensor([0.0, 1.0], dtype=t.dtype, device=t.device)
        low, high = self.climb(ends)
        bend = self.bend(t)
        steepness = bend * (1 - bend) * 2 * len(self.heights)
        rate = 1e-2 + steepness @ F.softplus(self.heights).to(t.dtype)
        return (self.last - self.first) * rate / (high - low)

    def climb(self, t: Tensor) -> Tensor:
        """Before it is stretched to the ends: upwards everywhere."""
        return 1e-2 * t + self.bend(t) @ F.softplus(self.heights).to(t.dtype)

    def bend(self, t: Tensor) -> Tensor:
        """How far up each stair a time is, from 0 to 1."""
        steep = 2 * len(self.heights)
        return torch.sigmoid(steep * (t[:, None] - self.middles.to(t.dtype)))


def alpha_sigma(gamma: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Both α and σ at γ, each shaped and typed to multiply pictures `like`."""
    shaped = gamma.to(like.dtype).view(-1, *[1] * (like.ndim - 1))
    return torch.sigmoid(-shaped).sqrt(), torch.sigmoid(shaped).sqrt()


def spread_times(
    size: int, generator: torch.Generator
) -> Float[Tensor, "batch"]:
    """Times for a batch, evenly apart behind one random start.

    Each of them is uniform; together they leave no gap.

    Source: Kingma et al. 2021, appendix I.1.
    """
    start = torch.rand(1, generator=generator)
    return (start + torch.arange(size) / size) % 1


def check_ends(first: float, last: float) -> None:
    """Raise `ValueError` unless noise grows from first to last."""
    if not first < last:
        raise ValueError(
            f"last: got {last}, expected more than first, {first}: "
            "γ grows with the noise"
        )
