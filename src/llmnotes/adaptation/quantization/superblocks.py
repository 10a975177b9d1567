"""The K formats of ggml: 256 weights, whose scales are quantized as well.

    x     = 256 weights a row, in groups of 16 or 32 with a scale each
    raw   = the bytes of the same blocks
    d, dmin = half-precision numbers that the scales and the minima of the
            groups are multiples of
    scales, mins = these multiples, whole numbers of 4, 6 or 8 bits
    codes = whole numbers: x ≈ (d·scale)·q − dmin·min

    q2_k  16 groups: scale and min of 4 bits; codes of 2    84 bytes, 2.625
    q3_k  16 groups: scale of 6 bits; codes of 3           110 bytes, 3.4375
    q4_k  8 groups: scale and min of 6 bits; codes of 4    144 bytes, 4.5
    q5_k  8 groups: scale and min of 6 bits; codes of 5    176 bytes, 5.5
    q6_k  16 groups: scale of 8 bits; codes of 6           210 bytes, 6.5625

Codes lie in planes: byte i of a run of 32 holds those of weights i, i + 32,
i + 64 and so on, so that one instruction unpacks 32 of them.

Sources
- ggml, `ggml-quants.c`: `quantize_row_q4_K_ref` and its like.
- ggml, `ggml-common.h`: `block_q4_K` and its like, what stands where.
"""

import numpy as np
from jaxtyping import Float, Integer, UInt

from llmnotes.adaptation.quantization.blocks import FLOAT, full, half
from llmnotes.adaptation.quantization.searches import (
    LEAST,
    line,
    one_by_one,
    through_zero,
    total,
    zero,
)

SIZE = 256

Weights = Float[np.ndarray, "blocks 256"]
Codes = Integer[np.ndarray, "blocks 256"]
Bytes = UInt[np.ndarray, "blocks bytes"]


def columns(x: Weights, group: int) -> Float[np.ndarray, "group groups"]:
    """The weights with one column for each group."""
    return np.ascontiguousarray(x.reshape(-1, group).T)


def rows(q: Float[np.ndarray, "group groups"]) -> Codes:
    """Codes of columns, back in their blocks."""
    return q.T.reshape(-1, SIZE).astype(np.int8)


def planes(codes: Codes, bits: int, run: int) -> Bytes:
    """Codes of 1, 2 or 4 bits: weights i, i + run, … share byte i.

    Weight i has the lowest bits.
    """
    each = 8 // bits
    parts = codes.astype(np.uint8).reshape(len(codes), -1, each, run)
    places = bits * np.arange(each, dtype=np.uint8)[:, None]
    return np.bitwise_or.reduce(parts << places, axis=2).reshape(
        len(codes), -1
    )


def flat(raw: Bytes, bits: int, run: int) -> Codes:
    """What `planes` put together."""
    parts = raw.reshape(len(raw), -1, 1, run)
    places = bits * np.arange(8 // bits, dtype=np.uint8)[:, None]
    found = parts >> places & np.uint8(2**bits - 1)
    return found.reshape(len(raw), SIZE).astype(np.int8)


def nearest(
    x: Weights,
    scale: Float[np.ndarray, "blocks groups"],
    shift,
    low: int,
    high: int,
    codes: Codes,
) -> Codes:
    """The codes of x + shift in steps of its group's scale.

    A scale of 0 leaves the codes as they are.
    """  # fmt: skip
    n, groups = scale.shape
    x = x.reshape(n, groups, -1)
    some = (scale != 0)[..., None]
    steps = np.where(some, scale[..., None], FLOAT.type(1))
    new = np.rint((x + shift) / steps).clip(low, high)
    found = np.where(some, new, codes.reshape(x.shape))
    return found.reshape(n, SIZE).astype(np.int8)


def pack_sixes(scales: Bytes, mins: Bytes) -> UInt[np.ndarray, "blocks 12"]:
    """8 scales and 8 minima of 6 bits each in 12 bytes.

    The first four of each have a byte of their own, whose two upper bits
    hold the upper bits of the last four.
    """
    first = scales[:, :4] | scales[:, 4:] >> 4 << 6
    second = mins[:, :4] | mins[:, 4:] >> 4 << 6
    rest = scales[:, 4:] & 15 | mins[:, 4:] << 4
    return np.concatenate([first, second, rest], axis=1)


def unpack_sixes(raw: UInt[np.ndarray, "blocks 12"]) -> tuple[Bytes, Bytes]:
    """Return 8 scales and 8 minima."""
    first, second, rest = raw[:, :4], raw[:, 4:8], raw[:, 8:]
    scales = [first & 63, rest & 15 | first >> 6 << 4]
    mins = [second & 63, rest >> 4 | second >> 6 << 4]
    return np.concatenate(scales, axis=1), np.concatenate(mins, axis=1)


def steps(top: int, first: float, step: float, last: int):
    """The numbers of steps that a search tries, in float32."""
    i = np.arange(last + 1, dtype=FLOAT)
    return FLOAT.type(first) + FLOAT.type(step) * i + FLOAT.type(top)


def multiples(
    x: Float[np.ndarray, "blocks groups"], top: int
) -> tuple[Float[np.ndarray, "blocks"], Bytes]:
    """Quantize positive numbers: their unit and 0 … top, for each block."""
    most = x.max(1)
    units = np.where(
        most > 0, FLOAT.type(top) / np.where(most > 0, most, 1), 0
    )
    found = np.rint(units.astype(FLOAT)[:, None] * x).clip(0, top)
    return np.maximum(most, 0) / FLOAT.type(top), found.astype(np.uint8)


def encode_line(x: Weights, bits: int):
    """q4_k and q5_k but for the order of bytes: d, dmin, scales, mins, q."""
    top, groups = 2**bits - 1, columns(x, 32)
    tried = steps(top, -1, 0.1, 20) if bits == 4 else steps(top, -0.5, 0.1, 15)
    mean = np.sqrt(total(groups * groups) / FLOAT.type(32))
    scale, low, q = line(groups, mean + np.abs(groups), top, tried)
    unit, scales = multiples(scale.reshape(-1, 8), 63)
    unit_low, mins = multiples(low.reshape(-1, 8), 63)
    d, dmin = half(unit), half(unit_low)
    size, shift = full(d) * scales, (full(dmin) * mins)[..., None]
    codes = nearest(x, size, shift, 0, top, rows(q)).astype(np.uint8)
    return d, dmin, pack_sixes(scales, mins), codes


def decode_line(raw: Bytes, codes: Codes) -> Weights:
    """(d·scale)·q − dmin·min, of blocks that begin as q4_k's do."""
    scales, mins = unpack_sixes(raw[:, 4:16])
    size, shift = full(raw[:, :2]) * scales, full(raw[:, 2:4]) * mins
    parts = codes.reshape(len(raw), 8, 32)
    found = size[..., None] * parts - shift[..., None]
    return found.reshape(len(raw), SIZE)


def encode_q4_k(x: Weights) -> UInt[np.ndarray, "blocks 144"]:
    """d, dmin, scales and minima, 128 bytes of codes."""
    d, dmin, sixes, codes = encode_line(x, 4)
    return np.concatenate([d, dmin, sixes, planes(codes, 4, 32)], axis=1)


def decode_q4_k(raw: UInt[np.ndarray, "blocks 144"]) -> Weights:
    """The weights of q4_k's blocks."""
    return decode_line(raw, flat(raw[:, 16:], 4, 32))


def encode_q5_k(x: Weights) -> UInt[np.ndarray, "blocks 176"]:
    """As q4_k, with 32 bytes of fifth bits before the codes."""
    d, dmin, sixes, codes = encode_line(x, 5)
    fifth, rest = planes(codes >> 4, 1, 32), planes(codes & 15, 4, 32)
    return np.concatenate([d, dmin, sixes, fifth, rest], axis=1)


def decode_q5_k(raw: UInt[np.ndarray, "blocks 176"]) -> Weights:
    """The weights of q5_k's blocks."""
    fifth, rest = flat(raw[:, 16:48], 1, 32), flat(raw[:, 48:], 4, 32)
    return decode_line(raw, rest + (fifth << 4))


def encode_q2_k(x: Weights) -> UInt[np.ndarray, "blocks 84"]:
    """Scale and minimum of 16 groups in a byte each, codes, d, dmin."""
    groups = columns(x, 16)
    tried = steps(3, -0.5, 0.1, 15)
    scale, low, q = line(groups, np.abs(groups), 3, tried, absolute=True)
    unit, scales = multiples(scale.reshape(-1, 16), 15)
    unit_low, mins = multiples(low.reshape(-1, 16), 15)
    d, dmin = half(unit), half(unit_low)
    size, shift = full(d) * scales, (full(dmin) * mins)[..., None]
    codes = planes(nearest(x, size, shift, 0, 3, rows(q)), 2, 32)
    return np.concatenate([scales | mins << 4, codes, d, dmin], axis=1)


def decode_q2_k(raw: UInt[np.ndarray, "blocks 84"]) -> Weights:
    """The weights of q2_k's blocks."""
    both, d, dmin = raw[:, :16], full(raw[:, 80:82]), full(raw[:, 82:])
    size, shift = d * (both & 15), dmin * (both >> 4)
    parts = flat(raw[:, 16:80], 2, 32).reshape(len(raw), 16, 16)
    found = size[..., None] * parts - shift[..., None]
    return found.reshape(len(raw), SIZE)


def signed_multiples(
    x: Float[np.ndarray, "blocks groups"], top: int
) -> tuple[UInt[np.ndarray, "blocks 2"], Integer[np.ndarray, "blocks groups"]]:
    """Quantize numbers of any sign: the largest magnitude becomes −top."""
    at = np.abs(x).argmax(1)[:, None]
    most = np.take_along_axis(x, at, 1)
    some = most != 0
    per = FLOAT.type(-top) / np.where(some, most, FLOAT.type(1))
    found = np.rint(per * x).clip(-top, top - 1)
    d = np.where(some, FLOAT.type(1) / per, FLOAT.type(0))[:, 0]
    return half(d), np.where(some, found, FLOAT.type(-top)).astype(np.int8)


def encode_q3_k(x: Weights) -> UInt[np.ndarray, "blocks 110"]:
    """Third bits, the other two, 16 scales of 6 bits in 12 bytes, d."""
    scale, q = one_by_one(columns(x, 16), 4)
    d, scales = signed_multiples(scale.reshape(-1, 16), 32)
    codes = nearest(x, full(d) * scales, 0, -4, 3, rows(q)) + 4
    codes = codes.astype(np.uint8)
    third, rest = planes(codes >> 2, 1, 32), planes(codes & 3, 2, 32)
    six = (scales + 32).astype(np.uint8)
    low = six[:, :8] & 15 | six[:, 8:] << 4
    high = np.bitwise_or.reduce(
        (six >> 4).reshape(-1, 4, 4)
        << 2 * np.arange(4, dtype=np.uint8)[:, None],
        axis=1,
    )
    return np.concatenate([third, rest, low, high, d], axis=1)


def decode_q3_k(raw: UInt[np.ndarray, "blocks 110"]) -> Weights:
    """The weights of q3_k's blocks."""
    codes = flat(raw[:, 32:96], 2, 32) + (flat(raw[:, :32], 1, 32) << 2)
    low = np.concatenate([raw[:, 96:104] & 15, raw[:, 96:104] >> 4], axis=1)
    places = 2 * np.arange(4, dtype=np.uint8)[:, None]
    high = (raw[:, None, 104:108] >> places & 3).reshape(len(raw), 16)
    scales = (low | high << 4).astype(np.int8) - np.int8(32)
    size = full(raw[:, 108:]) * scales
    parts = (codes - np.int8(4)).reshape(len(raw), 16, 16)
    return (size[..., None] * parts).reshape(len(raw), SIZE)


def encode_q6_k(x: Weights) -> UInt[np.ndarray, "blocks 210"]:
    """Lower four bits, upper two, 16 scales of a byte, d."""
    scale, q = through_zero(columns(x, 16), 32)
    scale, codes = scale.reshape(-1, 16), rows(q)
    empty = (np.abs(scale) < LEAST).all(1)[:, None]  # all their bytes are 0
    d, scales = signed_multiples(np.where(empty, zero, scale), 128)
    codes = nearest(x, full(d) * scales, 0, -32, 31, codes) + 32
    codes = np.where(empty, 0, codes).astype(np.uint8)
    scales = np.where(empty, np.int8(0), scales)
    low, high = planes(codes & 15, 4, 64), planes(codes >> 4, 2, 32)
    return np.concatenate([low, high, scales.view(np.uint8), d], axis=1)


def decode_q6_k(raw: UInt[np.ndarray, "blocks 210"]) -> Weights:
    """The weights of q6_k's blocks."""
    codes = flat(raw[:, :128], 4, 64) + (flat(raw[:, 128:192], 2, 32) << 4)
    scales = np.ascontiguousarray(raw[:, 192:208]).view(np.int8)
    size = full(raw[:, 208:]) * scales
    parts = (codes - np.int8(32)).reshape(len(raw), 16, 16)
    return (size[..., None] * parts).reshape(len(raw), SIZE)
