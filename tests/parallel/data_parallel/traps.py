"""What people do to PyTorch's DDP, and what comes of it."""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from llmnotes.parallel.data_parallel import Traffic


def quiet_where(what):
    """All-reduces of a piece whose forward, or backward only, is in no_sync.

    After three steps, for DDP's first two are other ones.
    """
    model = DistributedDataParallel(nn.Linear(2, 2))
    x = torch.ones(3, 2)
    for _ in range(3):
        model(x).sum().backward()
    with Traffic() as traffic:
        if what == "both":
            with model.no_sync():
                model(x).sum().backward()
        else:
            found = model(x).sum()
            with model.no_sync():
                found.backward()
    return traffic.count()["all-reduce"]


class Two(nn.Module):
    """A layer that is used and one that is not."""

    def __init__(self):
        super().__init__()
        self.used, self.idle = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.used(x)


def unused():
    """What DDP says in the second step."""
    model = DistributedDataParallel(Two())
    for _ in range(2):
        try:
            model(torch.ones(3, 2)).sum().backward()
        except RuntimeError as error:
            return str(error)


def quiet_at_the_wrong_end(wrong):
    """Gradients of 1 to 4 on two ranks, two pieces, by who is quiet."""
    rank = torch.distributed.get_rank()
    model = DistributedDataParallel(nn.Linear(1, 1, bias=False))
    for _ in range(2):  # the first one is DDP's own
        model.zero_grad()
        for i, number in enumerate(([1.0, 3.0], [2.0, 5.0])[rank]):
            loud = i == (0 if wrong else 1)
            if loud:
                model(torch.full((1, 1), number)).sum().backward()
            else:
                with model.no_sync():
                    model(torch.full((1, 1), number)).sum().backward()
    return model.module.weight.grad.item()
