"""Small denoisers whose every step can be followed, in float64."""

import torch
from torch import nn

from llmnotes.diffusion.ddim import Mixture, most_noise
from llmnotes.diffusion.ddim.model import points
from llmnotes.diffusion.ddpm import (
    Data,
    Denoiser,
    Noise,
    Schedule,
    Velocity,
    cosine,
    linear,
)

TARGETS = {"epsilon": Noise, "sample": Data, "v_prediction": Velocity}
SHAPE = (3, 2, 5)


class Crooked(nn.Module):
    """Says something that depends on all it is given, and on no data."""

    def __init__(self, size):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        weights = torch.randn(size, size, generator=generator).double()
        self.weights = nn.Parameter(weights / size**0.5)

    def forward(self, x, time, condition=None):
        said = x.flatten(1) @ self.weights + time[:, None]
        return 1.5 * said.sin().view_as(x)


def crooked(target=Noise, betas=None, size=10):
    """A denoiser of small, arbitrary pictures."""
    betas = linear() if betas is None else betas
    return Denoiser(Crooked(size), Schedule(betas), target())


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed)).double()


def slow(steps=4096):
    """The linear schedule in smaller steps: the ODE is its limit."""
    return Schedule(linear(steps, 0.1 / steps, 20 / steps))


def three_parts(schedule=None):
    """A mixture of three on a line."""
    return Mixture(
        Schedule(cosine()) if schedule is None else schedule,
        torch.tensor([[-0.8], [0.1], [0.7]]).double(),
        torch.tensor([0.2, 0.1, 0.25]).double(),
        torch.tensor([0.5, 0.2, 0.3]).double(),
    )


def one_part(schedule=None, mean=0.3, spread=0.4):
    """A single Gaussian, for which all is known in closed form."""
    return Mixture(
        Schedule(cosine()) if schedule is None else schedule,
        torch.tensor([[mean]]).double(),
        torch.tensor([spread]).double(),
    )


def cumulative(mixture, x, point):
    """The share of the pictures, noisy as at a point, that is below x."""
    means, spreads = mixture.means[:, 0], mixture.spreads
    width = ((point.alpha * spreads) ** 2 + point.sigma**2).sqrt()
    below = torch.special.ndtr((x - point.alpha * means) / width)
    return (below * mixture.shares).sum(1, keepdim=True)


def exact(mixture, x, now, then):
    """Where the ODE leads from x: on a line nobody overtakes anybody.

    So the share that is below stays what it is; bisection finds who has it.
    """
    share = cumulative(mixture, x, now)
    low, high = torch.full_like(x, -20), torch.full_like(x, 20)
    for _ in range(70):
        middle = (low + high) / 2
        above = cumulative(mixture, middle, then) > share
        low = torch.where(above, low, middle)
        high = torch.where(above, middle, high)
    return (low + high) / 2


def carried(schedule, times, eta=0.0, mean=0.0, spread=0.4, reached=None):
    """Mean and deviation of DDIM's samples of one Gaussian, exactly.

    The exact guess is a line in x, so each step is one as well, and mean and
    variance are carried along it. `reached` are the times that a sampler
    steps to, if they are not those at which it then asks.
    """
    at = 0.0
    variance = 1.0
    reached = times[1:] if reached is None else reached
    asked = points(schedule, times[: len(reached)])
    for now, then in zip(asked, points(schedule, reached), strict=True):
        total = (now.alpha * spread) ** 2 + now.sigma**2
        guess = now.alpha * spread**2 / total  # x_0 = mean + guess · off
        fresh = eta * most_noise(now, then)
        kept = max(0.0, then.sigma**2 - fresh**2) ** 0.5
        factor = then.alpha * guess
        factor += kept * (1 - now.alpha * guess) / now.sigma
        at = then.alpha * mean + factor * (at - now.alpha * mean)
        variance = factor**2 * variance + fresh**2
    return at, variance**0.5
