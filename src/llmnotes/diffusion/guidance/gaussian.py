"""What guidance does to Gaussians, exactly.

without, with_ = N(m_u, σ_u²), N(m_c, σ_c²): the data, without and with the
                 condition
scale          = s in u + s (c - u)
tilted         = the density p_u^(1-s) p_c^s, made to integrate to 1: what
                 guidance is said to draw from
drawn          = what samplers do draw, with exact scores and without noise;
                 drawn_with_noise: with DDPM's noise at each step

With z = x/alpha and k = sigma/alpha, the sampler follows
z' = k [(1-s) (z - m_u)/(σ_u² + k²) + s (z - m_c)/(σ_c² + k²)], a line in z at
every k. So z is stretched by (σ_u² + k²)^((1-s)/2) (σ_c² + k²)^(s/2), which is
k itself where the noise begins, and σ_u^(1-s) σ_c^s where it ends. With DDPM's
noise the slope counts twice and 2k of variance comes in on the way. All
integrals become averages over y² or y = σ_c²/(σ_c² + k²), from 0 to 1.

Sources
- Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based
  Generative Models", arXiv 2206.00364, eq. 1 (the ODE in k).
- Bradley & Nakkiran 2024, "Classifier-Free Guidance is a
  Predictor-Corrector", arXiv 2408.09000 (that it draws from no tilted
  density).
- Golub and Welsch 1969, "Calculation of Gauss Quadrature Rules", Mathematics
  of Computation 23 (nodes and weights from a recurrence).
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.diffusion.ddpm import Data, Denoiser, Schedule


class Normal(NamedTuple):
    """A mean and a standard deviation."""

    mean: float
    std: float


def tilted(without: Normal, with_: Normal, scale: float) -> Normal:
    """The tilted density: precisions add up, with weights 1-s and s.

    Raises `ValueError` where it is no density: its precision is not above 0.
    """
    shares = (1 - scale) / without.std**2, scale / with_.std**2
    precision = sum(shares)
    check_precision(precision, scale)
    mean = (shares[0] * without.mean + shares[1] * with_.mean) / precision
    return Normal(mean, precision**-0.5)


def drawn(without: Normal, with_: Normal, scale: float) -> Normal:
    """What a sampler without noise draws: std σ_u^(1-s) σ_c^s.

    Its mean is m_u + s (m_c - m_u) times the average of
    `narrowed`(y²)^((s-1)/2) over y from 0 to 1.
    """
    y, weights = legendre()
    kept = narrowed(without, with_, y**2) ** ((scale - 1) / 2)
    std = without.std ** (1 - scale) * with_.std**scale
    return Normal(moved(without, with_, scale, weights @ kept), std)


def drawn_with_noise(without: Normal, with_: Normal, scale: float) -> Normal:
    """What DDPM draws in many steps: variance (1 - r^(2s-1))/((2s-1)(1-r)).

    That is in units of σ_c², with r = σ_c²/σ_u²; the mean is
    m_u + (m_c - m_u)(1 - r^s)/(1 - r). Here as averages of `narrowed`(y),
    which hold for r = 1, too.
    """
    y, weights = legendre()
    narrow = narrowed(without, with_, y) ** (scale - 1)
    std = with_.std * math.sqrt(float(weights @ narrow**2))
    return Normal(moved(without, with_, scale, weights @ narrow), std)


def narrowed(
    without: Normal, with_: Normal, y: Float[Tensor, "nodes"]
) -> Float[Tensor, "nodes"]:
    """From σ_c²/σ_u² at y = 0 to 1 at y = 1, in a line."""
    ratio = (with_.std / without.std) ** 2
    return ratio + (1 - ratio) * y


def moved(without: Normal, with_: Normal, scale, kept) -> float:
    """The mean, where a part of the whole move s (m_c - m_u) is kept."""
    return without.mean + scale * (with_.mean - without.mean) * float(kept)


def legendre(
    count: int = 64,
) -> tuple[Float[Tensor, "nodes"], Float[Tensor, "nodes"]]:
    """Nodes between 0 and 1 and their weights, which sum to 1.

    From the eigenvectors of the polynomials' recurrence, as Golub and Welsch
    1969 found.
    """
    n = torch.arange(1, count, dtype=torch.float64)
    off = n / (4 * n**2 - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(off.diag(1) + off.diag(-1))
    return (1 + nodes) / 2, vectors[0] ** 2


class GaussianDenoiser(Denoiser):
    """Knows the best guess of x_0 exactly, each number being normal.

    A condition is a pair (means, standard deviations), a row for each
    picture; without one all are those of `nothing`.
    """

    def __init__(self, schedule: Schedule, without: Normal):
        super().__init__(nn.Identity(), schedule, Data())
        self.without = without

    def nothing(self, condition: Any) -> Any:
        """The pair of what is known without a condition."""
        pairs = zip(condition, self.without, strict=True)
        return tuple(torch.full_like(c, value) for c, value in pairs)

    def forward(
        self,
        xt: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
        condition: Any = None,
    ) -> Float[Tensor, "batch *shape"]:
        """The mean of x_0, given x_t."""
        mean, std = self.without if condition is None else condition
        alpha, sigma = self.schedule.alpha(t, xt), self.schedule.sigma(t, xt)
        kept = alpha * std**2 / (alpha**2 * std**2 + sigma**2)
        return mean + kept * (xt - alpha * mean)


def check_precision(precision: float, scale: float) -> None:
    """Raise `ValueError` where the tilted density has no end."""
    if not (precision > 0 and math.isfinite(precision)):
        raise ValueError(
            f"scale: got {scale}, at which the tilted density has precision "
            f"{precision:.3g}; expected one above 0"
        )
