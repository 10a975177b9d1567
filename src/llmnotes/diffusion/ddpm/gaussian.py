r"""The case in which all is known: pictures that are Gaussian themselves.

mean, variance = m, s² of x_0, the same for every number of a picture
total   = v_t = ᾱ_t s² + 1 - ᾱ_t, the variance of x_t
unknown = Var(x_0 | x_t) = s² (1 - ᾱ_t) / v_t
reverse = Var(x_{t-1} | x_t) = β_t v_{t-1} / v_t, the best σ_t² there is
gap     = bound + ln p(x_0), on average: what the model's steps lose

With the exact mean, a step whose variance is r times too small loses
(r - 1 - ln r) / 2 nats, r = reverse / σ_t². Near t = 0 noise comes evenly:
1 - ᾱ_t → t β, reverse → β, β̃_t → β (t - 1) / t, so that r = t / (t - 1) for
β̃. These r do not depend on T: more steps make more of them, not better ones.

    Σ_{t≥2} [1/(t-1) - ln t/(t-1)] / 2 = lim (H_n - ln n) / 2 = γ_Euler / 2

nats for each number of a picture stay, .41637 bits. Where noise begins like
t^2 (a cosine without offset), 1 - ᾱ_t ∝ t², and the same sum with
r = t² / (t-1)² is γ_Euler + π² / 12.

Sources
- Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv
  2006.11239 (§3.2: β and β̃, and for which data each is right).
- Bao et al. 2022, "Analytic-DPM", arXiv 2201.06503 (§3: the best variance).
- Bishop 2006, "Pattern Recognition and Machine Learning", eq. 2.116 (Bayes'
  rule for Gaussians).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.diffusion.ddpm.bound import normal_kl
from llmnotes.diffusion.ddpm.model import Denoiser
from llmnotes.diffusion.ddpm.schedule import Schedule
from llmnotes.diffusion.ddpm.targets import Data

EULER = 0.5772156649015329


@dataclass(frozen=True)
class Gaussian:
    """Pictures whose numbers are N(mean, variance), each by itself.

    Raises `ValueError` for a variance below 0.
    """

    mean: float = 0.0
    variance: float = 1.0

    def __post_init__(self):
        if not self.variance >= 0:
            raise ValueError(
                f"variance: got {self.variance}, expected 0 or more"
            )

    def denoised(self, xt, alpha, sigma) -> Tensor:
        """E[x_0 | x_t]. Source: Bishop 2006, eq. 2.116."""
        total = alpha**2 * self.variance + sigma**2
        gain = alpha * self.variance / total
        return self.mean + gain * (xt - alpha * self.mean)

    def total(self, schedule: Schedule) -> Float[Tensor, "times"]:
        """Var(x_t), t = 0 … T."""
        bar = schedule.alphas_bar
        return bar * self.variance + 1 - bar

    def unknown(self, schedule: Schedule) -> Float[Tensor, "times"]:
        """Var(x_0 | x_t), t = 0 … T."""
        rest = 1 - schedule.alphas_bar
        return torch.where(
            rest > 0, self.variance * rest / self.total(schedule), 0.0
        )

    def reverse(self, schedule: Schedule) -> Float[Tensor, "times"]:
        """Var(x_{t-1} | x_t), t = 0 … T; 0 at t = 0."""
        total = self.total(schedule)
        before = torch.cat([total[:1], total[:-1]])
        return schedule.betas * before / total

    def entropy(self) -> float:
        """-E ln p(x_0) for one number, in nats."""
        return math.log(2 * math.pi * math.e * self.variance) / 2


class Exact(Denoiser):
    """A `Denoiser` that has nothing to learn: it says E[x_0 | x_t]."""

    def __init__(self, gaussian: Gaussian, schedule: Schedule):
        super().__init__(nn.Identity(), schedule, Data())
        self.gaussian = gaussian

    def forward(
        self,
        xt: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
        condition: Any = None,
    ) -> Float[Tensor, "batch *shape"]:
        """x_0, as far as anyone can tell."""
        levels = self.schedule.alpha(t, xt), self.schedule.sigma(t, xt)
        return self.gaussian.denoised(xt, *levels)


def losses(
    gaussian: Gaussian, schedule: Schedule, variance: Float[Tensor, "times"]
) -> Float[Tensor, "times"]:
    """What step t = 1 … T loses with variance[t], nats; at 0 the prior's.

    Source: the chain rule of KL, from x_T to x_0: each loss is the KL of the
    true q(x_{t-1} | x_t) from the model's.
    """
    right, zero = gaussian.reverse(schedule)[1:], torch.zeros(())
    step = normal_kl(zero, right, zero, variance[1:])
    bar = schedule.alphas_bar[-1]
    left = bar.sqrt() * gaussian.mean
    end = gaussian.total(schedule)[-1]
    start = normal_kl(left, end, torch.zeros_like(left), 1)
    return torch.cat([start[None], step])


def gap(
    gaussian: Gaussian, schedule: Schedule, variance: Float[Tensor, "times"]
) -> float:
    """Bound minus -ln p(x_0) for one number, on average, in nats.

    The exact denoiser and a Gaussian p(x_0 | x_1) with variance[1].
    """
    return float(losses(gaussian, schedule, variance).sum())
