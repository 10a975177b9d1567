"""The formats of ggml as kinds of quantized weights.

    number = what a .gguf file calls the format
    size   = weights in a block; they lie along a row
    width  = bytes in a block

Sources
- ggml, `ggml.h`: `enum ggml_type`, the numbers.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

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
    width: ClassVar[int]
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
    def name(cls) -> str:
        """What `quantize` calls the format."""
        return cls.__name__.lower()

    @classmethod
    def encode(
        cls, weight: Tensor, group: int | str | None = None
    ) -> Quantized:
        """Quantize a weight; the size of a block cannot be chosen."""
        if group is not None and group != cls.size:
            raise ValueError(
                f"group: got {group!r}, expected {cls.size}, the only one of "
                f"{cls.name()}"
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


class F32(Ggml):
    """Every weight as it is, in four bytes."""

    number, width, size = 0, 4, 1

    @staticmethod
    def to_bytes(x):
        """The bytes of float32."""
        return x.astype("<f4").view(np.uint8)

    @staticmethod
    def from_bytes(raw):
        """The numbers in such bytes."""
        return np.ascontiguousarray(raw).view("<f4").astype(np.float32)


class F16(Ggml):
    """Every weight in half precision."""

    number, width, size = 1, 2, 1

    @staticmethod
    def to_bytes(x):
        """See `half`."""
        return blocks.half(x[:, 0])

    @staticmethod
    def from_bytes(raw):
        """See `full`."""
        return blocks.full(raw).astype(np.float32)


class BF16(Ggml):
    """The upper half of every float32, rounded to the nearest even."""

    number, width, size = 30, 2, 1

    @staticmethod
    def to_bytes(x):
        """The bytes of bfloat16."""
        found = torch.from_numpy(x).bfloat16().view(torch.int16)
        return found.numpy().view(np.uint8)

    @staticmethod
    def from_bytes(raw):
        """The numbers in such bytes."""
        upper = np.ascontiguousarray(raw).view("<u2").astype(np.uint32)
        return (upper << 16).view(np.float32)


class Q4_0(Ggml):
    """32 codes of 4 bits around 0."""

    number, width = 2, 18

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

    number, width = 3, 20

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

    number, width = 6, 22

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

    number, width = 7, 24

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

    number, width = 8, 34
    to_bytes = staticmethod(blocks.encode_q8_0)
    from_bytes = staticmethod(blocks.decode_q8_0)


class Q2_K(Ggml):
    """16 groups of 16 codes of 2 bits, each from a minimum."""

    number, width, size = 10, 84, superblocks.SIZE
    to_bytes = staticmethod(superblocks.encode_q2_k)
    from_bytes = staticmethod(superblocks.decode_q2_k)


class Q3_K(Ggml):
    """16 groups of 16 codes of 3 bits around 0."""

    number, width, size = 11, 110, superblocks.SIZE
    to_bytes = staticmethod(superblocks.encode_q3_k)
    from_bytes = staticmethod(superblocks.decode_q3_k)


class Q4_K(Ggml):
    """8 groups of 32 codes of 4 bits, each from a minimum."""

    number, width, size = 12, 144, superblocks.SIZE
    to_bytes = staticmethod(superblocks.encode_q4_k)
    from_bytes = staticmethod(superblocks.decode_q4_k)


class Q5_K(Ggml):
    """8 groups of 32 codes of 5 bits, each from a minimum."""

    number, width, size = 13, 176, superblocks.SIZE
    to_bytes = staticmethod(superblocks.encode_q5_k)
    from_bytes = staticmethod(superblocks.decode_q5_k)


class Q6_K(Ggml):
    """16 groups of 16 codes of 6 bits around 0."""

    number, width, size = 14, 210, superblocks.SIZE
    to_bytes = staticmethod(superblocks.encode_q6_k)
    from_bytes = staticmethod(superblocks.decode_q6_k)


WHOLE = F32, F16, BF16
FORMATS = Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K
