"""What every kind of quantized weight does, and refuses."""

import pytest
import torch

from llmnotes.adaptation.quantization import KINDS, quantize

NEEDED = "int8", "int4", "nf4", "q4_0", "q8_0", "q4_k", "q6_k"


def weight(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_kinds_that_the_book_speaks_of_are_there():
    assert set(NEEDED) <= KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shape_and_dtype_come_back(kind, dtype):
    w = weight(3, 5, 256).to(dtype)
    found = quantize(w, kind)
    back = found.dequantize()
    assert back.shape == w.shape and back.dtype == dtype
    assert found.nbytes < w.nbytes
    assert (back.float() - w.float()).norm() < 0.8 * w.float().norm()


@pytest.mark.parametrize("kind", KINDS)
def test_the_weight_is_not_touched(kind):
    w = torch.nn.Parameter(weight(2, 256))
    before = w.detach().clone()
    found = quantize(w, kind)
    places = {part.untyped_storage().data_ptr() for part in found.parts}
    assert w.untyped_storage().data_ptr() not in places
    found.dequantize().zero_()
    assert torch.equal(w, before)
    assert w.requires_grad and not found.dequantize().requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_with_strides_is_read_as_it_looks(kind):
    w = weight(256, 4).T
    a, b = quantize(w, kind), quantize(w.contiguous(), kind)
    assert torch.equal(a.dequantize(), b.dequantize())


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_quantized_stays_what_it_is(kind):
    """Codes of dequantized weights are the same codes, but for rounding."""
    first = quantize(weight(4, 256), kind).dequantize()
    again = quantize(first, kind).dequantize()
    assert (again - first).norm() < 0.2 * first.norm()


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_can_be_represented(kind):
    assert not quantize(torch.zeros(2, 256), kind).dequantize().any()


GOOD = weight(3, 256)
REFUSED = {
    "kind: got 'int5', expected one of int8, int4": (GOOD, "int5", None),
    "weight: got 128 times NaN or infinity, expected finite numbers": (
        torch.tensor([[1.0, torch.nan] * 128]), "int8", None,
    ),
    "weight: got torch.int64, expected a float dtype": (
        torch.ones(3, 256).long(), "int8", None,
    ),
    "weight: got 1 times NaN or infinity, expected finite": (
        torch.full((1, 1), 1e300, dtype=torch.float64), "int8", None,
    ),
    "weight: got a range beyond float32 in one group": (
        torch.tensor([[3e38, -3e38] * 128]), "uint8", None,
    ),
    "weight: got a tensor on meta of layout": (
        torch.ones(3, 256, device="meta"), "int8", None,
    ),
    "weight: got a tensor on cpu of layout torch.sparse_coo": (
        torch.ones(3, 256).to_sparse(), "int8", None,
    ),
    "weight: got torch.float8_e4m3fn, expected at least 16 bits": (
        torch.ones(3, 256).to(torch.float8_e4m3fn), "int8", None,
    ),
    "weight: got list, expected a tensor": ([1.0], "int8", None),
    "weight: got shape (0, 256), expected no empty axis": (
        torch.ones(0, 256), "int8", None,
    ),
    "weight: got shape (), expected rows of at least one weight": (
        torch.tensor(1.0), "int8", None,
    ),
    "group: got 48, expected a divisor of a row = 256": (GOOD, "int4", 48),
    "group: got 0, expected at least 1": (GOOD, "int4", 0),
    "group: got 'row', expected a number, 'channel' or 'tensor'": (
        GOOD, "int8", "row",
    ),
    "group: got 512, expected a divisor of all weights = 768": (
        GOOD, "nf4", 512,
    ),
    "group: got channel, expected an integer": (GOOD, "nf4", "channel"),
    "pairs: got 2, expected a divisor of group = 3": (GOOD, "nf4", 3),
    "group: got 64, expected 32, the only one of q4_0": (GOOD, "q4_0", 64),
    "group: got 32, expected 256, the only one of q4_k": (GOOD, "q4_k", 32),
    "group: got 32, expected a divisor of a row = 48": (
        torch.ones(2, 48), "q8_0", None,
    ),
    "group: got 256, expected a divisor of a row = 128": (
        torch.ones(2, 128), "q6_k", None,
    ),
    "weight: got a scale or minimum of 125000, expected at most 65504, the "
    "largest half-precision number": (
        torch.full((1, 32), 1e6), "q4_0", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("message", "call"), REFUSED.items())
def test_what_cannot_be_quantized_is_named(message, call):
    with pytest.raises(ValueError) as error:
        quantize(*call)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_no_kind_takes_what_is_not_finite(kind, bad):
    w = weight(2, 256)
    w[1, 200] = bad
    with pytest.raises(ValueError, match="got 1 times NaN or infinity"):
        quantize(w, kind)
