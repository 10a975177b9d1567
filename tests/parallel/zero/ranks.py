"""What ranks do in the tests of this chapter."""

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.utils import clip_grad_norm_

from llmnotes.parallel.data_parallel import Traffic
from llmnotes.parallel.zero import (
    ShardedGradients,
    ShardedOptimizer,
    ShardedParameters,
)
from llmnotes.train import adamw
from tests.parallel.zero import toy

STAGES = {1: ShardedOptimizer, 2: ShardedGradients, 3: ShardedParameters}


def mine(rows):
    """This rank's rows of a batch; some ranks may have one more."""
    return rows.tensor_split(dist.get_world_size())[dist.get_rank()]


def one_step(model, optimizer, step, pieces=1, clip=0.5, loner=False):
    """Backward in pieces, clip, step; returns the norm."""
    optimizer.zero_grad()
    sometimes = toy.used(step) and (not loner or dist.get_rank() == 0)
    for loss in toy.losses(model, mine(toy.batch(step)), pieces, sometimes):
        loss.backward()
    norm = optimizer.clip(clip)
    optimizer.step()
    return norm


def trained(stage, dtype=torch.float64, pieces=1, steps=4):
    """Train the toy; returns weights, norms and the optimizer's state."""
    model = toy.toy(dtype)
    optimizer = STAGES[stage](model, toy.make(model))
    norms = [
        one_step(model, optimizer, step, pieces) for step in range(steps)
    ]
    tied = model.head.weight is model.embed.weight
    return optimizer.weights(), norms, optimizer.gathered(), tied


def fsdp(pieces=1, steps=4, dtype=torch.float64):
    """The same with PyTorch's fully_shard, which means over ranks."""
    model = toy.toy(dtype)
    for layer in model.layers:
        fully_shard(layer)
    fully_shard(model)
    optimizer = adamw(model, toy.CONFIG)
    plain = [p for p in model.parameters() if p.requires_grad]
    for step in range(steps):
        optimizer.zero_grad()
        sometimes = toy.used(step)
        rows = mine(toy.batch(step))
        for loss in toy.losses(model, rows, pieces, sometimes):
            (loss * dist.get_world_size()).backward()
        clip_grad_norm_(plain, 0.5)
        optimizer.step()
    return {
        n: p.full_tensor().detach()
        for n, p in model.named_parameters()
        if p.requires_grad
    }
