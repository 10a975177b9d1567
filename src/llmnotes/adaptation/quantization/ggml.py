"""The formats of ggml as kinds of quantized weights.

    number = what a .gguf file calls the format
    size   = weights in a block; they lie along a row
    bytes  = what a block takes

Sources
- ggml, `ggml.h`: `enum ggml_type`, the numbers.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from jaxtyping import UInt
from torch import Tensor

from llmnotes.adaptation.quantization import blocks, superblocks
from llmnotes.adaptation.quantization.quantized import Quantized, finite
from llmnotes.checks import check_divides

CHUNK = 2**18  # weights at a time: what is between has room in a cache


@dataclass(frozen=True, eq=False)
class Ggml(Quantized):
    """A weight as blocks of ggml, byte for byte."""

    number: ClassVar[int]
    size: ClassVar[int] = 32

    raw: UInt[Tensor, "blocks bytes"]

    @staticmethod
    @abstractmethod
    def to_bytes(x: np.ndarray) -> np.ndarray:
        """Blocks of weights, one a row, as bytes."""

    @staticmethod
    @abstractmethod
    def from_bytes(raw: np.ndarray) -> np.ndarray:
        """Blocks of bytes as weights."""

    @classmethod
    def encode(cls, weight: Tensor, group: int | str | None = None) -> Self:
        """Quantize a weight; the size of a block cannot be chosen."""
        if group is not None and group != cls.size:
            raise ValueError(
                f"group: got {group!r}, expected {cls.size}, the only one of "
                f"{cls.__name__.lower()}"
            )
        x = finite(weight)
        check_divides("a row", x.shape[-1], group=cls.size)
        plain = x.cpu().contiguous().numpy().reshape(-1, cls.size)
        with np.errstate(over="ignore", invalid="ignore"):  # as C has it
            raw = torch.from_numpy(in_chunks(cls.to_bytes, plain))
        return cls(weight.shape, weight.dtype, raw.to(weight.device))

    def values(self) -> Tensor:
        """The weights, one block a row."""
        found = in_chunks(self.from_bytes, self.raw.cpu().numpy())
        return torch.from_numpy(found).to(self.raw.device)

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """What has to be stored."""
        return (self.raw,)


def in_chunks(function, rows: np.ndarray) -> np.ndarray:
    """Apply a function of rows to some of them at a time."""
    count = max(1, rows.size // CHUNK)
    return np.concatenate([function(x) for x in np.array_split(rows, count)])


class Q4_0(Ggml):
    """32 codes of 4 bits around 0."""

    number = 2

    @staticmethod
    def to_bytes(x):
        """See `encode_signed`."""
        return blocks.encode_signed(x, 4)

    @staticmethod
    def from_bytes(raw):
        """See `decode_signed`."""
        return blocks.decode_signed(raw, 4)


class Q4_1(Ggml):
    """32 codes of 4 bits from a minimum."""

    number = 3

    @staticmethod
    def to_bytes(x):
        """See `encode_from_minimum`."""
        return blocks.encode_from_minimum(x, 4)

    @staticmethod
    def from_bytes(raw):
        """See `decode_from_minimum`."""
        return blocks.decode_from_minimum(raw, 4)


class Q5_0(Ggml):
    """32 codes of 5 bits around 0."""

    number = 6

    @staticmethod
    def to_bytes(x):
        """See `encode_signed`."""
        return blocks.encode_signed(x, 5)

    @staticmethod
    def from_bytes(raw):
        """See `decode_signed`."""
        return blocks.decode_signed(raw, 5)


class Q5_1(Ggml):
    """32 codes of 5 bits from a minimum."""

    number = 7

    @staticmethod
    def to_bytes(x):
        """See `encode_from_minimum`."""
        return blocks.encode_from_minimum(x, 5)

    @staticmethod
    def from_bytes(raw):
        """See `decode_from_minimum`."""
        return blocks.decode_from_minimum(raw, 5)


class Q8_0(Ggml):
    """32 codes of 8 bits around 0."""

    number = 8
    to_bytes = staticmethod(blocks.encode_q8_0)
    from_bytes = staticmethod(blocks.decode_q8_0)


class Q2_K(Ggml):
    """16 groups of 16 codes of 2 bits, each from a minimum."""

    number, size = 10, superblocks.SIZE
    to_bytes = staticmethod(superblocks.encode_q2_k)
    from_bytes = staticmethod(superblocks.decode_q2_k)


class Q3_K(Ggml):
    """16 groups of 16 codes of 3 bits around 0."""

    number, size = 11, superblocks.SIZE
    to_bytes = staticmethod(superblocks.encode_q3_k)
    from_bytes = staticmethod(superblocks.decode_q3_k)


class Q4_K(Ggml):
    """8 groups of 32 codes of 4 bits, each from a minimum."""

    number, size = 12, superblocks.SIZE
    to_bytes = staticmethod(superblocks.encode_q4_k)
    from_bytes = staticmethod(superblocks.decode_q4_k)


class Q5_K(Ggml):
    """8 groups of 32 codes of 5 bits, each from a minimum."""

    number, size = 13, superblocks.SIZE
    to_bytes = staticmethod(superblocks.encode_q5_k)
    from_bytes = staticmethod(superblocks.decode_q5_k)


class Q6_K(Ggml):
    """16 groups of 16 codes of 6 bits around 0."""

    number, size = 14, superblocks.SIZE
    to_bytes = staticmethod(superblocks.encode_q6_k)
    from_bytes = staticmethod(superblocks.decode_q6_k)


FORMATS = Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K
