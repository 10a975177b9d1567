"""The formats of ggml, byte for byte."""

import gguf
import numpy as np
import pytest
import torch

from llmnotes.adaptation.quantization import FORMATS, quantize
from llmnotes.adaptation.quantization.ggml import BF16, F16, F32, WHOLE
from llmnotes.adaptation.quantization.searches import (
    line,
    one_by_one,
    through_zero,
)
from llmnotes.adaptation.quantization.superblocks import steps
from tests.adaptation.quantization import reference

NAMES = [kind.name() for kind in FORMATS]
BITS = {
    "q4_0": 4.5,
    "q4_1": 5,
    "q5_0": 5.5,
    "q5_1": 6,
    "q8_0": 8.5,
    "q2_k": 2.625,
    "q3_k": 3.4375,
    "q4_k": 4.5,
    "q5_k": 5.5,
    "q6_k": 6.5625,
}
COUNT = 256 * 60


def groups(random, low, high):
    """Groups of 16 weights of very different size."""
    size = 10 ** random.uniform(low, high, (COUNT // 16, 1))
    return (random.standard_normal((COUNT // 16, 16)) * size).ravel()


CASES = {
    "normal": lambda r: r.standard_normal(COUNT),
    "small": lambda r: r.standard_normal(COUNT) * 1e-3,
    "below half precision": lambda r: r.standard_normal(COUNT) * 1e-6,
    "hardly any": lambda r: r.standard_normal(COUNT) * 1e-15,
    "large": lambda r: r.standard_normal(COUNT) * 1e4,
    "heavy tails": lambda r: r.standard_t(2, COUNT),
    "positive": lambda r: np.abs(r.standard_normal(COUNT)),
    "negative": lambda r: -np.abs(r.standard_normal(COUNT)) - 1,
    "constant": lambda r: np.repeat(r.standard_normal(COUNT // 32), 32),
    "whole numbers": lambda r: r.integers(-8, 9, COUNT) / 4,
    "two values": lambda r: r.choice([-1.0, 1.0], COUNT),
    "mixed": lambda r: groups(r, -6, 2),
    "very mixed": lambda r: groups(r, -18, 3),
    "mostly zero": lambda r: (
        r.standard_normal(COUNT) * (r.random(COUNT) < 0.03)
    ),
    "zero": lambda r: np.zeros(COUNT),
    "negative zero": lambda r: -np.zeros(COUNT),
}


def some(case):
    """Weights of a case, one row of 256 after the other."""
    found = CASES[case](np.random.default_rng(3)).astype(np.float32)
    return torch.from_numpy(found.reshape(-1, 256))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_bytes_and_weights_are_those_of_ggml(name, case):
    w = some(case)
    ours = quantize(w, name)
    raw = ours.raw.flatten().numpy()
    assert np.array_equal(raw, reference.encode(name, w.numpy(), raw.size))
    back = reference.decode(name, raw, w.numel()).reshape(w.shape)
    assert np.array_equal(ours.dequantize().numpy(), back)


@pytest.mark.parametrize("kind", FORMATS, ids=NAMES)
def test_any_bytes_decode_as_in_ggml_and_in_gguf(kind):
    raw = np.random.default_rng(5).integers(0, 256, (90, kind.width), np.uint8)
    shape = torch.Size([90, kind.size])
    ours = kind(shape, torch.float32, torch.from_numpy(raw)).dequantize()
    ours = ours.numpy()
    theirs = reference.decode(kind.name(), raw, ours.size).reshape(ours.shape)
    assert np.array_equal(ours, theirs, equal_nan=True)
    number = gguf.GGMLQuantizationType(kind.number)
    with np.errstate(all="ignore"):
        theirs = gguf.quants.dequantize(raw, number)
    assert np.array_equal(ours, theirs, equal_nan=True)


@pytest.mark.parametrize("name", ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0"])
def test_bytes_of_the_simple_formats_are_those_of_gguf(name):
    w = some("normal")
    number = gguf.GGMLQuantizationType[name.upper()]
    theirs = gguf.quants.quantize(w.numpy(), number)
    ours = quantize(w, name).raw.numpy()
    assert np.array_equal(ours.reshape(theirs.shape), theirs)


@pytest.mark.parametrize("kind", [*WHOLE, *FORMATS], ids=lambda k: k.name())
def test_numbers_and_sizes_are_those_of_gguf(kind):
    number = gguf.GGMLQuantizationType[kind.name().upper()]
    assert number == kind.number
    assert gguf.GGML_QUANT_SIZES[number] == (kind.size, kind.width)


@pytest.mark.parametrize("name", NAMES)
def test_bits_per_weight(name):
    w = some("normal")
    found = quantize(w, name)
    assert found.bits_per_weight == BITS[name]
    assert found.nbytes == BITS[name] * w.numel() / 8


def test_a_block_of_q4_0_by_hand():
    w = torch.zeros(1, 32)
    w[0, 0], w[0, 1], w[0, 16], w[0, 31] = -4.0, 3.9, 1.0, -1.2
    raw = quantize(w, "q4_0").raw[0].tolist()
    # d = -4 / -8 = 0.5 is 0x3800; 0 has code 8; 3.9 / 0.5 + 8 is cut to 15.
    assert raw[:2] == [0x00, 0x38]
    assert raw[2] == 0 | 10 << 4
    assert raw[3] == 15 | 8 << 4
    assert raw[17] == 8 | 6 << 4  # -1.2 / 0.5 is nearest to -2


def test_the_largest_weight_is_exact_with_its_sign():
    """Why q4_0 divides by −8: the extreme has the code that has no twin."""
    w = some("normal")
    back = quantize(w, "q4_0").dequantize().reshape(-1, 32)
    blocks = w.reshape(-1, 32)
    at = blocks.abs().argmax(1, keepdim=True)
    extreme = blocks.gather(1, at)
    torch.testing.assert_close(back.gather(1, at), extreme, rtol=6e-4, atol=0)


def test_halves_and_wholes_are_torchs():
    w = some("normal")
    assert torch.equal(F32.encode(w).dequantize(), w)
    assert torch.equal(F16.encode(w).dequantize(), w.half().float())
    assert torch.equal(BF16.encode(w).dequantize(), w.bfloat16().float())
    with pytest.raises(ValueError, match="got a scale or minimum of 100000"):
        F16.encode(torch.tensor([[1e5]]))


@pytest.mark.parametrize("name", NAMES)
def test_rows_do_not_see_each_other(name):
    w = some("normal")
    one = quantize(w[7:8], name).dequantize()
    assert torch.equal(quantize(w, name).dequantize()[7:8], one)


def test_many_weights_are_cut_into_chunks_that_change_nothing():
    w = some("normal").repeat(25, 1)
    whole = quantize(w, "q4_k").dequantize()
    assert w.numel() > 2**18
    assert torch.equal(whole[-60:], quantize(w[-60:], "q4_k").dequantize())


def test_searching_beats_dividing_by_the_largest():
    x = np.random.default_rng(1).standard_normal((32, 500), np.float32)
    weights = np.ones_like(x)
    scale, low, q = line(x, weights, 15, steps(15, -1, 0.1, 20))
    found = ((scale * q - low - x) ** 2).sum()
    _, _, q = line(x, weights, 15, np.empty(0, np.float32))
    span = (x.max(0) - x.min(0)) / 15
    plain = ((span * q + x.min(0) - x) ** 2).sum()
    assert found < 0.85 * plain


@pytest.mark.parametrize("search", [through_zero, one_by_one])
def test_what_lies_on_a_grid_is_found(search):
    random = np.random.default_rng(2)
    q = random.integers(-4, 4, (16, 70)).astype(np.float32)
    q[0] = -4
    x = q * np.float32(0.5)
    scale, codes = search(x, 4)
    assert np.allclose(scale * codes, x, atol=1e-6)


def test_each_way_of_searching_minimises_its_own_error():
    x = np.random.default_rng(4).standard_normal((16, 300), np.float32)
    most = np.abs(x).max(0)
    plain = np.rint(x * 3 / most).clip(-4, 3) * most / 3
    worst = (x**2 * (plain - x) ** 2).sum()
    for search in (through_zero, one_by_one):
        scale, q = search(x.copy(), 4)
        assert (x**2 * (scale * q - x) ** 2).sum() < worst
