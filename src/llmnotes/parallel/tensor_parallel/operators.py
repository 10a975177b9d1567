"""Where a split region begins and ends: f and g, and their twins.

    f = `copied`     forward nothing        backward all-reduce
    g = `summed`     forward all-reduce     backward nothing
        `gathered`   forward all-gather     backward reduce-scatter
        `scattered`  forward reduce-scatter backward all-gather

Each is the other's transpose. A rank's loss is *the* loss, not a share of
it: all ranks compute the same number, and it counts once. That is why g has
nothing to do on the way back.

Sources
- Shoeybi et al. 2019, "Megatron-LM", arXiv 1909.08053, §3 (f and g).
- Korthikanti et al. 2022, "Reducing Activation Recomputation in Large
  Transformer Models", arXiv 2205.05198, §4.2.2 (the twins).
"""

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from llmnotes.parallel.zero.flat import all_gather, reduce_scatter


class Copied(Function):
    """f: every rank uses x for a part of its own."""

    @staticmethod
    def forward(ctx, x, group):
        """Hand x on."""
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        """What all ranks want of x, added up."""
        return total(gradient, ctx.group), None


class Summed(Function):
    """g: every rank has a summand."""

    @staticmethod
    def forward(ctx, x, group):
        """Add up what all ranks have."""
        return total(x, group)

    @staticmethod
    def backward(ctx, gradient):
        """Each summand has the gradient of the sum."""
        return gradient, None


class Gathered(Function):
    """Every rank has a piece and gets the whole."""

    @staticmethod
    def forward(ctx, x, dim, group):
        """Put the pieces one behind the other."""
        ctx.where = dim, group
        return joined(x, dim, group)

    @staticmethod
    def backward(ctx, gradient):
        """What all ranks want of a piece, added up."""
        return piece_of_sum(gradient, *ctx.where), None, None


class Scattered(Function):
    """Every rank has a summand and gets a piece of the sum."""

    @staticmethod
    def forward(ctx, x, dim, group):
        """Add up, and keep one's own piece."""
        ctx.where = dim, group
        return piece_of_sum(x, dim, group)

    @staticmethod
    def backward(ctx, gradient):
        """A summand has the gradients of all pieces of the sum."""
        return joined(gradient, *ctx.where), None, None


def copied(x: Float[Tensor, "*shape"], group=None) -> Float[Tensor, "*shape"]:
    """f: x itself; its gradient is summed over the ranks of the group."""
    return Copied.apply(x, group)


def summed(x: Float[Tensor, "*shape"], group=None) -> Float[Tensor, "*shape"]:
    """g: the sum over the ranks of the group; its gradient is handed on."""
    return Summed.apply(x, group)


def gathered(
    x: Float[Tensor, "..."], dim: int, group=None
) -> Float[Tensor, "..."]:
    """All ranks' pieces along `dim`, of equal length, in their order."""
    return Gathered.apply(x, dim, group)


def scattered(
    x: Float[Tensor, "..."], dim: int, group=None
) -> Float[Tensor, "..."]:
    """A rank's piece along `dim` of the sum over the ranks.

    Raises `ValueError` unless the ranks divide the length of `dim`.
    """
    return Scattered.apply(x, dim, group)


def total(x: Tensor, group) -> Tensor:
    """One all-reduce, into memory of its own."""
    out = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(out, group=group)
    return out


def joined(x: Tensor, dim: int, group) -> Tensor:
    """One all-gather; the pieces lie along `dim`."""
    piece = x.movedim(dim, 0).contiguous()
    ranks = dist.get_world_size(group)
    out = piece.new_empty(ranks * len(piece), *piece.shape[1:])
    all_gather(out, piece, group=group)
    return out.movedim(0, dim)


def piece_of_sum(x: Tensor, dim: int, group) -> Tensor:
    """One reduce-scatter; the pieces lie along `dim`."""
    whole = x.movedim(dim, 0).contiguous()
    ranks = dist.get_world_size(group)
    if len(whole) % ranks:
        raise ValueError(
            f"x: got length {len(whole)} along axis {dim}, expected a "
            f"multiple of the {ranks} ranks"
        )
    out = whole.new_empty(len(whole) // ranks, *whole.shape[1:])
    reduce_scatter(out, whole, group=group)
    return out.movedim(0, dim)
