"""Who holds which numbers: parts of tensors, each laid out in a row.

    part  = numbers start to stop of one tensor, counted in its row
    rank  = number of a process, of `ranks`
    cuts  = flat: all tensors behind each other in one row, a part of it for
            each rank, as ZeRO cuts; rows: each tensor by its first axis, as
            FSDP2 does; whole: everything on each rank

Sources
- Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training
  Trillion Parameter Models", arXiv:1910.02054.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Shaped
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Part:
    """Some numbers of the tensor `name`, which has this shape."""

    name: str
    shape: tuple[int, ...]
    start: int
    values: Shaped[Tensor, " numbers"]

    @property
    def stop(self) -> int:
        """Where the next part begins."""
        return self.start + len(self.values)


def part(name: str, tensor: Tensor, start: int, stop: int) -> Part:
    """A view of some numbers of a tensor.

    Raises `ValueError` for a tensor whose numbers do not lie in a row.
    """
    if not tensor.is_contiguous():
        raise ValueError(
            f"{name}: got strides {tensor.stride()} for shape "
            f"{tuple(tensor.shape)}, expected numbers that lie in a row: "
            "give .contiguous()"
        )
    row = tensor.detach().view(-1)
    return Part(name, tuple(tensor.shape), start, row[start:stop])


def flat(tensors: Mapping[str, Tensor], rank: int, ranks: int) -> list[Part]:
    """All tensors in one row, cut into equal parts; this rank's part of it.

    Parts differ by one number at most, and begin anywhere in a tensor.
    """
    check_rank(rank, ranks)
    total = sum(x.numel() for x in tensors.values())
    low, high = (total * r // ranks for r in (rank, rank + 1))
    parts, at = [], 0
    for name, x in tensors.items():
        start, stop = max(low - at, 0), min(high - at, x.numel())
        if start < stop or x.numel() == 0 == rank:
            parts.append(part(name, x, start, stop))
        at += x.numel()
    return parts


def rows(tensors: Mapping[str, Tensor], rank: int, ranks: int) -> list[Part]:
    """Each tensor by its first axis; the last ranks may hold less, or none."""
    check_rank(rank, ranks)
    parts = []
    for name, x in tensors.items():
        length = len(x) if x.ndim else 1
        each = -(-length // ranks)
        low, high = (min(each * r, length) for r in (rank, rank + 1))
        width = x.numel() // max(length, 1)
        if low < high or x.numel() == 0 == rank:
            parts.append(part(name, x, low * width, high * width))
    return parts


def whole(tensors: Mapping[str, Tensor]) -> list[Part]:
    """Everything, as each of several replicas wants it back."""
    return [part(name, x, 0, x.numel()) for name, x in tensors.items()]


def check_rank(rank: int, ranks: int) -> None:
    """Raise `ValueError` for a rank that is not there."""
    if not 0 <= rank < ranks:
        raise ValueError(
            f"rank: got {rank}, expected 0 to {ranks - 1} of {ranks} ranks"
        )
