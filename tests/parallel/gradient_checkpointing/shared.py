"""What two ranks do: DDP around a GPT whose blocks are regions."""

from functools import partial

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint as torch_checkpoint

from llmnotes import train
from llmnotes.parallel.data_parallel import Traffic
from llmnotes.parallel.gradient_checkpointing import checkpoint, each
from tests.parallel.gradient_checkpointing import cases


def gradients(batch, unused):
    """A tied GPT's gradients, and the numbers that were all-reduced."""
    model = cases.gpt(layers=2)
    each(model.transformer.h)
    whole = DistributedDataParallel(model, find_unused_parameters=unused)
    rank, ranks = (
        dist.get_rank(),
        torch.distributed.get_world_size(),
    )
    text = batch.tensor_split(ranks)[rank]
    for _ in range(3):  # DDP settles its buckets in the first two
        model.zero_grad()
        with Traffic() as traffic:
            train.loss(whole, text[:, :-1], text[:, 1:]).backward()
    reduced = [c.numbers for c in traffic.calls if c.kind == "all-reduce"]
    return [p.grad for p in model.parameters()], sum(reduced)


def sharded(batch):
    """The same with FSDP2, which frees weights between their uses."""
    model = cases.gpt(layers=2)
    each(model.transformer.h)
    for block in model.transformer.h:
        fully_shard(block)
    fully_shard(model)
    text = batch.tensor_split(dist.get_world_size())[dist.get_rank()]
    train.loss(model, text[:, :-1], text[:, 1:]).backward()
    return [p.grad.full_tensor() for p in model.parameters()]


class Twice(nn.Module):
    """One layer in two regions."""

    def __init__(self, again):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.again = nn.Linear(3, 3), again

    def forward(self, x):
        return self.again(self.layer, self.again(self.layer, x))


def twice(kind, unused=False):
    """The gradient of a weight in two regions, or what DDP says of it."""
    again = {
        "ours": checkpoint,
        "reentrant": partial(torch_checkpoint, use_reentrant=True),
    }[kind]
    model = Twice(again)
    whole = DistributedDataParallel(model, find_unused_parameters=unused)
    rank = dist.get_rank()
    x = torch.full((2, 3), 1.0 + rank, requires_grad=True)
    try:
        whole(x).square().sum().backward()
    except RuntimeError as error:
        return str(error)
    return model.layer.weight.grad
