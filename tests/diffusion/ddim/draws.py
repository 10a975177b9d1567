"""What trained denoisers draw, by sampler and steps, and how good it is.

A model is "v", DDPM's with the cosine schedule, "flow", or "reflow"; each
job is a process of its own, whose outcome is kept (`tests.contests`).
"""

import torch

from llmnotes.diffusion import ddim
from llmnotes.diffusion.ddim import (
    DDIM,
    DPMSolver2M,
    Euler,
    encode,
    even,
    leading,
    linspace,
    path,
    solve,
    trailing,
    visited,
)
from llmnotes.diffusion.ddim.model import points
from llmnotes.diffusion.ddpm import quality, runs, sample
from llmnotes.diffusion.ddpm.model import draw
from llmnotes.diffusion.ddpm.task import SHAPE, digits, generator
from tests.diffusion.ddim import flows
from tests.diffusion.ddpm import denoisers

SOLVERS = {
    "DDIM": (DDIM(), 1.0),
    "DDIM with η = 1": (DDIM(1.0), 1.0),
    "DPM-Solver++ 2M": (DPMSolver2M(), 1.0),
    "Euler in ln α": (Euler(), 1.0),
    "clipped and ε kept": (DDIM(follow=False), 1.0),
    "not clipped": (DDIM(), None),
}
MEASURES = "frechet", "accuracy", "precision", "recall", "copies"
RATE, TUNED_AT = runs.RATE, 10


def model(kind, seed, rate=RATE):
    """A trained denoiser, read from the disk where it is there."""
    if kind == "v":
        return denoisers.trained(seed=seed, rate=rate)
    make = {"flow": flows.trained, "reflow": flows.straightened}[kind]
    return make(seed, rate)


def grid(denoiser, name, count):
    """Steps by the name of their spacing."""
    schedule = denoiser.schedule
    if name == "even on the line":
        return even(schedule, count)
    if name == "even on the circle":
        return even_on_the_circle(schedule, count)
    named = {"leading": leading, "linspace": linspace, "trailing": trailing}
    return named[name](schedule.steps, count)


def even_on_the_circle(schedule, count):
    """Steps of the cosine schedule, on a schedule of another kind."""
    angles = torch.atan2(schedule.sigmas, schedule.alphas)
    wanted = torch.arange(count, 0, -1) / count * angles[-1]
    near = (angles[1:] - wanted[:, None]).abs().argmin(1) + 1
    return near.unique_consecutive().tolist()


def measured(make, seed):
    """MEASURES of what `make` makes, drawn with this seed."""
    found = quality.judged(make, seed)
    return [found[name] for name in MEASURES]


def drawn(kind, solver, spacing, steps, rate, seed):
    """How good samples are."""
    denoiser = model(kind, seed, rate)
    chosen, clip = SOLVERS[solver]
    times = grid(denoiser, spacing, steps)

    def make(classes, draws):
        return ddim.sample(
            denoiser, (len(classes), *SHAPE), classes, generator=draws,
            steps=times, solver=chosen, clip=clip,
        )  # fmt: skip

    return measured(make, seed)


def all_steps(seed):
    """How good DDPM's samples are, a thousand steps each."""
    denoiser = model("v", seed)

    def make(classes, draws):
        shape = len(classes), *SHAPE
        return sample(denoiser, shape, classes, generator=draws)

    return measured(make, seed)


def mismatched(steps, seed):
    """How good samples are of diffusers' DDIM with linspace.

    It goes 1000 // n down from where it is, and then says that it stands at
    the next of its timesteps.
    """
    denoiser = model("v", seed)
    times = linspace(1000, steps)

    def make(classes, draws):
        x = draw((len(classes), *SHAPE), "cpu", draws)
        for t in times:
            x = solve(denoiser, x, [t, max(0, t - 1000 // steps)], classes)
        return x

    return measured(make, seed)


def chosen(kind, rate, seed):
    """The Fréchet distance that a rate is chosen by."""
    return drawn(kind, "DDIM", "trailing", TUNED_AT, rate, seed)[:1]


def returned(kind, steps, rounds, seed):
    """RMSE of pictures held out, there and back; deviation of their noise."""
    denoiser = model(kind, seed)
    pictures, classes = (part[::3] for part in digits()[1])
    noise = encode(denoiser, pictures, classes, steps=steps, rounds=rounds)
    times = visited(denoiser.schedule.steps, steps)
    again = solve(denoiser, noise, times, classes, clip=None)
    off = (again - pictures).square().mean().sqrt()
    return float(off), float(noise.std())


def bent(kind, seed):
    """Crookedness of paths on the line, in fifty steps even on it."""
    denoiser = model(kind, seed)
    if kind == "v":
        way = ddim.onto_line(denoiser.schedule)
        denoiser = ddim.Rescaled(denoiser, way)
    times = [*even(denoiser.schedule, 50), 0]
    classes = torch.arange(200) % 10
    noise = draw((200, *SHAPE), "cpu", generator(seed, 7))
    with torch.no_grad():
        xs = list(path(denoiser, noise, times, classes, clip=None))
    us = [point.sigma for point in points(denoiser.schedule, times)]
    return [ddim.crookedness(xs, us)]


def seconds(kind, rate, seed):
    """CPU seconds of a training, with what it was begun from."""
    if kind == "v":
        job = "velocity", "cosine", "l2", seed, 0.0, runs.STEPS, rate
        return [denoisers.with_seconds(*job)[1]]
    return [flows.with_seconds(kind, seed, rate)[1]]
