"""AWQ: a scale for each input, of which α is the only freedom."""

import pytest
import torch

from llmnotes.adaptation.quantization import quantize
from llmnotes.adaptation.quantization.awq import awq
from llmnotes.adaptation.quantization.gptq import cost

ROWS, INPUTS, TOKENS = 9, 12, 31


def some(seed=0):
    """A weight, and inputs of which some are much larger than others."""
    torch.manual_seed(seed)
    return (
        torch.randn(ROWS, INPUTS),
        torch.randn(TOKENS, INPUTS) * torch.logspace(0, 2, INPUTS),
    )


def test_it_is_the_best_of_all_alphas_tried_one_by_one():
    weight, inputs = some()
    level = inputs.abs().mean(0)
    losses = {}
    for step in range(8):
        s = level ** (step / 7)
        s = s / (s.max() * s.min()) ** 0.5
        dense = quantize(weight * s, "int3", 4).dequantize()
        out = (inputs / s) @ dense.T  # as the model would compute it
        losses[step / 7] = (out - inputs @ weight.T).square().sum().item()
    found = awq(weight, inputs, "int3", 4, steps=7)
    assert found.alpha == min(losses, key=losses.get) > 0
    error = cost(weight - found.dequantize(), inputs) * ROWS * TOKENS
    assert error == pytest.approx(losses[found.alpha], rel=1e-3)


@pytest.mark.parametrize("kind", ["int3", "int4", "uint4", "nf4"])
def test_it_is_never_worse_than_rounding(kind):
    for seed in range(3):
        weight, inputs = some(seed)
        plain = quantize(weight, kind, 4).dequantize()
        found = awq(weight, inputs, kind, 4)
        assert cost(weight - found.dequantize(), inputs) <= cost(
            weight - plain, inputs
        ) * (1 + 1e-5)
        assert found.quantized.nbytes == quantize(weight, kind, 4).nbytes


def test_a_weight_that_meets_a_large_input_is_rounded_finer():
    """0.3 on the grid of 1 is 0. Four times as large it is 1, or 0.25."""
    weight = torch.tensor([[7.0, 0.3, 0.0, 0.0]])
    inputs = torch.tensor([[1.0, 256.0, 1.0, 1.0]])
    assert quantize(weight, "int4", 4).dequantize()[0, 1] == 0
    found = awq(weight, inputs, "int4", 4)
    assert 0 < found.alpha
    assert abs(found.dequantize()[0, 1] - 0.3) < 0.1
    assert found.scale[1] > 1 > found.scale[0]


def test_without_rounding_a_scale_changes_nothing():
    weight, inputs = some()
    scale = awq(weight, inputs, "int3", 4).scale
    assert scale.max() * scale.min() == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(
        (inputs / scale) @ (weight * scale).T, inputs @ weight.T,
        rtol=1e-4, atol=1e-3,
    )  # fmt: skip


def test_inputs_alike_in_size_leave_rounding():
    weight, _ = some()
    inputs = torch.ones(3, INPUTS)
    plain = quantize(weight, "int4", 4).dequantize()
    torch.testing.assert_close(
        awq(weight, inputs, "int4", 4).dequantize(), plain
    )


def test_one_token_may_come_without_an_axis_of_its_own():
    weight, inputs = some()
    alone, row = (awq(weight, x, "int4", 4) for x in (inputs[0], inputs[:1]))
    assert alone.alpha == row.alpha


def test_dead_inputs_and_a_batch_of_texts_are_fine():
    weight, inputs = some()
    inputs[:, 3] = 0
    found = awq(weight, inputs.reshape(1, TOKENS, INPUTS), "int4", 4)
    assert found.dequantize().isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_it_finds_what_float32_finds(dtype):
    """Sums of squares are above 65504, which half has no number for."""
    weight, inputs = (x.to(dtype) for x in some())
    found = awq(weight, inputs, "int3", 4)
    wide = awq(weight.float(), inputs.float(), "int3", 4)
    assert found.alpha == pytest.approx(wide.alpha, abs=0.11)
    assert found.alpha > 0
    assert found.dequantize().dtype == found.scale.dtype == dtype


REFUSED = {
    "steps: got 0, expected at least 1": dict(steps=0),
    "kind: got 'int5'": dict(kind="int5"),
    "inputs: got input 5, expected weight's 12": dict(inputs=torch.ones(2, 5)),
    "inputs: got NaN or infinity": dict(
        inputs=torch.full((2, INPUTS), float("inf"))
    ),
}


@pytest.mark.parametrize(("message", "change"), REFUSED.items())
def test_what_cannot_be_is_refused_by_name(message, change):
    weight, inputs = some()
    given = dict(weight=weight, inputs=inputs, kind="int4", group=4)
    with pytest.raises(ValueError) as error:
        awq(**given | change)
    assert message in str(error.value)
