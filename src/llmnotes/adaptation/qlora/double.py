"""Scales in 8 bits: the second half of NF4 with double quantization.

    absmax  = c₂, one float32 for each block of 64 weights
    mean    = what is taken off them before, one float32 for each matrix
    book    = 256 numbers from −1 to 1: an exponent of changing length, and
              what is left of the 7 bits for a fraction
    codes   = which of them is nearest to (c₂ − mean) / largest
    largest = c₁, the largest magnitude of each 256 scales, float32

Bits for each weight: 4 + 8/64 + 32/(64·256), and 32 for each matrix.

Sources
- Dettmers et al. 2023, "QLoRA", arXiv 2305.14314, §3, "Double Quantization".
- Dettmers 2015, "8-Bit Approximations for Parallelism in Deep Learning",
  arXiv 1511.04561, §2.2 (the dynamic exponent).
"""

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt
from torch import Tensor

from llmnotes.adaptation.quantization import NF4, Quantized

SCALES = 256  # that share one float32
EXPONENTS = 7
LEAST = 1e-38  # scales that are all alike are divided by this


@cache
def book() -> Float[Tensor, "256"]:
    """The code book of scales, in ascending order.

    With the exponent 10^−(6 − i) there are 2ⁱ fractions, evenly between 0.1
    and 1; each has its negative. 0 and 1 complete the 256.

    Source: Dettmers 2015, §2.2.
    """
    found = [torch.tensor([0.0, 1.0])]
    for i in range(EXPONENTS):
        edges = torch.linspace(0.1, 1, 2**i + 1)
        middles = 10.0 ** (i - EXPONENTS + 1) * (edges[:-1] + edges[1:]) / 2
        found += [middles, -middles]
    return torch.cat(found).sort().values


def in_groups(scales: Float[Tensor, "groups"]) -> Float[Tensor, "sets 256"]:
    """Scales by 256; the last group is filled up with zeros."""
    return F.pad(scales, (0, -len(scales) % SCALES)).reshape(-1, SCALES)


def encode_scales(
    absmax: Float[Tensor, "groups"],
) -> tuple[UInt[Tensor, "groups"], Float[Tensor, "sets"], Float[Tensor, ""]]:
    """Return codes, the largest magnitude of each group, and the mean.

    Source: Dettmers et al. 2023, §3.
    """
    mean = absmax.mean()
    x = in_groups(absmax - mean)
    largest = x.abs().amax(-1)
    levels = book().to(x.device)
    halfway = (levels[:-1] + levels[1:]) / 2
    near = torch.bucketize(x / largest.clamp(min=LEAST)[:, None], halfway)
    return near.flatten()[: len(absmax)].to(torch.uint8), largest, mean


def decode_scales(
    codes: UInt[Tensor, "groups"],
    largest: Float[Tensor, "sets"],
    mean: Float[Tensor, ""],
) -> Float[Tensor, "groups"]:
    """Return the scales that the codes stand for."""
    levels = book().to(codes.device)[codes.int()]
    found = in_groups(levels) * largest[:, None]
    return found.flatten()[: len(codes)] + mean


@dataclass(frozen=True, eq=False)
class DoubleNF4(Quantized):
    """A weight in NF4 whose scales are quantized too."""

    packed: UInt[Tensor, "bytes"]
    scale_codes: UInt[Tensor, "groups"]
    largest: Float[Tensor, "sets"]
    mean: Float[Tensor, ""]

    @classmethod
    def encode(
        cls, weight: Tensor, group: int | str | None = None
    ) -> Quantized:
        """Quantize a weight, as `NF4.encode` does, and then its scales."""
        once = NF4.encode(weight, group)
        scales = encode_scales(once.absmax)
        if not scales[-1].isfinite():
            raise ValueError(
                "weight: got numbers whose mean is beyond float32, expected "
                "smaller ones"
            )
        return cls(once.shape, once.dtype, once.packed, *scales)

    def values(self) -> Float[Tensor, "groups group"]:
        """The number of each code times the scale that came back."""
        scales = decode_scales(self.scale_codes, self.largest, self.mean)
        return NF4(self.shape, self.dtype, self.packed, scales).values()

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """What has to be stored."""
        return self.packed, self.scale_codes, self.largest, self.mean


def bits_per_weight(block: int = 64, scales: int = SCALES) -> float:
    """Bits of a weight by formula, without the mean of its matrix."""
    return 4 + 8 / block + 32 / (block * scales)
