"""Absmax and zero point: by hand, against others, and their limits."""

import bitsandbytes
import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from llmnotes.adaptation.quantization import (
    absmax,
    grouped,
    pack,
    quantize,
    unpack,
    zero_point,
)
from llmnotes.adaptation.quantization.uniform import LEAST, top

KINDS = "int8", "int4", "int3", "int2", "uint8", "uint4"


def weight(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_absmax_by_hand():
    x = torch.tensor([[0.5, -1.27, 1.004], [0.0, 3.0, -2.0]])
    codes, scale = absmax(x, 8)
    assert codes.tolist() == [[50, -127, 100], [0, 127, -85]]
    torch.testing.assert_close(scale[:, 0], torch.tensor([0.01, 3 / 127]))
    codes, scale = absmax(torch.tensor([[7.0, 2.4, -6.6, -7.0]]), 4)
    assert codes.tolist() == [[7, 2, -7, -7]]
    assert scale.item() == 1


def test_zero_point_by_hand():
    x = torch.tensor([[-1.0, 0.0, 0.65, 2.0]])
    codes, scale, zero = zero_point(x, 4)
    assert codes.tolist() == [[0, 5, 8, 15]]
    torch.testing.assert_close(scale, torch.tensor([[0.2]]))
    assert zero.tolist() == [[5]]


def test_a_range_is_stretched_to_reach_zero():
    codes, scale, zero = zero_point(torch.tensor([[1.0, 2.0, 3.0]]), 4)
    assert (codes.tolist(), zero.tolist()) == ([[5, 10, 15]], [[0]])
    torch.testing.assert_close(scale, torch.tensor([[0.2]]))
    codes, _, zero = zero_point(torch.tensor([[-1.0, -2.0, -3.0]]), 4)
    assert (codes.tolist(), zero.tolist()) == ([[10, 5, 0]], [[15]])


def test_a_group_of_zeros_has_a_scale_one_can_divide_by():
    for find in (absmax, zero_point):
        codes, scale, *_ = find(torch.zeros(2, 5), 4)
        assert (scale > 0).all() and not codes.any()


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_symmetric_range_lacks_the_lowest_code(bits):
    x = weight(7, 97)
    codes, scale = absmax(x, bits)
    assert codes.min() == -top(bits)
    assert codes.max() == top(bits) == 2 ** (bits - 1) - 1
    turned, same = absmax(-x, bits)
    assert torch.equal(turned, -codes)
    assert torch.equal(same, scale)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_nothing_is_off_by_more_than_half_a_step(bits):
    x = weight(5, 33) * 3 + 1
    codes, scale = absmax(x, bits)
    assert (codes * scale - x).abs().max() <= 0.5001 * scale.max()
    codes, scale, zero = zero_point(x, bits)
    back = (codes.float() - zero.float()) * scale
    # The zero point is rounded as well: the ends may lose half a step more.
    assert (back - x).abs().max() <= 1.0001 * scale.max()


@given(
    arrays.arrays(
        np.float32,
        (3, 8),
        elements=some.floats(-(2.0**60), 2.0**60, width=32),
    )
)
def test_zero_stays_zero_and_nothing_is_nan(numbers):
    x = torch.from_numpy(numbers)
    codes, scale = absmax(x, 4)
    back = codes * scale
    assert back.isfinite().all() and not back[x == 0].any()
    assert (back.abs() <= x.abs().amax(-1, keepdim=True) * 1.00001).all() or (
        scale.min() <= LEAST
    )
    codes, scale, zero = zero_point(x, 4)
    back = (codes.float() - zero) * scale
    assert back.isfinite().all() and not back[x == 0].any()


def test_rows_of_eight_bits_are_those_of_bitsandbytes():
    w = weight(11, 203) * torch.linspace(0.01, 3, 11)[:, None]
    codes, largest, _ = torch.ops.bitsandbytes.int8_vectorwise_quant(w.clone())
    ours = quantize(w, "int8")
    assert bitsandbytes.__version__ and torch.equal(ours.codes, codes)
    torch.testing.assert_close(ours.scale[:, 0] * 127, largest)


@pytest.mark.parametrize(("bits", "kind"), [(8, "uint8"), (4, "uint4")])
def test_zero_points_are_pytorchs(bits, kind):
    w = weight(9, 64) + 0.3
    ours = quantize(w, kind, "channel")
    theirs = torch.fake_quantize_per_channel_affine(
        w, ours.scale[:, 0], ours.zero[:, 0].int(), 0, 0, 2**bits - 1
    )
    torch.testing.assert_close(ours.dequantize(), theirs, rtol=0, atol=1e-6)


def test_a_group_is_a_row_a_part_of_it_or_all():
    w = weight(6, 40)
    assert grouped(w, "tensor").shape == (1, 240)
    assert torch.equal(grouped(w, "channel"), w)
    assert torch.equal(grouped(w, 8)[5], w[1, :8])
    assert len(quantize(w, "int4", "tensor").scale) == 1
    assert len(quantize(w, "int4", 20).scale) == 12


@pytest.mark.parametrize("kind", KINDS)
def test_smaller_groups_are_closer(kind):
    w = weight(32, 256) * torch.rand(32, 256, generator=torch.manual_seed(1))
    errors = [
        (quantize(w, kind, group).dequantize() - w).norm().item()
        for group in ("tensor", "channel", 64, 16)
    ]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("group", ["tensor", "channel", 8])
def test_zeros_are_kept(kind, group):
    w = weight(3, 16)
    w[1] = 0
    w[2, 8:] = 0
    back = quantize(w, kind, group).dequantize()
    assert back.isfinite().all()
    assert not back[w == 0].any()
    assert not quantize(torch.zeros(3, 16), kind, group).dequantize().any()


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_too_small_for_a_scale_become_zero(kind):
    w = torch.full((1, 64), 1e-40)
    back = quantize(w, kind).dequantize()
    assert back.isfinite().all() and (back <= 1e-36).all()


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("count", [1, 2, 7, 64, 65])
def test_codes_are_packed_and_unpacked(bits, count):
    codes = torch.arange(count).mul(37).remainder(2**bits).to(torch.uint8)
    packed = pack(codes, bits)
    assert packed.nbytes == -(-bits * count // 8)
    assert torch.equal(unpack(packed, bits, count), codes)


def test_the_first_code_has_the_lowest_bits():
    assert pack(torch.tensor([1, 2, 15, 0]), 4).tolist() == [0x21, 0x0F]
    assert pack(torch.tensor([1, 2, 3]), 4).tolist() == [0x21, 0x03]
    assert pack(torch.tensor([1, 2, 4]), 3).tolist() == [0b00010001, 1]


SIZES = {
    ("int8", "channel"): 6 * 128 + 4 * 6,
    ("int8", "tensor"): 6 * 128 + 4,
    ("int4", 64): 6 * 64 + 4 * 12,
    ("int3", 32): 6 * 48 + 4 * 24,
    ("uint8", "channel"): 6 * 128 + 5 * 6,
    ("uint4", 64): 6 * 64 + 5 * 12,
}


@pytest.mark.parametrize(("kind", "group"), SIZES)
def test_bytes_are_those_of_codes_scales_and_zeros(kind, group):
    found = quantize(weight(6, 128), kind, group)
    assert found.nbytes == SIZES[kind, group]
    assert found.bits_per_weight == found.nbytes / 96
