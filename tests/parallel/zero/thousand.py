"""1,024 ranks, of which one is there: three layers of 64 × 64 and 64."""

from functools import partial

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard

from llmnotes.parallel.data_parallel import Traffic
from llmnotes.parallel.zero import measured
from tests.parallel.zero.alone import pretended
from tests.parallel.zero.ranks import STAGES

RANKS, SIDE, LAYERS = 1024, 64, 3
LAYER = SIDE * SIDE + SIDE  # 4,160 numbers


def layers():
    """The model."""
    return nn.Sequential(*[nn.Linear(SIDE, SIDE) for _ in range(LAYERS)])


def ours(stage):
    """What is kept, and the calls of one step."""
    model = layers()
    optimizer = STAGES[stage](model, partial(torch.optim.AdamW, lr=0.1))
    with Traffic() as traffic:
        model(torch.ones(1, SIDE)).sum().backward()
        optimizer.step()
    return measured(optimizer), traffic


def fsdp():
    """The calls of FSDP2 for one backward."""
    model = layers()
    for layer in model:
        fully_shard(layer)
    fully_shard(model)
    with Traffic() as traffic:
        model(torch.ones(1, SIDE)).sum().backward()
    return traffic


def all_ways():
    """{stage: (bytes kept, traffic)} and FSDP2's traffic."""
    with pretended(RANKS):
        return {stage: ours(stage) for stage in STAGES}, fsdp()
