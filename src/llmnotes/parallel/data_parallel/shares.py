"""A rank's share of a batch, its weight in the loss, its random numbers.

    targets = what a mean loss is the mean over; places of -100 do not count

A batch is a function of the step, and every rank knows the whole of it: it
takes rows of its own. So the ranks together see what one process would have
seen, however many they are.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from llmnotes.task import Task


def share(batch: tuple[Tensor, ...], rank: int, ranks: int) -> tuple:
    """The rows of one rank.

    Raises `ValueError` for fewer rows than ranks.
    """
    rows = len(batch[0])
    if rows < ranks:
        raise ValueError(
            f"batch: got {rows} rows for {ranks} ranks, expected a row for "
            "each"
        )
    return tuple(part.tensor_split(ranks)[rank] for part in batch)


def weight(task: Task, mine: Any, batch: Any) -> float:
    """What a rank's mean loss counts for in the mean over all targets."""
    whole = task.targets(batch)
    if not whole:
        raise ValueError("batch: got no target, expected at least one")
    return task.targets(mine) / whole


def loss(model: nn.Module, task: Task, batch: tuple) -> Tensor:
    """A rank's part of the mean loss; the parts of all ranks add up to it."""
    mine = share(batch, dist.get_rank(), dist.get_world_size())
    part = weight(task, mine, batch)
    # A rank without targets takes part all the same: its mean would be 0/0.
    found = task.loss(model, mine) if part else nothing(model)
    return found * part


def nothing(model: nn.Module) -> Tensor:
    """A loss of 0 that depends on every parameter."""
    return sum(p.sum() * 0 for p in model.parameters() if p.requires_grad)


def seed_masks(seed: int, step: int, rank: int) -> None:
    """Random numbers of a step and a rank, for dropout.

    With the same numbers on all ranks, all sequences of a column would lose
    the same units. Derived anew for every step, they need not be saved.
    """
    mixed = torch.tensor([seed, step, rank], dtype=torch.int64)
    torch.manual_seed(digest(mixed.tolist()))


def digest(numbers: list[int]) -> int:
    """One number of 63 bits out of some: other ones give another."""
    state = 0
    for number in numbers:  # splitmix64, twice for each
        state = mixed_bits(state ^ mixed_bits(number + 1))
    return state >> 1


def mixed_bits(z: int) -> int:
    """Spread each bit over all 64: the steps of splitmix64."""
    z = (z + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)
