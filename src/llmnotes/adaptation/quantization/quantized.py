"""What all quantized weights have in common.

    shape, dtype = those of the weight that was quantized
    parts        = everything that has to be stored, and hence counted

How many bits a weight takes follows from the parts: scales are counted too.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Quantized(ABC):
    """A weight in few bits. It never shares memory with what it was made of.

    `encode` makes one of a weight.
    """

    shape: torch.Size
    dtype: torch.dtype

    @classmethod
    @abstractmethod
    def encode(
        cls, weight: Tensor, group: int | str | None = None
    ) -> "Quantized":
        """Quantize a weight; without `group`, by the kind's own."""

    @abstractmethod
    def values(self) -> Tensor:
        """The numbers that the codes stand for, float32, in any shape."""

    @property
    @abstractmethod
    def parts(self) -> tuple[Tensor, ...]:
        """What has to be stored."""

    def dequantize(self) -> Float[Tensor, "*shape"]:
        """Return the weight that the codes stand for, in its shape and dtype.

        What a code stands for is computed in float32.
        """
        return self.values().reshape(self.shape).to(self.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales together."""
        return sum(part.nbytes for part in self.parts)

    @property
    def bits_per_weight(self) -> float:
        """All bytes, scales too, divided among the weights."""
        return 8 * self.nbytes / self.shape.numel()


def finite(weight: Tensor) -> Tensor:
    """The weight in float32, detached.

    Raises `ValueError` for no tensor of floats that lie in memory one by one,
    none at all, or one with NaN or infinity in float32, whose group would
    have no scale.
    """
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        kind = getattr(weight, "dtype", type(weight).__name__)
        raise ValueError(f"weight: got {kind}, expected a tensor of floats")
    if weight.is_meta or weight.layout != torch.strided:
        raise ValueError(
            f"weight: got a tensor on {weight.device} of layout "
            f"{weight.layout}, expected one whose numbers lie in memory"
        )
    if weight.dtype.itemsize < 2:
        raise ValueError(
            f"weight: got {weight.dtype}, expected at least 16 bits"
        )
    if not weight.numel() or not weight.dim():
        raise ValueError(
            f"weight: got shape {tuple(weight.shape)}, expected rows of at "
            "least one weight"
        )
    found = weight.detach().float()
    bad = int((~found.isfinite()).sum())
    if bad:
        raise ValueError(
            f"weight: got {bad} times NaN or infinity, expected finite numbers"
        )
    return found
