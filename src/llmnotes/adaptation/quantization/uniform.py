"""Whole numbers times a scale: absmax and zero-point quantization.

    x      = w, a weight
    bits   = b, of one code
    codes  = q, whole numbers: w ≈ s·(q − z)
    scale  = s, one for each group of weights
    zero   = z, the code that means 0; none in the symmetric case, z = 0
    group  = which weights share a scale: "tensor" (all), "channel" (a row,
             hence an output) or so many neighbours along a row

The symmetric range is −(2ᵇ⁻¹ − 1) … 2ᵇ⁻¹ − 1, so ±127, ±7, ±3, ±1: the code
−2ᵇ⁻¹ is never used, and w and −w have codes of the same size. The
asymmetric range is 0 … 2ᵇ − 1. Scales are float32.

Sources
- Dettmers et al. 2022, "LLM.int8()", arXiv 2208.07339, §2.1 (both kinds).
- Jacob et al. 2017, "Quantization and Training of Neural Networks for
  Efficient Integer-Arithmetic-Only Inference", arXiv 1712.05877, §2.1 (that
  0 must have a code of its own).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Integer, UInt
from torch import Tensor

from llmnotes.adaptation.quantization.packing import pack, unpack
from llmnotes.adaptation.quantization.quantized import Quantized, finite
from llmnotes.checks import check_divides, check_sizes

LEAST = 1e-36  # magnitudes below count as this: no division by 0, or by less


def top(bits: int) -> int:
    """The largest code of the symmetric range."""
    return 2 ** (bits - 1) - 1


def grouped(
    weight: Float[Tensor, "*shape"], group: int | str
) -> Float[Tensor, "groups group"]:
    """One row for each scale.

    Raises `ValueError` for a group that does not divide a row of the weight.
    """
    size = weight.shape[-1]
    if group == "tensor":
        size = weight.numel()
    elif isinstance(group, str):
        if group != "channel":
            raise ValueError(
                f"group: got {group!r}, expected a number, 'channel' or "
                "'tensor'"
            )
    else:
        check_sizes(group=group)
        check_divides("a row", size, group=group)
        size = group
    return weight.reshape(-1, size)


def absmax(
    x: Float[Tensor, "groups group"], bits: int
) -> tuple[Integer[Tensor, "groups group"], Float[Tensor, "groups 1"]]:
    """Return codes between ±(2ᵇ⁻¹ − 1), and scales.

    A weight that lies between two codes goes to the nearest, to the even one
    of two that are equally near.

    Source: Dettmers et al. 2022, §2.1, "absmax quantization".
    """
    largest = x.abs().amax(-1, keepdim=True).clamp(min=LEAST)
    codes = torch.round(x * (top(bits) / largest))
    return codes.to(torch.int8), largest / top(bits)


def zero_point(
    x: Float[Tensor, "groups group"], bits: int
) -> tuple[
    Integer[Tensor, "groups group"],
    Float[Tensor, "groups 1"],
    Integer[Tensor, "groups 1"],
]:
    """Return codes 0 … 2ᵇ − 1, scales and zero points.

    The range is stretched to reach 0 if all weights of a group are above or
    below, so that a weight of 0 stays 0.

    Source: Jacob et al. 2017, §2.1 and §3.
    """
    last = 2**bits - 1
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / last).clamp(min=LEAST)
    zero = torch.round(-low / scale)
    codes = (torch.round(x / scale) + zero).clamp(0, last)
    return codes.to(torch.uint8), scale, zero.to(torch.uint8)


@dataclass(frozen=True, eq=False)
class Absmax(Quantized):
    """A weight as symmetric codes and one scale for each group."""

    bits = 8
    group = "channel"  # unless another is given

    packed: UInt[Tensor, "bytes"]
    scale: Float[Tensor, "groups 1"]

    @classmethod
    def encode(
        cls, weight: Tensor, group: int | str | None = None
    ) -> Quantized:
        """Quantize a weight; `group` as in the module's legend."""
        check_bits(cls.bits)
        x = grouped(finite(weight), cls.group if group is None else group)
        codes, scale = absmax(x, cls.bits)
        packed = pack(codes + top(cls.bits), cls.bits)
        return cls(weight.shape, weight.dtype, packed, scale)

    @property
    def codes(self) -> Integer[Tensor, "groups group"]:
        """The whole numbers, a byte each."""
        raw = unpack(self.packed, self.bits, self.shape.numel())
        codes = raw.to(torch.int8) - top(self.bits)
        return codes.reshape(len(self.scale), -1)

    def values(self) -> Float[Tensor, "groups group"]:
        """s·q, group by group."""
        return self.codes * self.scale

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """What has to be stored."""
        return self.packed, self.scale


@dataclass(frozen=True, eq=False)
class ZeroPoint(Quantized):
    """A weight as codes from 0, scales and zero points, a byte each."""

    bits = 8
    group = "channel"

    packed: UInt[Tensor, "bytes"]
    scale: Float[Tensor, "groups 1"]
    zero: Integer[Tensor, "groups 1"]

    @classmethod
    def encode(
        cls, weight: Tensor, group: int | str | None = None
    ) -> Quantized:
        """Quantize a weight; `group` as in the module's legend."""
        check_bits(cls.bits)
        x = grouped(finite(weight), cls.group if group is None else group)
        codes, *rest = zero_point(x, cls.bits)
        check_range(rest[0])
        return cls(weight.shape, weight.dtype, pack(codes, cls.bits), *rest)

    @property
    def codes(self) -> Integer[Tensor, "groups group"]:
        """The whole numbers, a byte each."""
        raw = unpack(self.packed, self.bits, self.shape.numel())
        return raw.reshape(len(self.scale), -1)

    def values(self) -> Float[Tensor, "groups group"]:
        """s·(q − z), group by group."""
        return (self.codes.float() - self.zero) * self.scale

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """What has to be stored."""
        return self.packed, self.scale, self.zero


def check_range(scale: Tensor) -> None:
    """Raise `ValueError` where a range is more than float32 can say."""
    if not scale.isfinite().all():
        raise ValueError(
            "weight: got a range beyond float32 in one group, expected "
            "smaller numbers"
        )


def check_bits(bits: int) -> None:
    """Raise `ValueError` unless a code has 2 to 8 bits."""
    check_sizes(2, bits=bits)
    if bits > 8:
        raise ValueError(f"bits: got {bits}, expected at most 8")


class Int8(Absmax):
    """±127, one scale a row."""


class Int4(Absmax):
    """±7, one scale for 64 neighbours."""

    bits, group = 4, 64


class Int3(Absmax):
    """±3, one scale for 64 neighbours."""

    bits, group = 3, 64


class Int2(Absmax):
    """−1, 0 or 1, one scale for 64 neighbours."""

    bits, group = 2, 64


class UInt8(ZeroPoint):
    """0 … 255 around a zero point, one scale a row."""


class UInt4(ZeroPoint):
    """0 … 15 around a zero point, one scale for 64 neighbours."""

    bits, group = 4, 64


class UInt3(ZeroPoint):
    """0 … 7 around a zero point, one scale for 64 neighbours."""

    bits, group = 3, 64


class UInt2(ZeroPoint):
    """0 … 3 around a zero point, one scale for 64 neighbours."""

    bits, group = 2, 64
