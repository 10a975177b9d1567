"""How activations lie between the split regions: on every rank, or in pieces.

    enter   = into a split region: f, or an all-gather
    leave   = out of it: g, or a reduce-scatter
    shared  = a parameter that every rank holds, ready for use
    inside  = draw what must differ between ranks
    between = draw what is drawn for activations between the regions

Between the regions stand norms, dropout and the residual stream. With
`Replicated`, every rank does the same with the same tokens. With `Pieces`,
each has its own tokens of every sequence, 1/t of them: what a rank finds for
the gradient of a norm is then a summand, and f adds them up.

Sources
- Shoeybi et al. 2019, arXiv 1909.08053, §3 (and dropout's seeds).
- Korthikanti et al. 2022, arXiv 2205.05198, §4.2.2 (sequence parallelism).
"""

import random
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_divides, seen
from llmnotes.parallel.tensor_parallel.operators import (
    copied,
    gathered,
    scattered,
    summed,
)


class Draws:
    """Random numbers of a rank's own: `with draws:` replaces the generator.

    Its seed is made of `seed`, the rank, and one number of the generator that
    everybody shares, which goes on after it as if only that had been drawn.
    So whoever puts the shared generator back, as recomputing does, gets the
    same numbers again. Two seeds, or two ranks, have nothing in common.
    """

    def __init__(self, seed: int, rank: int):
        self.about = f"{seed} of rank {rank}"

    def __enter__(self):
        number = torch.randint(2**62, ()).item()
        self.shared = states()
        seed = random.Random(f"{self.about}, {number}").getrandbits(63)
        torch.manual_seed(seed)

    def __exit__(self, *_):
        put(self.shared)


def states() -> list[Tensor]:
    """Where the generators of this process stand."""
    gpu = torch.cuda.is_initialized()
    return [
        torch.get_rng_state(),
        *([torch.cuda.get_rng_state()] if gpu else []),
    ]


def put(found: list[Tensor]) -> None:
    """Put the generators where they stood."""
    torch.set_rng_state(found[0])
    if len(found) > 1:
        torch.cuda.set_rng_state(found[1])


class Replicated:
    """Every rank of the group has all tokens between the split regions.

    The ranks share the seed of `torch.manual_seed`, so that dropout between
    the regions is the same on all; `seed` is for dropout inside them.
    """

    def __init__(self, group: dist.ProcessGroup | None = None, seed: int = 0):
        self.group = group
        self.rank, self.ranks = (
            dist.get_rank(group),
            dist.get_world_size(group),
        )
        self.draws = Draws(seed, self.rank)

    def enter(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The same tokens for all parts of a matrix."""
        return copied(x, self.group)

    def leave(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The sum of what all parts of a matrix say."""
        return summed(x, self.group)

    def shared(self, parameter: nn.Parameter) -> Tensor:
        """Every rank finds the whole gradient."""
        return parameter

    def tokens(self, x: Tensor, dim: int) -> Tensor:
        """The tokens of this rank: all."""
        return x

    def inside(self) -> AbstractContextManager:
        """Heads and columns of a rank's own have dropout of their own."""
        return self.draws

    def between(self) -> AbstractContextManager:
        """The same tokens have the same dropout."""
        return nullcontext()


class Pieces(Replicated):
    """Sequence parallelism: between the regions, 1/t of each sequence."""

    def enter(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """All tokens, from all ranks."""
        return gathered(x, 1, self.group)

    def leave(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The sum, for the tokens of a rank."""
        return scattered(x, 1, self.group)

    def shared(self, parameter: nn.Parameter) -> Tensor:
        """Each rank finds what its own tokens say: summands."""
        return copied(parameter, self.group)

    def tokens(self, x: Tensor, dim: int) -> Tensor:
        """A stretch of them. Raises `ValueError` unless ranks divide them."""
        check_divides("length", x.shape[dim], ranks=self.ranks)
        return x.chunk(self.ranks, dim)[self.rank]

    def between(self) -> AbstractContextManager:
        """Other tokens have another dropout."""
        return self.draws


def bits(model: nn.Module) -> Int[Tensor, "weights"]:
    """One number for each parameter, which other bits would change."""
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return torch.stack(
        [
            p.detach().contiguous().view(whole[p.element_size()]).sum()
            for p in model.parameters()
        ]
    )


def check_same(name: str, x: Int[Tensor, "..."], group=None) -> None:
    """Raise `ValueError` unless all ranks have the same numbers.

    Two sums travel. Without the check, ranks with other texts add up what
    does not belong together, and those with longer ones crash or hang.
    """
    place = torch.arange(1, x.numel() + 1, device=x.device)
    mixed = (x.flatten().long() + 1) * (place * 2654435761 % 2**31)
    found = mixed.sum() + hash(tuple(x.shape)) % 2**31
    both = torch.stack([found, -found])
    dist.all_reduce(both, dist.ReduceOp.MAX, group=group)
    if seen(both) and both.sum() != 0:
        raise ValueError(
            f"{name}: got others than another rank has, expected the same "
            f"on all {dist.get_world_size(group)} ranks"
        )
