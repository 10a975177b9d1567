"""One collective of each kind, by both of PyTorch's ways to say it."""

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
import torch.nn.functional as F
from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh
from torch.distributed.tensor.parallel import loss_parallel

from llmnotes.parallel.data_parallel import Traffic


def plain():
    """{how it is called: (kind, numbers of the whole, ranks)}."""
    ranks, everyone = dist.get_world_size(), dist.group.WORLD
    whole, part = torch.ones(6), torch.ones(6 // ranks)
    ways = {
        "all_reduce": lambda: dist.all_reduce(whole.clone()),
        "reduce_scatter_tensor": lambda: dist.reduce_scatter_tensor(
            part.clone(), whole
        ),
        "all_gather_into_tensor": lambda: dist.all_gather_into_tensor(
            whole.clone(), part
        ),
        "all_gather": lambda: dist.all_gather(
            [part.clone() for _ in range(ranks)], part
        ),
        "all_to_all_single": lambda: dist.all_to_all_single(
            whole.clone(), whole
        ),
        "broadcast": lambda: dist.broadcast(whole.clone(), 0),
        "functional all_reduce": lambda: functional.all_reduce(
            whole, "sum", everyone
        ),
        "functional all_gather": lambda: functional.all_gather_tensor(
            part, 0, everyone
        ),
        "functional reduce_scatter": lambda: functional.reduce_scatter_tensor(
            whole, "sum", 0, everyone
        ),
    }
    found = {}
    for name, way in ways.items():
        with Traffic() as traffic:
            way()
        (call,) = traffic.calls
        found[name] = call.kind, call.numbers, call.ranks
    return found


def inside_dtensor():
    """Cross-entropy over a vocabulary that is split."""
    mesh = init_device_mesh("cpu", (2,))
    logits = distribute_tensor(torch.randn(5, 8), mesh, [Shard(1)])
    with Traffic() as traffic, loss_parallel():
        F.cross_entropy(logits, torch.arange(5))
    return dict(traffic.count())
