"""DDPM: a network that says what was under the noise, and samples from it.

xt        = x_t (a noisy picture), x0 = x_0, noise = ε
t         = 1 … T; time = t / T, which is what the network reads
condition = what the picture shows: anything the network knows, None for
            nothing in particular

Sources
- Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv
  2006.11239 (eq. 14: the simple loss; algorithms 1 and 2).
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.diffusion.ddpm.schedule import Levels, check_times
from llmnotes.diffusion.ddpm.targets import Target, noise_from
from llmnotes.modes import evaluating


class Denoiser(nn.Module):
    """A network with the schedule and the target that it was trained with.

    `network(xt, time, condition)` says what the target asks for, in the
    shape of xt; `time` is t / T, between 0 and 1.
    """

    def __init__(self, network: nn.Module, schedule: Levels, target: Target):
        super().__init__()
        self.network, self.schedule = network, schedule
        self.target = target

    def nothing(self, condition: Any) -> Any:
        """A condition of this form that says nothing; None, if there is none.

        Its network knows, by a method of this name.
        """
        known = getattr(self.network, "nothing", None)
        return None if known is None else known(condition)

    def forward(
        self,
        xt: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
        condition: Any = None,
    ) -> Float[Tensor, "batch *shape"]:
        """What the network says of pictures, each at its own t."""
        check_times(t, xt, self.schedule.steps, first=1)
        time = (t / self.schedule.steps).to(xt.dtype)
        return self.network(xt, time, condition)

    def data(
        self,
        xt: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
        condition: Any = None,
    ) -> Float[Tensor, "batch *shape"]:
        """x_0, as far as the network can tell."""
        levels = self.schedule.alpha(t, xt), self.schedule.sigma(t, xt)
        return self.target.data(self(xt, t, condition), xt, *levels)

    def noise(
        self,
        xt: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
        condition: Any = None,
    ) -> Float[Tensor, "batch *shape"]:
        """ε, as far as the network can tell."""
        levels = self.schedule.alpha(t, xt), self.schedule.sigma(t, xt)
        return noise_from(self.data(xt, t, condition), xt, *levels)


def denoising_loss(
    denoiser: Denoiser,
    x0: Float[Tensor, "batch *shape"],
    t: Int[Tensor, "batch"],
    noise: Float[Tensor, "batch *shape"],
    condition: Any = None,
    error=F.mse_loss,
) -> Float[Tensor, ""]:
    """The simple loss: how far off the network is, each t alike.

    Source: Ho et al. 2020, eq. 14.
    """
    schedule = denoiser.schedule
    levels = schedule.alpha(t, x0), schedule.sigma(t, x0)
    said = denoiser(schedule.noisy(x0, t, noise), t, condition)
    return error(said, denoiser.target.of(x0, noise, *levels))


def chain(
    denoiser: Denoiser,
    shape: tuple[int, ...],
    condition: Any = None,
    *,
    generator: torch.Generator,
    clip: float | None = 1.0,
) -> Iterator[Float[Tensor, "batch *shape"]]:
    """x_T, x_{T-1} … x_0: T draws, each from the posterior of a guess.

    `clip` bounds the guessed x_0, never x_t. Source: Ho et al. 2020,
    algorithm 2.
    """
    schedule = denoiser.schedule
    x = draw(shape, schedule.betas.device, generator)
    yield x
    for step in range(schedule.steps, 0, -1):
        t = torch.full(shape[:1], step, device=x.device)
        x0 = clipped(denoiser.data(x, t, condition), clip)
        mean, variance = schedule.posterior(x0, x, t)
        x = mean + variance.sqrt() * draw(shape, x.device, generator)
        yield x


def sample(
    denoiser: Denoiser,
    shape: tuple[int, ...],
    condition: Any = None,
    *,
    generator: torch.Generator,
    clip: float | None = 1.0,
) -> Float[Tensor, "batch *shape"]:
    """Pictures out of noise, in T steps. See `chain`."""
    with evaluating(denoiser):
        states = chain(
            denoiser, shape, condition, generator=generator, clip=clip
        )
        return deque(states, maxlen=1).pop()


def draw(shape, device, generator: torch.Generator) -> Tensor:
    """Standard normal noise; drawn where the generator is."""
    return torch.randn(shape, generator=generator, device=generator.device).to(
        device
    )


def clipped(x0: Tensor, clip: float | None) -> Tensor:
    """x_0 within ±clip, where pictures are."""
    return x0 if clip is None else x0.clamp(-clip, clip)
