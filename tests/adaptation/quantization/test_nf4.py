"""NF4: its table, and its bytes, against bitsandbytes and the paper."""

import bitsandbytes.functional as theirs
import pytest
import torch

from llmnotes.adaptation.quantization import book, equation_4, quantize
from llmnotes.adaptation.quantization.nf4 import OFFSET, nearest


def weight(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_table_is_that_of_bitsandbytes():
    known = theirs.get_4bit_type("nf4", device="cpu")
    assert (book() - known).abs().max() <= 2e-7
    assert torch.equal(book(), known)


def test_seven_numbers_are_negative_and_eight_positive():
    levels = book()
    assert len(levels) == 16
    assert (levels[:7] < 0).all() and levels[7] == 0 and (levels[8:] > 0).all()
    assert levels[0] == -1 and levels[15] == 1
    assert (levels.diff() > 0).all()


def test_the_offset_is_that_of_the_paper():
    exact = 1 - (1 / 30 + 1 / 32) / 2
    assert abs(OFFSET - exact) < 5e-8
    wider = book(exact, torch.float64)
    assert (wider - book()).abs().max() < 5e-7


def entropy(codes):
    share = codes.flatten().long().bincount() / codes.numel()
    return -(share[share > 0] * share[share > 0].log2()).sum().item()


def test_normal_weights_use_its_codes_more_evenly_than_whole_numbers():
    """Not equally: a block of 64 seldom has a second weight near its end."""
    w = weight(64, 4096, seed=1)
    found = quantize(w, "nf4").codes
    share = found.flatten().long().bincount(minlength=16) / w.numel()
    assert 0.015 < share.min() < 0.02 and 0.085 < share.max() < 0.1
    assert 3.8 < entropy(found) < 3.9
    assert 3.4 < entropy(quantize(w, "int4").codes + 7) < 3.6


def test_equation_4_of_the_paper_does_not_give_its_table():
    literal = equation_4()
    assert literal[0] == -torch.inf
    torch.testing.assert_close(literal[1:], -literal[1:].flip(0))
    assert (literal[1:] - book()[1:].double()).abs().max() > 0.1


@pytest.mark.parametrize("scale", [1e-4, 1.0, 300.0])
@pytest.mark.parametrize("size", [64, 128])
def test_bytes_and_scales_are_those_of_bitsandbytes(scale, size):
    w = weight(9, 384) * scale
    w[2, 64:256] = 0
    packed, state = theirs.quantize_4bit(w, quant_type="nf4", blocksize=size)
    ours = quantize(w, "nf4", size)
    assert torch.equal(ours.packed, packed.flatten())
    assert torch.equal(ours.absmax, state.absmax)
    assert torch.equal(
        ours.dequantize(), theirs.dequantize_4bit(packed, state)
    )


def test_one_block_by_hand():
    w = torch.zeros(1, 64)
    w[0, :4] = torch.tensor([2.0, -2.0, 0.16, 1.0])
    found = quantize(w, "nf4")
    # 0.08 is the ninth number, code 8; 0.5 lies nearest to 0.4407, code 12.
    assert found.codes[0, :5].tolist() == [15, 0, 8, 12, 7]
    assert found.packed[:2].tolist() == [0xF0, 0x8C]
    assert found.absmax.tolist() == [2.0]


def test_of_two_equally_near_numbers_it_is_the_lower():
    middle = (book()[3] + book()[4]) / 2
    assert nearest(middle[None]).tolist() == [3]


def test_a_weight_is_nowhere_nearer_to_another_code():
    w = weight(5, 64)
    found = quantize(w, "nf4")
    scaled = w / found.absmax[:, None]
    distance = (scaled[..., None] - book()).abs()
    best = distance.min(-1).values
    got = distance.gather(-1, found.codes.long()[..., None])[..., 0]
    torch.testing.assert_close(got, best)


def test_four_bits_and_a_half():
    assert quantize(weight(8, 128), "nf4").bits_per_weight == 4.5
    assert quantize(weight(8, 128), "nf4", 1024).nbytes == 512 + 4


def test_blocks_run_over_the_ends_of_rows():
    w = weight(4, 48)
    assert len(quantize(w, "nf4").absmax) == 3
    flat = quantize(w.reshape(1, 192), "nf4")
    assert torch.equal(quantize(w, "nf4").packed, flat.packed)


def test_zeros_have_a_code():
    found = quantize(torch.zeros(2, 64), "nf4")
    assert (found.codes == 7).all()
    assert not found.dequantize().any()


def test_a_tiny_block_is_not_nan():
    back = quantize(torch.full((1, 64), 1e-42), "nf4").dequantize()
    assert back.isfinite().all()
