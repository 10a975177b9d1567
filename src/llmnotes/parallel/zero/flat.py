"""Some weights as one vector, cut into N shards of equal length.

    Ψ      = numbers of all weights together, `size`
    N      = ranks
    shard  = ⌈Ψ/N⌉ numbers in a row, which one rank keeps
    padded = N shards; at most N − 1 numbers more than Ψ
    piece  = what a shard holds of one weight

A cut falls where it falls, also in the middle of a row of a weight. What
belongs to a weight is therefore never asked of a shard but of its pieces.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor, nn

# PyTorch 2.13 has given both another name.
all_gather = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)
reduce_scatter = getattr(
    dist, "reduce_scatter_single", dist.reduce_scatter_tensor
)


class Piece(NamedTuple):
    """Numbers of one weight that lie in one shard."""

    name: str
    inside: slice  # of the weight laid flat
    shard: slice  # of the shard


class Flat:
    """Where each weight lies in the vector, and in whose shard.

    Raises `ValueError` for weights of several dtypes.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], ranks: int):
        self.weights = dict(weights)
        first = next(iter(self.weights.values()))
        self.dtype, self.device = first.dtype, first.device
        for name, p in self.weights.items():
            if p.dtype != self.dtype:
                raise ValueError(
                    f"{name}: got {p.dtype}, expected {self.dtype} as the "
                    "others of its unit"
                )
        self.sizes = [p.numel() for p in self.weights.values()]
        self.size = sum(self.sizes)
        self.shard = -(-self.size // ranks)
        self.padded = self.shard * ranks

    def new(self, size: int, fill=torch.zeros) -> Shaped[Tensor, "_"]:
        """A vector of this dtype, on this device."""
        return fill(size, dtype=self.dtype, device=self.device)

    def views(self, vector: Shaped[Tensor, "_"]) -> dict[str, Tensor]:
        """Each weight's part of a padded vector, in the weight's shape."""
        parts = vector[: self.size].split(self.sizes)
        return {
            name: part.view(p.shape)
            for (name, p), part in zip(
                self.weights.items(), parts, strict=True
            )
        }

    def part(self, vector: Shaped[Tensor, "_"], rank: int) -> Tensor:
        """A rank's shard of a padded vector, as a view."""
        return vector[rank * self.shard : (rank + 1) * self.shard]

    def pieces(self, rank: int) -> list[Piece]:
        """What the shard of a rank holds, in order."""
        found, start = [], -rank * self.shard  # of a weight, in the shard
        for name, size in zip(self.weights, self.sizes, strict=True):
            low, high = max(start, 0), min(start + size, self.shard)
            if low < high:
                inside = slice(low - start, high - start)
                found.append(Piece(name, inside, slice(low, high)))
            start += size
        return found


def blocks(model: nn.Module) -> list[nn.Module]:
    """A model's layers: the modules of its list with the most weights."""
    lists = [
        m for m in model.modules()
        if isinstance(m, nn.ModuleList | nn.Sequential)
    ]  # fmt: skip
    return list(max(lists, key=numbers)) if lists else []


def numbers(module: nn.Module) -> int:
    """Numbers of all weights of a module."""
    return sum(p.numel() for p in module.parameters())


def units(
    model: nn.Module, modules: list[nn.Module]
) -> list[tuple[nn.Module, dict[str, nn.Parameter]]]:
    """Which weights travel together: each module's own, then all others.

    A weight that is used outside its module too, because it is tied, is one
    of the others, which belong to the model itself.

    Raises `ValueError` for a module that is not in the model or in another.
    """
    names: dict[nn.Parameter, list[str]] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        names.setdefault(p, []).append(name)
    paths = {m: path for path, m in model.named_modules()}
    found, left = [], {n[0]: p for p, n in names.items()}
    for module in modules:
        if module not in paths or module is model:
            raise ValueError(
                f"modules: got {type(module).__name__}, which is no part of "
                f"{type(model).__name__}, expected parts of it"
            )
        inside = f"{paths[module]}."
        own = {
            n[0]: p for p, n in names.items()
            if n[0] in left and all(x.startswith(inside) for x in n)
        }  # fmt: skip
        left = {n: p for n, p in left.items() if n not in own}
        found.append((module, own))
    return [*found, (model, left)]
