"""The simple formats of ggml: 32 weights and their scale, byte for byte.

    x     = 32 weights a row
    raw   = the bytes of the same blocks
    d     = the scale of a block, a half-precision number
    m     = its smallest weight, where a format has one
    codes = whole numbers: x ≈ d·(q − 2ᵇ⁻¹), or d·q + m

Of 32 codes of 4 bits, the first 16 lie in the lower halves of 16 bytes, the
last 16 in the upper halves; the fifth bits lie together in four bytes.

    q8_0  d, 32 codes of 8 bits                  34 bytes, 8.5 bits a weight
    q4_0  d, 16 bytes                            18 bytes, 4.5
    q4_1  d, m, 16 bytes                         20 bytes, 5
    q5_0  d, 4 bytes of fifth bits, 16 bytes     22 bytes, 5.5
    q5_1  d, m, 4 bytes of fifth bits, 16 bytes  24 bytes, 6

Everything is computed in float32 and in the order of the reference, so that
the bytes are the same; d is rounded to half precision last, which is why a
code fits the unrounded d best.

Sources
- ggml, `ggml-quants.c`: `quantize_row_q4_0_ref` and its like. The bytes that
  decode are the contract; how to encode is everyone's own choice.
"""

import numpy as np
from jaxtyping import Float, Integer, UInt

FLOAT, HALF = np.dtype("<f4"), np.dtype("<f2")


def half(x: Float[np.ndarray, "*shape"]) -> UInt[np.ndarray, "*shape 2"]:
    """The bytes of numbers in half precision.

    Raises `ValueError` for a scale beyond 65504, which has none.
    """
    with np.errstate(over="ignore"):
        found = x.astype(HALF)
    if not np.isfinite(found).all():
        raise ValueError(
            f"weight: got a scale or minimum of {np.abs(x).max():.6g}, "
            "expected at most 65504, the largest half-precision number"
        )
    return found[..., None].view(np.uint8)


def full(raw: UInt[np.ndarray, "blocks 2"]) -> Float[np.ndarray, "blocks 1"]:
    """The numbers that such bytes stand for, one a block."""
    return np.ascontiguousarray(raw).view(HALF).astype(FLOAT)


def inverse(d: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """1/d, and 0 where that is infinite."""
    with np.errstate(divide="ignore", over="ignore"):
        found = 1 / d
    return np.where(np.isfinite(found), found, FLOAT.type(0))


def join(
    codes: Integer[np.ndarray, "blocks 32"], fifth: bool
) -> UInt[np.ndarray, "blocks bytes"]:
    """Codes of 4 bits, or of 5, as bytes; the fifth bits come first."""
    codes = codes.astype(np.uint8)
    low = codes & 15
    found = low[:, :16] | low[:, 16:] << 4
    if fifth:
        bits = np.packbits(codes >> 4, axis=1, bitorder="little")
        found = np.concatenate([bits, found], axis=1)
    return found


def part(
    raw: UInt[np.ndarray, "blocks bytes"], fifth: bool
) -> Integer[np.ndarray, "blocks 32"]:
    """The codes in such bytes."""
    low = raw[:, 4:] if fifth else raw
    codes = np.concatenate([low & 15, low >> 4], axis=1).astype(np.int8)
    if fifth:
        bits = np.unpackbits(raw[:, :4], axis=1, bitorder="little")
        codes += (bits << 4).astype(np.int8)
    return codes


def chosen(
    x: Float[np.ndarray, "blocks 32"], at: Integer[np.ndarray, "blocks"]
) -> Float[np.ndarray, "blocks"]:
    """One weight of each block. Of equal ones, 0 and −0, it is the first."""
    return np.take_along_axis(x, at[:, None], 1)[:, 0]


def encode_signed(
    x: Float[np.ndarray, "blocks 32"], bits: int
) -> UInt[np.ndarray, "blocks bytes"]:
    """q4_0 and q5_0: the weight of the largest magnitude becomes −2ᵇ⁻¹.

    So all codes are in use, and 0 remains 0.
    """
    middle = 2 ** (bits - 1)
    most = chosen(x, np.abs(x).argmax(1)) + FLOAT.type(0)  # no −0
    d = most / FLOAT.type(-middle)
    shifted = x * inverse(d)[:, None] + FLOAT.type(middle + 0.5)
    codes = np.minimum(shifted.astype(np.int8), 2 * middle - 1)
    return np.concatenate([half(d), join(codes, bits == 5)], axis=1)


def decode_signed(
    raw: UInt[np.ndarray, "blocks bytes"], bits: int
) -> Float[np.ndarray, "blocks 32"]:
    """d·(q − 2ᵇ⁻¹)."""
    codes = part(raw[:, 2:], bits == 5) - np.int8(2 ** (bits - 1))
    return codes * full(raw[:, :2])


def encode_from_minimum(
    x: Float[np.ndarray, "blocks 32"], bits: int
) -> UInt[np.ndarray, "blocks bytes"]:
    """q4_1 and q5_1: from the smallest weight to the largest."""
    last = 2**bits - 1
    m, high = chosen(x, x.argmin(1)), chosen(x, x.argmax(1))
    d = (high - m) / FLOAT.type(last)
    shifted = (x - m[:, None]) * inverse(d)[:, None] + FLOAT.type(0.5)
    codes = np.minimum(shifted.astype(np.int8), last)
    return np.concatenate([half(d), half(m), join(codes, bits == 5)], axis=1)


def decode_from_minimum(
    raw: UInt[np.ndarray, "blocks bytes"], bits: int
) -> Float[np.ndarray, "blocks 32"]:
    """d·q + m."""
    codes = part(raw[:, 4:], bits == 5)
    return codes * full(raw[:, :2]) + full(raw[:, 2:4])


def encode_q8_0(
    x: Float[np.ndarray, "blocks 32"],
) -> UInt[np.ndarray, "blocks 34"]:
    """The nearest code between ±127; of two, the one away from 0."""
    d = np.abs(x).max(1) / FLOAT.type(127)
    scaled = x * inverse(d)[:, None]
    whole = np.trunc(scaled)
    codes = (whole + np.trunc(2 * (scaled - whole))).astype(np.int8)
    return np.concatenate([half(d), codes.view(np.uint8)], axis=1)


def decode_q8_0(
    raw: UInt[np.ndarray, "blocks 34"],
) -> Float[np.ndarray, "blocks 32"]:
    """d·q."""
    codes = np.ascontiguousarray(raw[:, 2:]).view(np.int8)
    return codes * full(raw[:, :2])
