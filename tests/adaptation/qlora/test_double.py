"""Scales in 8 bits: bitsandbytes' book and bytes, and every bit counted."""

import bitsandbytes.functional as bnb
import pytest
import torch

from llmnotes.adaptation.qlora import (
    DoubleNF4,
    bits_per_weight,
    decode_scales,
    encode_scales,
)
from llmnotes.adaptation.qlora.double import book
from llmnotes.adaptation.quantization import NF4


def weight(rows, columns, seed=0):
    torch.manual_seed(seed)
    return torch.randn(rows, columns) * torch.rand(rows, 1)


def test_the_book_of_scales_is_that_of_bitsandbytes():
    torch.testing.assert_close(
        book(), bnb.create_dynamic_map(), rtol=1e-6, atol=0
    )
    assert len(set(book().tolist())) == 256


@pytest.mark.parametrize(("rows", "columns"), [(256, 128), (96, 192), (7, 64)])
def test_codes_are_those_of_bitsandbytes_but_for_ties(rows, columns):
    """Its scales are rounded by a search that may end one code beside."""
    w = weight(rows, columns)
    ours = DoubleNF4.encode(w)
    packed, state = bnb.quantize_4bit(
        w, quant_type="nf4", compress_statistics=True
    )
    assert torch.equal(ours.packed, packed.flatten())
    apart = ours.scale_codes.int() - state.absmax.int()
    assert apart.abs().max() <= 1
    assert apart.count_nonzero() <= 0.005 * len(apart)
    torch.testing.assert_close(ours.largest, state.state2.absmax)
    torch.testing.assert_close(ours.mean, state.offset)


def test_theirs_decoded_by_us_is_what_they_decode():
    w = weight(96, 192)
    packed, state = bnb.quantize_4bit(
        w, quant_type="nf4", compress_statistics=True
    )
    ours = DoubleNF4(
        w.shape, w.dtype, packed.flatten(), state.absmax,
        state.state2.absmax, state.offset,
    )  # fmt: skip
    torch.testing.assert_close(
        ours.dequantize(), bnb.dequantize_4bit(packed, state),
        rtol=1e-6, atol=1e-7,
    )  # fmt: skip


def test_a_scale_by_hand():
    """Scales 1, 3 and 8: mean 4, the rest over 4 is −¾, −¼ and 1.

    Near −¾ the book has 0.7539 = (0.1 + 0.9·46.5/64), near −¼ 0.2477.
    """
    codes, largest, mean = encode_scales(torch.tensor([1.0, 3.0, 8.0]))
    assert (largest.item(), mean.item()) == (4, 4)
    found = decode_scales(codes, largest, mean)
    near = [0.1 + 0.9 * (k + 0.5) / 64 for k in range(64)]
    expected = [
        4 - 4 * min(near, key=lambda x: abs(x - 0.75)),
        4 - 4 * min(near, key=lambda x: abs(x - 0.25)),
        8,
    ]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_scales_that_are_all_alike_come_back_as_they_were():
    alike = torch.full((300,), 0.7)
    torch.testing.assert_close(decode_scales(*encode_scales(alike)), alike)
    assert (decode_scales(*encode_scales(torch.zeros(5))) == 0).all()


@pytest.mark.parametrize(("rows", "columns"), [(512, 1536), (64, 256)])
def test_the_bytes_are_those_of_the_formula(rows, columns):
    found = DoubleNF4.encode(weight(rows, columns))
    expected = rows * columns * bits_per_weight() / 8 + 4
    assert found.nbytes == expected


def test_of_a_last_group_that_is_not_full_every_scale_comes_back():
    scales = weight(1, 300).flatten().abs()
    again = decode_scales(*encode_scales(scales))
    assert again.shape == scales.shape
    step = (scales - scales.mean()).abs().max() * 0.9 / 64
    assert (again - scales).abs().max() <= step / 2 * 1.01


def test_it_saves_what_the_paper_says():
    """0.5 bits of scales become 0.127; of 65 billion weights, 3 GB."""
    assert bits_per_weight() - 4 == 8 / 64 + 32 / (64 * 256)
    assert round(4.5 - bits_per_weight(), 3) == 0.373
    assert round(65e9 * (4.5 - bits_per_weight()) / 8 / 1e9, 2) == 3.03


def test_doubly_quantized_is_nearly_once_quantized():
    w = weight(128, 256)
    once, twice = NF4.encode(w), DoubleNF4.encode(w)
    assert torch.equal(once.packed, twice.packed)
    error = (once.dequantize() - w).norm() / w.norm()
    more = (twice.dequantize() - w).norm() / w.norm()
    assert error < more < 1.01 * error


def test_scales_whose_mean_no_float_can_say_are_refused():
    with pytest.raises(ValueError, match="weight: got numbers whose mean is"):
        DoubleNF4.encode(torch.full((4, 64), 3e38))
