"""Sampling loops that people wrote, kept to show what they do."""

import torch

from llmnotes.diffusion.ddpm.model import draw


def steps(model, shape, generator, between, noise=1.0):
    """Ancestral sampling with something done to x_t after every step."""
    schedule, x = model.schedule, draw(shape, "cpu", generator)
    for step in range(schedule.steps, 0, -1):
        t = torch.full(shape[:1], step)
        mean, variance = schedule.posterior(model.data(x, t), x, t)
        x = mean + noise * variance.sqrt() * draw(shape, "cpu", generator)
        x = between(x)
    return x


def clamped(model, shape, generator):
    """x_t is forced into -1 … 1, where only pictures have to be."""
    return steps(model, shape, generator, lambda x: x.clamp(-1, 1))


def clamped_and_scaled(model, shape, generator):
    """And moved to 0 … 1 as for showing it, in every step."""
    x = steps(model, shape, generator, lambda x: (x.clamp(-1, 1) + 1) / 2)
    return x * 2 - 1


def silent(model, shape, generator):
    """No noise is added: x_{t-1} is made its own mean."""
    return steps(model, shape, generator, lambda x: x, noise=0.0)
