"""NF4: sixteen numbers, dense where normal weights are.

    Q(p)   = quantile of the standard normal distribution
    offset = 1 − (1/30 + 1/32)/2, where the outermost quantile is taken: at
             1 it would be infinite. Cut to seven digits, as the table of
             bitsandbytes was made
    book   = the 16 numbers, from −1 to 1: 7 negative ones, 0, 8 positive ones
    absmax = the largest magnitude in each block of the weight, read row
             after row
    codes  = which of the 16 is nearest to w/absmax

Two codes share a byte, the first in its upper half: the bytes are those of
bitsandbytes.

Sources
- Dettmers et al. 2023, "QLoRA", arXiv 2305.14314, §3, equation (4), and the
  table in appendix E.
"""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Integer, UInt
from torch import Tensor

from llmnotes.adaptation.quantization.quantized import Quantized, finite
from llmnotes.checks import check_divides, check_sizes

OFFSET = 0.9677083
LEAST = 1e-38  # a block of zeros is divided by this


def quantiles(
    start: float, count: int, dtype: torch.dtype
) -> Float[Tensor, "codes"]:
    """Q at `count` places, evenly from `start` down to ½, without ½."""
    places = torch.linspace(start, 0.5, count + 1, dtype=dtype)[:-1]
    return torch.special.ndtri(places.double()).to(dtype)


@cache
def book(
    offset: float = OFFSET, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "16"]:
    """The code book of NF4, in ascending order.

    Its halves are cut apart: 8 quantiles above 0, 7 below, and 0 itself,
    which a symmetric set of 16 could not have. In float32 it is that of
    bitsandbytes to the last bit.
    """
    below, above = (quantiles(offset, n, dtype) for n in (7, 8))
    both = torch.cat([-below, torch.zeros(1, dtype=dtype), above.flip(0)])
    return both / both.max()


def equation_4(bits: int = 4) -> Float[Tensor, "codes"]:
    """QLoRA's equation (4), taken at its word: it is not NF4.

    q_i = (Q(i/(2ᵏ+1)) + Q((i+1)/(2ᵏ+1)))/2 for i = 0 … 2ᵏ − 1. The first is
    −∞; the others are symmetric. In float64, divided by the largest.
    """
    i = torch.arange(2**bits, dtype=torch.float64)
    places = torch.stack([i, i + 1]) / (2**bits + 1)
    found = torch.special.ndtri(places).mean(0)
    return found / found.max()


def nearest(x: Float[Tensor, "*shape"]) -> Integer[Tensor, "*shape"]:
    """The code nearest to each number; of two the lower one.

    Where one code ends and the next begins is halfway between their numbers.
    """
    levels = book().to(x.device)
    halfway = (levels[:-1] + levels[1:]) / 2
    return torch.bucketize(x, halfway, out_int32=True).to(torch.uint8)


@cache
def pairs() -> Float[Tensor, "bytes 2"]:
    """The two numbers that each byte stands for: one look-up instead of two.

    Rows 0 to 255, the upper half of the byte first.
    """
    byte = torch.arange(256)
    return torch.stack([book()[byte >> 4], book()[byte & 15]], dim=-1)


@dataclass(frozen=True, eq=False)
class NF4(Quantized):
    """A weight as codes of the book and one float32 for each block."""

    group = 64  # the size of a block unless another is given

    packed: UInt[Tensor, "bytes"]
    absmax: Float[Tensor, "groups"]

    @classmethod
    def encode(
        cls, weight: Tensor, group: int | str | None = None
    ) -> Quantized:
        """Quantize a weight in blocks of `group` weights.

        Blocks run over the ends of rows: `group`, an even number, has to
        divide the number of all weights.
        """
        x = finite(weight)
        size = cls.group if group is None else group
        check_sizes(group=size)
        check_divides("all weights", x.numel(), group=size)
        check_divides("group", size, pairs=2)
        blocks = x.reshape(-1, size)
        absmax = blocks.abs().amax(-1)
        inverse = 1 / absmax.clamp(min=LEAST)
        codes = nearest((blocks * inverse[:, None]).clamp(-1, 1)).flatten()
        packed = codes[::2] << 4 | codes[1::2]
        return cls(weight.shape, weight.dtype, packed, absmax)

    @property
    def codes(self) -> Integer[Tensor, "groups group"]:
        """0 … 15, a byte each."""
        halves = self.packed >> 4, self.packed & 15
        return torch.stack(halves, -1).reshape(len(self.absmax), -1)

    def values(self) -> Float[Tensor, "groups group"]:
        """The number of each code times its block's largest magnitude."""
        both = pairs().to(self.packed.device)
        found = both.index_select(0, self.packed.int())
        return found.reshape(len(self.absmax), -1) * self.absmax[:, None]

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """What has to be stored."""
        return self.packed, self.absmax
