"""Ranks whose work is to sleep: times that a busy machine hardly changes."""

import time

import torch
import torch.distributed as dist

from llmnotes.parallel.pipeline import program
from tests.parallel.pipeline import ranks

WORK = 0.02  # s, a unit: forward takes one, backward two


class Sleeping(torch.autograd.Function):
    """Work that takes its time, whatever else the machine does."""

    @staticmethod
    def forward(ctx, x):
        time.sleep(WORK)
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        time.sleep(2 * WORK)
        return dy


class Sleeper(ranks.Wide):
    """A stage that sleeps."""

    def forward(self, x):
        return Sleeping.apply(super().forward(x))


def slept(schedules):
    """Seconds of one step of each schedule, behind one that warms up."""
    found = []
    for schedule in schedules:
        here = range(dist.get_rank(), schedule.last + 1, schedule.ranks)
        stages = {stage: Sleeper(8) for stage in here}
        rank = ranks.Summed(program(schedule), stages, 8)
        ids = [torch.ones(1, 4, dtype=torch.long)] * schedule.micro_batches
        dist.barrier()
        start = time.perf_counter()
        rank.step(ids, ids, 32)
        dist.barrier()
        found.append(time.perf_counter() - start)
    return found
