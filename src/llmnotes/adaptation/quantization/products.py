"""Matrices of few bits that are multiplied by one vector after the other.

    read  = the arrays of weights and scales that one product reads
    whole = the vector, rounded to whole numbers
    unit  = what one step of these is worth
    top   = the largest of them: as many as a sum of 32 bits has room for

Weights are laid out once, when a matrix is made, as the loops of `fast` want
them. A matrix keeps the vector it rounds, so one thread at a time may use it.

Sources
- Dettmers et al. 2022, "LLM.int8()", arXiv 2208.07339, §2.1.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.adaptation.quantization import fast
from llmnotes.adaptation.quantization.uniform import Absmax
from llmnotes.checks import check_divides, checked


class Product(ABC):
    """A matrix that is multiplied by vectors; its weights are copied."""

    read: tuple[np.ndarray, ...]

    def __init__(self, rows: int, columns: int):
        self.rows, self.columns = rows, columns

    @checked
    def __call__(self, x: Float[Tensor, "columns"]) -> Float[Tensor, "rows"]:
        """Wx, float32 on the CPU.

        Raises `ValueError` unless x is as wide as the matrix and finite.
        """
        if len(x) != self.columns:
            raise ValueError(
                f"x: got {len(x)} entries, expected {self.columns}, one for "
                "each column"
            )
        plain = x.detach().float().cpu().contiguous().numpy()
        if not np.isfinite(plain).all():
            raise ValueError("x: got NaN or infinity, expected finite numbers")
        y = np.empty(self.rows, np.float32)
        self.multiply(plain, y)
        return torch.from_numpy(y)

    @abstractmethod
    def multiply(self, x: np.ndarray, y: np.ndarray) -> None:
        """Write Wx into y."""

    @property
    def nbytes(self) -> int:
        """What one product reads of the weights."""
        return sum(part.nbytes for part in self.read)


class Float32(Product):
    """Four bytes a weight: what the others are measured by."""

    @checked
    def __init__(self, weight: Float[Tensor, "rows columns"]):
        super().__init__(*weight.shape)
        self.read = (plain(weight),)

    def multiply(self, x: np.ndarray, y: np.ndarray) -> None:
        """Write Wx into y."""
        fast.multiply_float32(*self.read, x, y)


def check_codes(weight: Absmax) -> None:
    """Raise `ValueError` for codes that mean nothing without a zero point.

    And for what is no matrix.
    """
    if not isinstance(weight, Absmax):
        raise ValueError(
            f"weight: got {type(weight).__name__}, expected symmetric codes, "
            "as of int8 and int4"
        )
    if len(weight.shape) != 2:
        raise ValueError(
            f"weight: got shape {tuple(weight.shape)}, expected "
            "(rows, columns)"
        )


class Whole(Product):
    """A matrix in whole numbers: symmetric codes, some scales a row.

    Raises `ValueError` for codes of other bits and another number of scales.
    """

    bits = 8

    def __init__(self, weight: Absmax, groups: int, top: int):
        super().__init__(*weight.shape)
        found = len(weight.scale) / self.rows
        if weight.bits != self.bits or found != groups:
            raise ValueError(
                f"weight: got {weight.bits} bits and {found:g} scales a row, "
                f"expected {self.bits} bits and {groups}"
            )
        self.top = np.float32(top)
        self.whole = np.empty((groups, self.columns // groups), np.int16)
        self.offset = np.empty(groups, np.int32)

    def round_off(self, x: np.ndarray) -> np.float32:
        """Round x to whole numbers; return what one step is worth."""
        parts = x.reshape(self.whole.shape)
        unit = fast.round_off(parts, self.top, self.whole, self.offset)
        return np.float32(unit)


class Int8Rows(Whole):
    """Codes of 8 bits, one scale a row."""

    def __init__(self, weight: Absmax):
        check_codes(weight)
        super().__init__(weight, 1, room(weight.shape[1], 127))
        codes = weight.codes.cpu().numpy().reshape(weight.shape)
        self.read = codes.copy(), plain(weight.scale[:, 0])

    def multiply(self, x: np.ndarray, y: np.ndarray) -> None:
        """Write Wx into y."""
        unit = self.round_off(x)
        fast.multiply_int8(*self.read, self.whole[0], unit, y)


class Int4Rows(Whole):
    """Codes of 4 bits, one scale a row."""

    bits = 4

    def __init__(self, weight: Absmax):
        check_codes(weight)
        check_divides("columns", weight.shape[1], word=4)
        super().__init__(weight, 1, room(weight.shape[1], 15))
        codes = weight.codes.cpu().numpy().reshape(self.rows, 4, -1)
        self.read = words(codes, 1), plain(weight.scale[:, 0])

    def multiply(self, x: np.ndarray, y: np.ndarray) -> None:
        """Write Wx into y."""
        unit = self.round_off(x)
        x = self.whole.reshape(4, -1)
        fast.multiply_int4(*self.read, x, self.offset[0], unit, y)


class Int4Groups(Whole):
    """Codes of 4 bits, one scale for 64 neighbours."""

    bits = 4

    def __init__(self, weight: Absmax):
        check_codes(weight)
        check_divides("columns", weight.shape[1], group=64)
        super().__init__(weight, weight.shape[1] // 64, room(64, 15))
        codes = weight.codes.cpu().numpy().reshape(self.rows, -1, 4, 16)
        lanes = words(codes, 2).reshape(self.rows, -1)
        self.read = lanes, plain(weight.scale.reshape(self.rows, -1))

    def multiply(self, x: np.ndarray, y: np.ndarray) -> None:
        """Write Wx into y."""
        unit = self.round_off(x)
        x = self.whole.reshape(-1, 4, 16).transpose(1, 0, 2).reshape(4, -1)
        fast.multiply_int4_groups(*self.read, x, self.offset, unit, y)


def room(columns: int, most: int) -> int:
    """How far x may go so that a sum of `columns` products has 32 bits.

    Raises `ValueError` where that leaves x fewer than 8 bits.
    """
    found = min(2**15 - 1, (2**31 - 1) // (most * columns))
    if found < 127:
        raise ValueError(
            f"weight: got {columns} columns, expected at most "
            f"{(2**31 - 1) // (most * 127)}, for sums of 32 bits"
        )
    return found


def words(codes: np.ndarray, axis: int) -> np.ndarray:
    """Four codes of 4 bits, along an axis, in one word of 16."""
    parts = np.moveaxis((codes + 8).astype(np.uint16), axis, 0)
    return (
        parts[0]
        | parts[1] << fast.c4
        | parts[2] << fast.c8
        | parts[3] << fast.c12
    )


def plain(x: Tensor) -> np.ndarray:
    """A copy of some numbers, as numba reads them."""
    return x.detach().float().cpu().contiguous().numpy().copy()
