"""Which part of a tensor is whose, and the whole of all parts again.

    rank, ranks = which of how many; t = ranks in the papers
    own(x)      = the part of x that a rank holds
    whole(...)  = x again, of the parts of all ranks
    copies      = how many ranks hold the same numbers

The parts of a matrix of columns [A_1, A_2] lie side by side; those of rows
one below the other. Query, key and value of a fused matrix are three
matrices in one, and each is split: a rank's part is not one stretch of it.

Sources
- Shoeybi et al. 2019, arXiv 1909.08053, §3: A = [A_1, A_2], B = [B_1; B_2].
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Everywhere:
    """Every rank holds all of it."""

    def own(self, x: Tensor, rank: int, ranks: int) -> Tensor:
        """All of it."""
        return x

    def whole(self, parts: list[Tensor]) -> Tensor:
        """Anybody's."""
        return parts[0]

    def copies(self, ranks: int) -> int:
        """Who holds the same."""
        return ranks


@dataclass(frozen=True)
class Split:
    """Cut along an axis; the first parts are longer where it is uneven.

    With `blocks`, x is that many blocks along the axis, and each is cut.
    """

    dim: int
    blocks: int = 1

    def own(self, x: Tensor, rank: int, ranks: int) -> Tensor:
        """A rank's stretch of each block."""
        blocks = x.chunk(self.blocks, self.dim)
        parts = [b.tensor_split(ranks, self.dim)[rank] for b in blocks]
        return torch.cat(parts, self.dim)

    def whole(self, parts: list[Tensor]) -> Tensor:
        """Block by block, rank by rank."""
        cut = [part.chunk(self.blocks, self.dim) for part in parts]
        blocks = [part for block in zip(*cut, strict=True) for part in block]
        return torch.cat(blocks, self.dim)

    def copies(self, ranks: int) -> int:
        """Nobody else holds it."""
        return 1


@dataclass(frozen=True)
class Repeated:
    """Cut into `pieces` along an axis, each held by ranks / pieces ranks."""

    dim: int
    pieces: int

    def own(self, x: Tensor, rank: int, ranks: int) -> Tensor:
        """The piece that a rank shares with its neighbours."""
        mine = rank * self.pieces // ranks
        return x.tensor_split(self.pieces, self.dim)[mine]

    def whole(self, parts: list[Tensor]) -> Tensor:
        """One of the copies of each piece."""
        return torch.cat(parts[:: self.copies(len(parts))], self.dim)

    def copies(self, ranks: int) -> int:
        """How many share a piece."""
        return ranks // self.pieces


Layout = Everywhere | Split | Repeated


def take(module: nn.Module, dense: nn.Module, rank: int, ranks: int) -> None:
    """Give a module its parts of a dense one's parameters, as copies.

    `module.layout` says of each name how it is cut; others are everywhere.
    """
    for name, whole in dense.named_parameters(recurse=False):
        layout = module.layout.get(name, Everywhere())
        part = layout.own(whole.detach(), rank, ranks).clone()
        part = nn.Parameter(part, requires_grad=whole.requires_grad)
        module.register_parameter(name, part)


def layouts(model: nn.Module) -> dict[str, Layout]:
    """How each parameter of a split model is cut, by its name."""
    return {
        f"{path}.{name}".lstrip("."): getattr(module, "layout", {}).get(
            name, Everywhere()
        )
        for path, module in model.named_modules()
        for name, _ in module.named_parameters(recurse=False)
    }


def parts_of_all(
    part: Tensor, group=None, shapes: list[tuple] | None = None
) -> list[Tensor]:
    """Every rank's part, whatever its shape, by rank."""
    shapes = shapes or told(tuple(part.shape), group)
    sizes = [torch.Size(shape).numel() for shape in shapes]
    padded = part.new_zeros(max(sizes))
    padded[: part.numel()] = part.flatten()
    found = [torch.empty_like(padded) for _ in shapes]
    dist.all_gather(found, padded, group=group)
    return [
        x[:size].view(shape)
        for x, size, shape in zip(found, sizes, shapes, strict=True)
    ]


def told(said, group=None) -> list:
    """What every rank says, by rank."""
    heard = [None] * dist.get_world_size(group)
    dist.all_gather_object(heard, said, group=group)
    return heard


def whole(
    model: nn.Module, group=None, gradients: bool = False
) -> dict[str, Float[Tensor, "..."]]:
    """All parameters as the dense model has them; a state dict for it.

    With `gradients`, these in their place. All ranks of the group call it;
    no more than one parameter travels at a time.
    """
    cut = layouts(model)
    found = {
        name: p.grad if gradients else p.detach()
        for name, p in model.named_parameters()
        if not gradients or p.grad is not None
    }
    shapes = told({name: tuple(x.shape) for name, x in found.items()}, group)
    for name, x in found.items():
        if not isinstance(cut[name], Everywhere):
            parts = parts_of_all(x, group, [each[name] for each in shapes])
            found[name] = cut[name].whole(parts)
    return found


def gradient_norm(model: nn.Module, group=None) -> Float[Tensor, ""]:
    """The norm of all gradients, what several ranks hold counted once."""
    cut, ranks = layouts(model), dist.get_world_size(group)
    squares = [
        p.grad.double().square().sum() / cut[name].copies(ranks)
        for name, p in model.named_parameters()
        if p.grad is not None
    ]
    if not squares:
        raise ValueError("model: got no gradients, expected some: backward()?")
    found = torch.stack(squares).sum()
    dist.all_reduce(found, group=group)
    return found.sqrt()
