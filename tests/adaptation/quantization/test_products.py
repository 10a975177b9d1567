"""Matrices of few bits times a vector: equal to what the codes say."""

import jaxtyping
import pytest
import torch

from llmnotes.adaptation.quantization import (
    Float32,
    Int4Groups,
    Int4Rows,
    Int8Rows,
    quantize,
)
from llmnotes.adaptation.quantization.products import room

WAYS = {
    "int8": (Int8Rows, "int8", "channel"),
    "int4, a scale a row": (Int4Rows, "int4", "channel"),
    "int4, a scale for 64": (Int4Groups, "int4", 64),
}
SIZES = (1, 64), (5, 192), (7, 448), (12, 1088)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rounded(x, product):
    """The vector that a product multiplies: whole numbers and their unit."""
    unit = product.round_off(x.numpy())
    return torch.from_numpy(product.whole.reshape(-1) * unit).double(), unit


@pytest.mark.parametrize(("rows", "columns"), SIZES)
@pytest.mark.parametrize("way", WAYS)
def test_whole_numbers_are_multiplied_exactly(way, rows, columns):
    build, kind, group = WAYS[way]
    weight = quantize(draw(rows, columns), kind, group)
    product, x = build(weight), draw(columns, seed=1)
    expected = weight.dequantize().double() @ rounded(x, product)[0]
    got = product(x).double()
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_rounding_the_vector_costs_little(way):
    build, kind, group = WAYS[way]
    weight = quantize(draw(33, 512), kind, group)
    product, x = build(weight), draw(512, seed=1)
    exact = weight.dequantize().double() @ x.double()
    far = (product(x) - exact).norm() / exact.norm()
    lost = (draw(33, 512).double() @ x.double() - exact).norm() / exact.norm()
    assert far < 1e-4
    assert far < lost / 8
    whole, unit = rounded(x, product)
    assert ((whole - x).abs() <= unit / 2 * 1.001).all()


@pytest.mark.parametrize("columns", [1, 15, 16, 17, 63, 200])
def test_eight_bits_have_no_favourite_width(columns):
    weight = quantize(draw(6, columns), "int8")
    product, x = Int8Rows(weight), draw(columns, seed=2)
    exact = weight.dequantize() @ x
    torch.testing.assert_close(product(x), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("columns", [4, 20, 60, 68, 1100])
def test_rows_of_four_bits_need_only_whole_words(columns):
    weight = quantize(draw(6, columns), "int4", "channel")
    product, x = Int4Rows(weight), draw(columns, seed=2)
    exact = weight.dequantize() @ x
    torch.testing.assert_close(product(x), exact, rtol=1e-3, atol=1e-3)


def test_four_floats_at_a_time_are_all_rows():
    for rows in (1, 3, 4, 6):
        w, x = draw(rows, 37), draw(37, seed=1)
        torch.testing.assert_close(Float32(w)(x), w @ x)


@pytest.mark.parametrize("way", WAYS)
def test_sums_have_room_when_all_numbers_are_extreme(way):
    build, kind, group = WAYS[way]
    columns = 4096
    w = torch.ones(2, columns)
    w[1] = -1
    x = torch.ones(columns)
    got = build(quantize(w, kind, group))(x)
    torch.testing.assert_close(got, w @ x, rtol=1e-3, atol=0)


def test_a_sum_of_32_bits_is_never_exceeded():
    for columns in (1, 100, 4096, 130_000):
        for most in (15, 127):
            assert most * columns * room(columns, most) < 2**31
    with pytest.raises(ValueError) as error:
        room(200_000, 127)
    assert str(error.value) == (
        "weight: got 200000 columns, expected at most 133144, for sums of 32 "
        "bits"
    )


@pytest.mark.parametrize("way", WAYS)
def test_zeros_give_zeros(way):
    build, kind, group = WAYS[way]
    w = draw(4, 128)
    w[2] = 0
    product = build(quantize(w, kind, group))
    assert not product(torch.zeros(128)).any()
    assert product(draw(128))[2].abs() < 1e-4  # of what is of size 10


def test_bytes_read_are_those_of_the_weights():
    w = draw(64, 256)
    assert Float32(w).nbytes == 4 * w.numel()
    assert Int8Rows(quantize(w, "int8")).nbytes == w.numel() + 4 * 64
    rows = Int4Rows(quantize(w, "int4", "channel"))
    assert rows.nbytes == w.numel() / 2 + 4 * 64
    groups = Int4Groups(quantize(w, "int4", 64))
    assert groups.nbytes == quantize(w, "int4", 64).nbytes


def test_a_product_keeps_the_weights_it_was_made_of():
    w = draw(4, 64)
    product, before = Float32(w), w.clone()
    weight = quantize(w, "int8")
    whole = Int8Rows(weight)
    x = draw(64, seed=1)
    first = product(x), whole(x)
    w.zero_()
    weight.packed.zero_()
    assert torch.equal(product(x), first[0])
    assert torch.equal(whole(x), first[1])
    torch.testing.assert_close(first[0], before @ x)


@pytest.fixture
def unwatched():
    """As readers call it: nobody enforces annotations."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


W = draw(4, 128)
REFUSED = {
    "weight: got 4 bits and 2 scales a row, expected 8 bits and 1": (
        lambda: Int8Rows(quantize(W, "int4"))
    ),
    "weight: got 8 bits and 1 scales a row, expected 4 bits and 1": (
        lambda: Int4Rows(quantize(W, "int8"))
    ),
    "weight: got 4 bits and 1 scales a row, expected 4 bits and 2": (
        lambda: Int4Groups(quantize(W, "int4", "channel"))
    ),
    "weight: got 8 bits and 0.25 scales a row, expected 8 bits and 1": (
        lambda: Int8Rows(quantize(W, "int8", "tensor"))
    ),
    "group: got 64, expected a divisor of columns = 96": (
        lambda: Int4Groups(quantize(draw(4, 96), "int4", 32))
    ),
    "word: got 4, expected a divisor of columns = 6": (
        lambda: Int4Rows(quantize(draw(4, 6), "int4", "channel"))
    ),
    "weight: got UInt8, expected symmetric codes, as of int8 and int4": (
        lambda: Int8Rows(quantize(W, "uint8"))
    ),
    "weight: got UInt4, expected symmetric codes, as of int8 and int4": (
        lambda: Int4Groups(quantize(W, "uint4"))
    ),
    "weight: got NF4, expected symmetric codes, as of int8 and int4": (
        lambda: Int4Rows(quantize(W, "nf4"))
    ),
    "weight: got shape (2, 2, 64), expected (rows, columns)": (
        lambda: Int8Rows(quantize(W.view(2, 2, 128)[..., :64], "int8"))
    ),
    "weight: got shape (512,), expected (rows, columns)": (
        lambda: Float32(W.view(-1))
    ),
    "x: got 127 entries, expected 128, one for each column": (
        lambda: Int8Rows(quantize(W, "int8"))(draw(127))
    ),
    "x: got shape (1, 128), expected (columns,)": (
        lambda: Int8Rows(quantize(W, "int8"))(draw(1, 128))
    ),
    "x: got NaN or infinity, expected finite numbers": (
        lambda: Float32(W)(torch.full((128,), torch.nan))
    ),
}


@pytest.mark.parametrize(("message", "call"), REFUSED.items())
def test_what_cannot_be_multiplied_is_named(message, call, unwatched):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message
