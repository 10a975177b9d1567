"""A small training whose every state matters, and the same on any ranks.

It guesses the next letter of Python's own English. A batch is twelve pieces
of two examples; a rank takes as many of them as there are for it, draws the
dropout of all, and the gradients of pieces are summed in one order.
"""

import contextlib
import functools
from pydoc_data.topics import topics

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from llmnotes.parallel.checkpointing import (
    Background,
    Checkpoints,
    Training,
    fingerprint,
    flat,
    sum_in_order,
)

SEED, LETTERS, BACK, HIDDEN = 0, 64, 6, 24
EXAMPLES, BATCH, PIECES, DROP = 130, 24, 12, 0.2  # of an epoch, of a step
STEPS, EVERY, WARMUP = 9, 3, 5
BLOCK = 2**13


class Guess(nn.Module):
    """Letters to logits of the next; `keep` is the dropout's mask."""

    def __init__(self):
        super().__init__()
        self.letters = nn.Embedding(LETTERS, 5)
        self.inner = nn.Linear(5 * BACK, HIDDEN)
        self.outer = nn.Linear(HIDDEN, LETTERS)

    def forward(self, ids, keep):
        hidden = torch.tanh(self.inner(self.letters(ids).flatten(1)))
        return self.outer(hidden * keep / (1 - DROP))


@functools.cache
def text():
    """Letters of Python's reference, as ids."""
    words = "".join(topics[name] for name in sorted(topics)[:20])
    return torch.tensor([ord(c) % LETTERS for c in words])


@contextlib.contextmanager
def longer():
    """A run of 90 larger steps, of one epoch; the rate falls to 0."""
    before = {name: globals()[name] for name in LONGER}
    globals().update(LONGER)
    try:
        yield
    finally:
        globals().update(before)


def examples(at, count):
    """The numbers of the next examples; each epoch has an order of its own."""
    size = EXAMPLES
    places = (divmod(place, size) for place in range(at, at + count))
    return [shuffled(size, 1000 * SEED + e)[number] for e, number in places]


@functools.cache
def shuffled(size, seed):
    """The order of an epoch."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randperm(size, generator=draw).tolist()


def windows(numbers):
    """What is read and what comes next, for some examples."""
    at = 5 * torch.tensor(numbers)
    return text()[at[:, None] + torch.arange(BACK)], text()[at + BACK]


def warm_then_cool(step):
    """The rate's factor."""
    return min(1, (step + 1) / WARMUP) * 0.97**step


def straight_down(step):
    """The same, for a run of 90 steps at a higher rate."""
    return 2.5 * min(1, (step + 1) / WARMUP) * max(0.02, 1 - step / 90)


LONGER = dict(
    EXAMPLES=9000, BATCH=96, PIECES=2, STEPS=90, cooling=straight_down
)  # fmt: skip
cooling = warm_then_cool


def fresh(seed=None):
    """A training that has not begun."""
    seed = SEED if seed is None else seed
    torch.manual_seed(seed)
    model = Guess()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, cooling)
    generator = torch.Generator().manual_seed(seed)
    return Training(model, optimizer, scheduler, generator)


def place():
    """Rank and number of ranks."""
    if not dist.is_initialized():
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def gradient(model, numbers, keep):
    """Gradients of one piece in a row, and its loss behind them."""
    ids, targets = windows(numbers)
    loss = F.cross_entropy(model(ids, keep), targets, reduction="sum") / BATCH
    found = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([*(g.reshape(-1) for g in found), loss.detach()[None]])


def step(training):
    """One update; returns the examples that were read and the loss."""
    rank, ranks = place()
    numbers = examples(training.examples, BATCH)
    keep = torch.rand(BATCH, HIDDEN, generator=training.generator) > DROP
    low, high = (PIECES * r // ranks for r in (rank, rank + 1))
    each = BATCH // PIECES
    own = [
        gradient(
            training.model,
            numbers[each * i : each * (i + 1)],
            keep[each * i : each * (i + 1)].clone(),
        )
        for i in range(low, high)
    ]
    *_, loss = row = sum_in_order(torch.stack(own))
    for p in training.model.parameters():
        p.grad, row = row[: p.numel()].view_as(p).clone(), row[p.numel() :]
    training.optimizer.step()
    training.scheduler.step()
    training.step += 1
    training.examples += BATCH
    return numbers, float(loss)


def save(where, training):
    """Each rank saves its part of what all hold."""
    parts = flat(training.tensors(), *place())
    where.save(training.step, parts, training.facts())


def resume(checkpoints, training):
    """Go on from the newest checkpoint, if there is one."""
    if checkpoints.steps():
        training.put(*checkpoints.tensors())


def state(training):
    """All bits of a training, in a few words."""
    tensors = training.tensors().items()
    return {name: fingerprint(x) for name, x in tensors} | training.facts()


def go(folder, steps=STEPS, every=EVERY, disk=None, behind=False):
    """Train, saving as it goes; returns what was read, losses, the state."""
    training, read, losses = fresh(), [], []
    checkpoints = Checkpoints(folder, block=BLOCK, disk=disk, patience=20)
    resume(checkpoints, training)
    with Background(checkpoints) as later:
        while training.step < steps:
            numbers, loss = step(training)
            read.append(numbers)
            losses.append(loss)
            if training.step % every == 0:
                save(later if behind else checkpoints, training)
    return read, losses, state(training)


def go_several(folders, *more):
    """One after the other, in one group of ranks."""
    return [go(folder, *more) for folder in folders]
