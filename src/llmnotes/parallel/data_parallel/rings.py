"""All-reduce from messages: along a ring, and up and down a tree.

    N    = ranks
    n    = numbers of the tensor
    part = one of N pieces of it, as even as they can be

    ring: 2(N−1) messages of n/N numbers; every rank sends 2n(N−1)/N
    tree: at most 2⌈log₂N⌉ rounds of n numbers; rank 0 sends n⌈log₂N⌉

The ring sends least, whatever N is; the tree waits least often, which counts
where a message is short. Both sum in an order that is the same on all ranks,
so all end with the same bits; the two orders differ from each other.

Sources
- Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms for
  clusters of workstations", J. of Parallel and Distributed Computing 69.
- Thakur, Rabenseifner & Gropp 2005, "Optimization of collective
  communication operations in MPICH", §4.5 (trees).
"""

import torch
import torch.distributed as dist
from torch import Tensor


def ring_all_reduce(x: Tensor) -> Tensor:
    """The sum over all ranks, in place and on every rank.

    Raises `ValueError` for a tensor that is not contiguous.
    """
    if not x.is_contiguous():
        raise ValueError(
            f"x: got strides {x.stride()}, expected a contiguous tensor"
        )
    parts = x.view(-1).tensor_split(dist.get_world_size())
    ring_reduce_scatter(parts)
    ring_all_gather(parts)
    return x


def ring_reduce_scatter(parts: tuple[Tensor, ...]) -> Tensor:
    """Rank r ends with the sum of all ranks' part r; the rest is spoilt.

    A part goes round once, and each rank adds what it has of it.
    """
    rank, ranks = dist.get_rank(), len(parts)
    for step in range(ranks - 1):
        mine = parts[(rank - step - 1) % ranks]
        next_one = parts[(rank - step - 2) % ranks]
        next_one += passed_on(mine, next_one)
    return parts[rank]


def ring_all_gather(parts: tuple[Tensor, ...]) -> None:
    """Every rank ends with part r of rank r, for all r."""
    rank, ranks = dist.get_rank(), len(parts)
    for step in range(ranks - 1):
        mine = parts[(rank - step) % ranks]
        next_one = parts[(rank - step - 1) % ranks]
        next_one.copy_(passed_on(mine, next_one))


def passed_on(mine: Tensor, like: Tensor) -> Tensor:
    """Send to the right while something shaped `like` comes from the left."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    came = torch.empty_like(like)
    # Both at once: where all send first and nobody receives, all wait.
    way = []
    if len(mine):
        way.append(dist.P2POp(dist.isend, mine, (rank + 1) % ranks))
    if len(like):
        way.append(dist.P2POp(dist.irecv, came, (rank - 1) % ranks))
    for message in dist.batch_isend_irecv(way) if way else []:
        message.wait()
    return came


def tree_all_reduce(x: Tensor) -> Tensor:
    """The sum over all ranks, in place: up a tree to rank 0, and down again.

    In round k, rank r hears from rank r + 2ᵏ.
    """
    rank, ranks = dist.get_rank(), dist.get_world_size()
    came, far = torch.empty_like(x), 1
    while far < ranks and not rank & far:
        if rank + far < ranks:
            dist.recv(came, rank + far)
            x += came
        far *= 2
    if rank:
        dist.send(x, rank - far)
        dist.recv(x, rank - far)
    while far > 1:
        far //= 2
        if rank + far < ranks:
            dist.send(x, rank + far)
    return x
