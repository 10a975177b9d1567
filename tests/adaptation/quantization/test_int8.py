"""Products in int8: exact sums, and outliers that are left out."""

import bitsandbytes  # noqa: F401  (registers the operators)
import jaxtyping
import pytest
import torch

from llmnotes.adaptation.quantization import quantize
from llmnotes.adaptation.quantization.int8 import int8_product, llm_int8

TOKENS, INPUTS, ROWS = 13, 40, 9


@pytest.fixture
def unwatched():
    """As readers call it: nobody enforces annotations."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def some(seed=0):
    """Activations with two outliers, and a weight; exact in float16."""
    torch.manual_seed(seed)
    x, weight = torch.randn(TOKENS, INPUTS), torch.randn(ROWS, INPUTS)
    x[3, 7], x[5, 21] = 40, -8
    return x.half().float(), weight.half().float()


@pytest.mark.parametrize("of_weight", ["channel", "tensor"])
@pytest.mark.parametrize("of_x", ["channel", "tensor"])
def test_it_is_the_product_of_what_both_were_rounded_to(of_x, of_weight):
    x, weight = some()
    held = quantize(weight, "int8", of_weight)
    rounded = quantize(x, "int8", of_x)
    wanted = rounded.dequantize().double() @ held.dequantize().double().T
    torch.testing.assert_close(
        int8_product(x, held, of_x), wanted.float(), rtol=1e-6, atol=1e-5
    )


def test_sums_are_exact_beyond_what_float32_can_count():
    """127² times 1,500 is above 2²⁴ and odd."""
    x = torch.ones(1, 1501)
    held = quantize(torch.ones(3, 1501), "int8")
    found = int8_product(x * 127, held)
    assert held.codes.eq(127).all()
    assert found.double() == pytest.approx(1501 * 127, rel=1e-6)


def test_one_outlier_by_hand():
    """100 and 0.3 in one token: the step is 0.79, and 0.3 becomes 0."""
    x, weight = torch.tensor([[100.0, 0.3]]), torch.tensor([[0.0, 1.0]])
    held = quantize(weight, "int8")
    assert int8_product(x, held).item() == 0
    assert llm_int8(x, held).item() == pytest.approx(0.3)


@pytest.mark.parametrize("threshold", [6.0, 20.0, 3.0])
def test_it_is_bitsandbytes_product(threshold):
    """Their scales see the small numbers beside an outlier; ours do not."""
    x, weight = some()
    large = x.abs() >= threshold
    x[:, large.any(0)] *= torch.where(large, 1, 0.01)[:, large.any(0)]
    x = x.half().float()
    held = quantize(weight, "int8")
    codes, scale, columns = torch.ops.bitsandbytes.int8_vectorwise_quant(
        x.half(), threshold
    )
    theirs, _ = torch.ops.bitsandbytes.int8_mixed_scaled_mm(
        x,
        codes,
        held.codes.reshape(weight.shape),
        scale,
        127 * held.scale.flatten(),
        columns,
        None,
    )
    assert len(columns) == (x.abs() >= threshold).any(0).sum()
    torch.testing.assert_close(
        llm_int8(x, held, threshold), theirs.float(), rtol=2e-3, atol=2e-3
    )


def test_a_threshold_of_nothing_rounds_no_input():
    x, weight = some()
    held = quantize(weight, "int8")
    dense = x @ held.dequantize().T
    torch.testing.assert_close(llm_int8(x, held, 0.0), dense)
    none = llm_int8(x, held, float("inf"))
    assert torch.equal(none, int8_product(x, held))


def test_outliers_left_out_help_all_other_tokens_not_at_all():
    """Each token has a scale of its own: only those with an outlier gain."""
    x, weight = some()
    held, wanted = quantize(weight, "int8"), x @ weight.T
    plain = (int8_product(x, held) - wanted).norm(dim=1)
    left_out = (llm_int8(x, held) - wanted).norm(dim=1)
    assert left_out[3] < plain[3] / 3
    usual = [i for i in range(TOKENS) if i not in (3, 5)]
    torch.testing.assert_close(
        left_out[usual], plain[usual], rtol=0.7, atol=0.05
    )


@pytest.mark.parametrize("product", [int8_product, llm_int8])
@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64]
)
def test_other_dtypes_come_back_and_do_not_overflow(product, dtype):
    x, weight = some()
    x[2] = 0  # a token without a scale
    large = 100 * x  # sums of codes are above what half can hold
    held = quantize(weight, "int8")
    found = product(large.to(dtype), held)
    assert found.dtype == dtype
    wanted = product(large.to(dtype).float(), held)
    torch.testing.assert_close(
        found.float(), wanted, rtol=2e-2, atol=0.02 * wanted.abs().max().item()
    )


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


X = draw(3, 64)
REFUSED = {
    "x: got 64 inputs, expected weight's 40": (X, draw(9, 40), {}),
    "x: got torch.int64, expected a float": (X.long(), draw(9, 64), {}),
    "x: got shape (64,), expected (tokens, input)": (X[0], draw(9, 64), {}),
    "weight: got NF4, expected a matrix in int8": (
        X, draw(9, 64), dict(kind="nf4")),
    "weight: got UInt8, expected": (X, draw(9, 64), dict(kind="uint8")),
    "weight: got Int4, expected": (X, draw(9, 64), dict(kind="int4")),
    "weight: got Int8, expected a matrix": (X, draw(9, 64), dict(group=8)),
    "weight: got Int8, expected a matrix in": (X, draw(2, 9, 64), {}),
}  # fmt: skip


@pytest.mark.parametrize(("message", "given"), REFUSED.items())
@pytest.mark.parametrize("product", [int8_product, llm_int8])
def test_what_cannot_be_multiplied_is_named(
    product, message, given, unwatched
):
    x, weight, change = given
    held = quantize(weight, **dict(kind="int8") | change)
    with pytest.raises(ValueError) as error:
        product(x, held)
    assert message in str(error.value)


def test_a_scale_for_some_inputs_cannot_be_taken_out(unwatched):
    held = quantize(draw(9, 64), "int8")
    with pytest.raises(ValueError, match="group: got 8, expected 'channel'"):
        int8_product(X, held, 8)
