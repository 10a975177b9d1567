"""DDIM: the sampler that may leave out steps, and the way back into noise.

x         = x_t on its way from noise to a picture
times     = t = T … 0, the steps that are visited
condition = what the picture shows, handed on to the denoiser

A denoiser is any module with a `schedule` and a `data(xt, t, condition)`.

Sources
- Song et al. 2021, "DDIM", arXiv 2010.02502 (§4: sampling; §4.3: the ODE and
  the encoding of pictures; eq. 14).
- Pan et al. 2023, "Effective Real Image Editing with Accelerated Iterative
  Diffusion Inversion", arXiv 2309.04907 (the way back as a fixed point).
"""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.diffusion.ddim.solvers import DDIM, Guess, Point, Solver
from llmnotes.diffusion.ddim.spacing import check_down, visited
from llmnotes.diffusion.ddpm.model import clipped, draw
from llmnotes.diffusion.ddpm.schedule import Levels
from llmnotes.diffusion.ddpm.targets import noise_from
from llmnotes.modes import evaluating

QUIET = DDIM()  # η = 0: nothing is drawn on the way


def path(
    denoiser: nn.Module,
    x: Float[Tensor, "batch *shape"],
    times: Sequence[int],
    condition: Any = None,
    *,
    solver: Solver = QUIET,
    generator: torch.Generator | None = None,
    clip: float | None = 1.0,
) -> Iterator[Float[Tensor, "batch *shape"]]:
    """Where x is at each of `times`, beginning with the one given.

    `clip` bounds the guessed x_0, never x. Raises `ValueError` for times
    that do not go down from at most T to at least 0.
    """
    check_down(denoiser.schedule.steps, times, end=0)

    def fresh() -> Tensor:
        check_generator(generator, solver)
        return draw(x.shape, x.device, generator).to(x.dtype)

    last = None
    yield x
    for t, now, then in legs(denoiser.schedule, times):
        guess = guessed(denoiser, x, t, now, condition, clip)
        x = solver.step(x, guess, then, last, fresh)
        last = guess
        yield x


def legs(
    schedule: Levels, times: Sequence[int]
) -> Iterator[tuple[int, Point, Point]]:
    """For each step its t, the point it begins at, and where it ends."""
    ways = pairwise(points(schedule, times))
    for t, (now, then) in zip(times, ways, strict=False):
        yield t, now, then


def guessed(
    denoiser: nn.Module,
    x: Float[Tensor, "batch *shape"],
    t: int,
    at: Point,
    condition: Any,
    clip: float | None,
) -> Guess:
    """The picture that a denoiser sees in x, all of it at the same t."""
    each = torch.full(x.shape[:1], t, device=x.device)
    said = denoiser.data(x, each, condition)
    return Guess(at, clipped(said, clip), said)


def solve(
    denoiser: nn.Module,
    x: Float[Tensor, "batch *shape"],
    times: Sequence[int],
    condition: Any = None,
    **options: Any,
) -> Float[Tensor, "batch *shape"]:
    """Where x is at the last of `times`. See `path`."""
    with evaluating(denoiser):
        states = path(denoiser, x, times, condition, **options)
        return deque(states, maxlen=1).pop()


def sample(
    denoiser: nn.Module,
    shape: tuple[int, ...],
    condition: Any = None,
    *,
    generator: torch.Generator,
    steps: int | Sequence[int] = 50,
    solver: Solver = QUIET,
    clip: float | None = 1.0,
) -> Float[Tensor, "batch *shape"]:
    """Pictures out of noise, in as many calls of the network as steps.

    `steps` is a number, spread from T on, or the steps themselves.

    Raises `ValueError` for steps that the schedule does not have.
    """
    schedule = denoiser.schedule
    times = visited(schedule.steps, steps)
    x = draw(shape, schedule.alphas.device, generator)
    return solve(
        denoiser, x, times, condition,
        solver=solver, generator=generator, clip=clip,
    )  # fmt: skip


def encode(
    denoiser: nn.Module,
    x0: Float[Tensor, "batch *shape"],
    condition: Any = None,
    *,
    steps: int | Sequence[int] = 250,
    rounds: int = 1,
) -> Float[Tensor, "batch *shape"]:
    """The noise out of which DDIM with η = 0 makes these pictures.

    A step back asks for the noise at the point it leads to, where nobody is
    yet. One of the `rounds` asks with x as it stands, each further one with
    what the round before has found.

    Source: Song et al. 2021, §4.3 and eq. 14; Pan et al. 2023 (rounds).
    """
    times = visited(denoiser.schedule.steps, steps)[::-1]
    found = points(denoiser.schedule, times)
    x = x0
    with evaluating(denoiser):
        for t, (now, then) in zip(times[1:], pairwise(found), strict=True):
            each = torch.full(x.shape[:1], t, device=x.device)
            reached = x
            for _ in range(rounds):
                said = denoiser.data(reached, each, condition)
                noise = noise_from(said, reached, *then)
                picture = (x - now.sigma * noise) / now.alpha
                reached = then.alpha * picture + then.sigma * noise
            x = reached
    return x


def points(schedule: Levels, times: Sequence[int]) -> list[Point]:
    """α and σ at each of `times`, as numbers of Python, in float64."""
    at = torch.tensor(times, device=schedule.alphas.device)
    alphas, sigmas = schedule.alphas[at], schedule.sigmas[at]
    pairs = zip(alphas.tolist(), sigmas.tolist(), strict=True)
    return [Point(*pair) for pair in pairs]


def check_generator(generator: torch.Generator | None, solver) -> None:
    """Raise `ValueError` where noise is wanted and nothing draws it."""
    if generator is None:
        raise ValueError(f"generator: got None, expected one for {solver}")
