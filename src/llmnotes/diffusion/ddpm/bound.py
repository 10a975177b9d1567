"""The variational bound, and every term of it: what a picture costs in nats.

prior   = L_T, KL of q(x_T | x_0) from the noise that samples begin with
steps   = L_{t-1} for t = 2 … T, KL of q(x_{t-1} | x_t, x_0) from the model's
decoder = L_0 = -ln p(x_0 | x_1), the share of a Gaussian on the right level
variance = σ_t², what the model's step adds: a row with one for each t, 0 … T
            (t = 0 is there so that variance[t] is that of t)
shrink  = c_t, how much of x̂_0 is in the mean of x_{t-1}

-ln p(x_0) is at most prior + Σ steps + decoder, on average over the noise.

Sources
- Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv
  2006.11239 (eq. 5: terms; eq. 6, 7: posterior; §3.2: β and β̃; §3.3, eq. 13:
  decoder).
- Bao et al. 2022, "Analytic-DPM", arXiv 2201.06503 (theorem 1: the best
  variance).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.diffusion.ddpm.model import Denoiser, clipped, draw
from llmnotes.diffusion.ddpm.schedule import Schedule
from llmnotes.modes import evaluating

LEVELS = 17


@dataclass(frozen=True)
class Terms:
    """The bound of each picture, in nats; column t - 2 of `steps` is t."""

    prior: Float[Tensor, "batch"]
    steps: Float[Tensor, "batch steps"]
    decoder: Float[Tensor, "batch"]

    @property
    def total(self) -> Float[Tensor, "batch"]:
        """All of it: every t counts."""
        return self.prior + self.steps.sum(1) + self.decoder


def fixed_small(schedule: Schedule) -> Float[Tensor, "times"]:
    """β̃_t, right if every picture were the same one.

    β̃_1 is 0, with which no Gaussian can decode: here β_1 stands for it
    (public code takes β̃_2). Source: Ho et al. 2020, §3.2.
    """
    tilde = posterior_variance(schedule)
    return torch.cat([tilde[:1], schedule.betas[1:2], tilde[2:]])


def fixed_large(schedule: Schedule) -> Float[Tensor, "times"]:
    """β_t, right if pictures were noise. Source: Ho et al. 2020, §3.2."""
    return schedule.betas.clone()


def optimal(
    schedule: Schedule, error: Float[Tensor, "times"]
) -> Float[Tensor, "times"]:
    """β̃_t + c_t² · error_t: the variance with the smallest bound.

    error: mean squared error of one number of x̂_0 at each t, 0 … T; for a
    denoiser that knows E[x_0 | x_t] it is the mean of Var(x_0 | x_t).

    Source: Bao et al. 2022, theorem 1.
    """
    if error.shape != schedule.betas.shape:
        raise ValueError(
            f"error: got shape {tuple(error.shape)}, expected one number for "
            f"each t from 0 to {schedule.steps}"
        )
    return posterior_variance(schedule) + shrink(schedule) ** 2 * error


def posterior_variance(schedule: Schedule) -> Float[Tensor, "times"]:
    """β̃_t for t = 0 … T; 0 at both 0 and 1."""
    bar = schedule.alphas_bar
    tilde = (1 - bar[:-1]) / (1 - bar[1:]) * schedule.betas[1:]
    return torch.cat([bar.new_zeros(1), tilde])


def shrink(schedule: Schedule) -> Float[Tensor, "times"]:
    """c_t for t = 0 … T: the mean of x_{t-1} moves by c_t for 1 of x̂_0."""
    bar = schedule.alphas_bar
    share = bar[:-1].sqrt() * schedule.betas[1:] / (1 - bar[1:])
    return torch.cat([bar.new_zeros(1), share])


def normal_kl(mean: Tensor, variance, other: Tensor, others) -> Tensor:
    """KL(N(mean, variance) ‖ N(other, others)), number by number, nats."""
    ratio = torch.as_tensor(variance / others)
    return (ratio - 1 - ratio.log() + (mean - other) ** 2 / others) / 2


def decoder(
    x0: Float[Tensor, "batch *shape"],
    mean: Float[Tensor, "batch *shape"],
    variance: Tensor,
    levels: int = LEVELS,
) -> Float[Tensor, "batch *shape"]:
    """-ln of what N(mean, variance) has around the level of x_0.

    Around -1 and 1 that goes on to infinity, so that all levels sum to 1.
    Exact however far off the mean is.

    Raises `ValueError` for what is not on a grey level.

    Source: Ho et al. 2020, eq. 13.
    """
    check_levels(x0, levels)
    half, std = 1 / (levels - 1), torch.as_tensor(variance).sqrt()
    low = torch.where(x0 < -1 + half, -torch.inf, (x0 - half - mean) / std)
    high = torch.where(x0 > 1 - half, torch.inf, (x0 + half - mean) / std)
    mirror = low > 0  # both tails are exact on the left only
    low, high = (
        torch.where(mirror, -high, low),
        torch.where(mirror, -low, high),
    )
    top, bottom = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return -(top + torch.log1p(-torch.exp(bottom - top)))


@torch.no_grad()
def terms(
    denoiser: Denoiser,
    x0: Float[Tensor, "batch *shape"],
    variances: dict[str, Float[Tensor, "times"]],
    condition: Any = None,
    *,
    generator: torch.Generator,
    levels: int = LEVELS,
    clip: float | None = 1.0,
) -> dict[str, Terms]:
    """The bound of pictures with each of some variances, from one pass.

    Every t from 1 to T is asked for, each with one draw of noise. `clip`
    bounds x̂_0 as sampling does.

    Source: Ho et al. 2020, eq. 5.
    """
    schedule = denoiser.schedule
    check_levels(x0, levels)
    check_variances(variances, schedule)
    costs: dict[str, list] = {name: [] for name in variances}
    for t, xt, said in guesses(denoiser, x0, condition, generator, clip):
        for name, of in variances.items():
            cost = one(schedule, x0, said, xt, t, of[int(t[0])], levels)
            costs[name].append(cost.flatten(1).sum(1))
    start = prior(schedule, x0)
    return {
        name: Terms(start, torch.stack(cost[1:], 1), cost[0])
        for name, cost in costs.items()
    }


@torch.no_grad()
def squared_errors(
    denoiser: Denoiser,
    x0: Float[Tensor, "batch *shape"],
    condition: Any = None,
    *,
    generator: torch.Generator,
    clip: float | None = 1.0,
) -> Float[Tensor, "times"]:
    """Mean squared error of a number of x̂_0 at t = 0 … T, for `optimal`.

    Of pictures to learn from: what is measured on those that are judged
    knows more than a model may.
    """
    found = guesses(denoiser, x0, condition, generator, clip)
    wrong = [(said - x0).double().square().mean() for _, _, said in found]
    return torch.stack([torch.zeros_like(wrong[0]), *wrong])


def guesses(denoiser, x0, condition, generator, clip) -> Iterator[tuple]:
    """Each t from 1 to T, as a row; x_t; and the guess of x_0."""
    with evaluating(denoiser):
        for step in range(1, denoiser.schedule.steps + 1):
            t = torch.full(x0.shape[:1], step, device=x0.device)
            noise = draw(x0.shape, x0.device, generator).to(x0)
            xt = denoiser.schedule.noisy(x0, t, noise)
            yield t, xt, clipped(denoiser.data(xt, t, condition), clip)


def one(schedule, x0, said, xt, t, variance, levels) -> Tensor:
    """L_{t-1}, number by number, in float64."""
    x0, said, xt = x0.double(), said.double(), xt.double()
    mean, _ = schedule.posterior(said, xt, t)
    if int(t[0]) == 1:
        return decoder(x0, mean, variance, levels)
    right, tilde = schedule.posterior(x0, xt, t)
    return normal_kl(right, tilde, mean, variance)


def prior(
    schedule: Schedule, x0: Float[Tensor, "batch *shape"]
) -> Float[Tensor, "batch"]:
    """L_T, in nats: how much of a picture is left in the noisiest one."""
    bar = schedule.alphas_bar[-1]
    mean = bar.sqrt() * x0.double()
    kl = normal_kl(mean, 1 - bar, torch.zeros_like(mean), 1)
    return kl.flatten(1).sum(1)


def bits_per_dimension(nats: Tensor, size: int) -> Tensor:
    """Bits for each of `size` numbers, of nats for a whole picture."""
    return nats / (size * math.log(2))


def check_levels(x0: Tensor, levels: int) -> None:
    """Raise `ValueError` for what is not on a grey level from -1 to 1."""
    place = (x0 + 1) * (levels - 1) / 2
    off = (place - place.round().clamp(0, levels - 1)).abs()
    if off.numel() and float(off.max()) > 1e-3:
        worst = float(x0.flatten()[off.argmax()])
        raise ValueError(
            f"x0: got {worst:.4f}, expected one of {levels} grey levels from "
            "-1 to 1: only they have probabilities"
        )


def check_variances(variances: dict[str, Tensor], schedule: Schedule) -> None:
    """Raise `ValueError` for one that is no variance for each t."""
    for name, variance in variances.items():
        check_variance(name, variance, schedule)


def check_variance(name: str, variance: Tensor, schedule: Schedule) -> None:
    """Raise `ValueError` unless there is a positive one for each t."""
    if variance.shape != schedule.betas.shape:
        raise ValueError(
            f"{name}: got shape {tuple(variance.shape)}, expected a variance "
            f"for each t from 0 to {schedule.steps}"
        )
    if not (variance[1:] > 0).all():
        t = int((variance[1:] > 0).int().argmin()) + 1
        raise ValueError(
            f"{name}: got {float(variance[t])} at t = {t}, expected "
            "variances above 0"
        )
