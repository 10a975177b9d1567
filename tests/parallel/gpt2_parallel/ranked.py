"""What ranks do in the tests; a module of its own, quick to import."""

import os
import signal

import numpy as np
import torch.distributed as dist

from llmnotes.parallel.data_parallel import Traffic
from llmnotes.parallel.gpt2_parallel import Replicas, Shards
from llmnotes.parallel.gpt2_parallel.training import train
from llmnotes.transformer.gpt import GPTConfig
from llmnotes.transformer.gpt2_by_hand import from_gpt, reference
from tests.transformer.gpt2_by_hand import tiny

KINDS = {"replicas": Replicas, "shards": Shards}
# Widths that no number of ranks divides.
ODD = GPTConfig(11, n_positions=7, n_embd=9, n_layer=2, n_head=3)
ROWS, LENGTH, SIZE, RATE = 5, 6, 700, 0.01


def weights():
    return from_gpt(tiny.scattered(ODD), None, np.float64)


def batch(step):
    return tiny.ids(ODD, ROWS, LENGTH, seed=step + 1)


def made(kind="shards", kernels=reference):
    return KINDS[kind](ODD, weights(), kernels, SIZE)


def whole(ranks):
    """All weights of a rank, as one row in the order of stretches."""
    return np.concatenate(
        [ranks.params[s.start : s.start + s.size] for s in ranks.all]
    )


def steps(kind, count, decay=0.1):
    """Losses, weights, collectives, bytes sent and numbers in stretches."""
    ranks = made(kind)
    with Traffic() as traffic:
        losses = [
            ranks.step(*batch(i), lr=RATE, weight_decay=decay)
            for i in range(count)
        ]
    told = dict(traffic.count()), float(traffic.bytes)
    return losses, whole(ranks), *told, ranks.layout.size


def leaving():
    """After which call of backward each stretch left; how many calls."""
    ranks, seen, after = made(), [], [-1]
    plain = ranks.send

    def send(stretch):
        seen.append(after[0])
        return plain(stretch)

    class Counted:
        def __getattr__(self, name):
            if "backward" in name:
                after[0] += 1
            return getattr(reference, name)

    ranks.send, ranks.model.kernels = send, Counted()
    ranks.step(*batch(0))
    return seen, len(ranks.todo), [s.ready for s in ranks.all]


def too_few():
    made().step(*(x[:1] for x in batch(0)))


def no_token():
    """One id that is none, in the row of the last rank only."""
    tokens, targets = (x.copy() for x in batch(0))
    tokens[-1, -1] = 10**6
    try:
        made().step(tokens, targets)
    except ValueError as error:
        return str(error)


def no_number():
    """A loss of nan on one rank only: what becomes of the weights."""
    ranks = made()
    before = ranks.params.copy()
    if dist.get_rank() == 1:
        ranks.params[3] = before[3] = np.nan
    try:
        ranks.step(*batch(0))
    except RuntimeError as error:
        same = np.array_equal(before, ranks.params, equal_nan=True)
        return str(error), same


class Killed:
    """NumPy's kernels; rank 1 is killed in the middle of a backward."""

    def __init__(self, step):
        self.calls, self.last = 0, step

    def __getattr__(self, name):
        self.calls += name == "attention_backward"
        if self.calls == 2 * self.last + 1 and dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return getattr(reference, name)


def trained(folder, count, killed_at=None):
    """Go on from what lies in the folder; the weights at the end."""
    kernels = reference if killed_at is None else Killed(killed_at)
    ranks = made(kernels=kernels)
    train(ranks, batch, count, folder, lr=RATE)
    return whole(ranks), ranks.model.steps
