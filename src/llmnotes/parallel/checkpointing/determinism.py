"""Sums of the same numbers in other orders, and one that is always the same.

    rows = one row of numbers for each rank, or for each piece of a batch
    u    = unit roundoff: 2^-24 in float32

Floating-point addition is commutative, not associative: each order of the
same rows rounds differently. An all-reduce has one order for N ranks and
another for N + 1.

Sources
- Higham 2002, "Accuracy and Stability of Numerical Algorithms", §4.2: the
  error of a sum in any order is at most (n − 1) u Σ|x|, to first order.
- Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms for
  clusters of workstations", Journal of Parallel and Distributed Computing 69:
  the ring.
"""

from functools import reduce

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def one_after_another(
    rows: Float[Tensor, "rows numbers"],
) -> Float[Tensor, " numbers"]:
    """Sum as ((x₀ + x₁) + x₂) + … does."""
    return reduce(torch.add, rows)


def pairwise(
    rows: Float[Tensor, "rows numbers"],
) -> Float[Tensor, " numbers"]:
    """Sum as the tree (x₀ + x₁) + (x₂ + x₃) … does."""
    while len(rows) > 1:
        even = len(rows) // 2 * 2
        rows = torch.cat([rows[0:even:2] + rows[1:even:2], rows[even:]])
    return rows[0]


def around_a_ring(
    rows: Float[Tensor, "rows numbers"],
) -> Float[Tensor, " numbers"]:
    """As rings sum: the numbers in N parts, part i from row i + 1 on."""
    parts = zip(*(row.tensor_split(len(rows)) for row in rows), strict=True)
    return torch.cat([
        reduce(torch.add, [*part[i:], *part[:i]])
        for i, part in enumerate(parts, start=1)
    ])  # fmt: skip


def largest_error(
    rows: Float[Tensor, "rows numbers"],
) -> Float[Tensor, " numbers"]:
    """(n − 1) u Σ|x|: no order of summing errs by more."""
    unit = torch.finfo(rows.dtype).eps / 2
    return (len(rows) - 1) * unit * rows.double().abs().sum(0)


def sum_in_order(
    own: Float[Tensor, "pieces numbers"],
) -> Float[Tensor, " numbers"]:
    """The sum over all ranks' pieces, one after another from rank 0's first.

    Whoever cuts a batch into the same pieces on any number of ranks gets the
    same bits. It sends N/2 times what an all-reduce of the sums does, for
    each piece of a rank. Without a group, the sum of this process's pieces.
    Raises `ValueError` where ranks bring other numbers of pieces.
    """
    if dist.is_initialized():
        counts = [0] * dist.get_world_size()
        dist.all_gather_object(counts, len(own))
        if len(set(counts)) > 1:
            raise ValueError(
                f"own: got {counts} pieces on the ranks, expected as many on "
                "each"
            )
        every = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(every, own.contiguous())
        own = torch.cat(every)
    return one_after_another(own)
