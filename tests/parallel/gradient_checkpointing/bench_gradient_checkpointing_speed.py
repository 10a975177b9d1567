"""How long a GPT's step takes with regions, ours and torch's, and without."""

import statistics
from functools import partial

import jaxtyping
import pytest
import torch
from torch.utils.checkpoint import checkpoint as torch_checkpoint

from tests.parallel.gradient_checkpointing import whole

THREADS = 2


@pytest.fixture(autouse=True)
def fair_ground():
    """Two threads for everybody, and no shape checks inside the timings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(threads)


def torchs(model):
    """Every block a region of torch's, which stops early."""
    for block in model.transformer.h:
        block.forward = partial(
            torch_checkpoint, block.forward, use_reentrant=False
        )
    return whole.keep(model)


WAYS = (
    whole.Way("keep everything", whole.keep),
    whole.Way("each block, ours", whole.every_block),
    whole.Way("each block, torch's", torchs),
    whole.Way("each attention, ours", whole.attention),
    whole.Way("keep everything on a disk", whole.keep, whole.ToDisk),
)


def first_two(step):
    """The losses of two steps, from the same random numbers."""
    torch.manual_seed(1)
    return step(), step()


@pytest.mark.timing
def bench_steps(record, race):
    steps = {way.name: whole.Step(way) for way in WAYS}
    losses = {name: first_two(step) for name, step in steps.items()}
    assert len(set(losses.values())) == 1, losses
    seconds = {
        name: statistics.median(times)
        for name, times in race(steps, rounds=7, slice_s=1.0).items()
    }
    plain = seconds["keep everything"]
    record(
        "steps",
        kind="timing",
        seed=0,
        title="A training step of a GPT of 9 layers and 512 tokens",
        prediction=(
            "A third more where all is recomputed, less than a tenth more "
            "than that for watching every operation; torch's stops early "
            "and is a few percent quicker than ours. The disk is slowest."
        ),
        columns={"way": "", "seconds": "s", "ratio": ""},
        labels={"ratio": "times keeping all"},
        rows=[(name, s, s / plain) for name, s in seconds.items()],
    )
