"""What the ranks of the tests do; each returns what a test compares."""

import torch
import torch.distributed as dist

from llmnotes.parallel.pipeline import (
    Runner,
    Tie,
    clip,
    cut,
    program,
)
from tests.parallel.pipeline import tiny


def runner(schedule, model, kind=Runner, width=tiny.WIDTH):
    """A rank with its own stages of a model."""
    parts = dict(enumerate(cut(model, schedule.last + 1)))
    here = range(dist.get_rank(), schedule.last + 1, schedule.ranks)
    return kind(program(schedule), {s: parts[s] for s in here}, width)


def gradients(model):
    """By name, what this rank has."""
    return {
        name: p.grad.numpy()
        for name, p in model.named_parameters()
        if p.grad is not None
    }


def one_step(schedule, layers=4):
    """Loss, gradients, the events in order, and the most that was held."""
    model = tiny.gpt(layers)
    tie = Tie(model.transformer.wte.weight)
    rank = runner(schedule, model)
    loss = rank.step(*tiny.batches(schedule.micro_batches))
    tie.add_up()
    return float(loss), gradients(model), rank.trace, rank.peak
