"""The calibrated methods against llm-compressor's, on a CPU."""

import pytest
import torch
from torch import nn

from llmnotes.adaptation.quantization import quantize
from llmnotes.adaptation.quantization.gptq import (
    by_activity,
    compensated,
    hessian,
    per_weight,
)
from llmnotes.adaptation.quantization.smooth import smoothing


@pytest.fixture(scope="module")
def theirs():
    """Their GPTQ of one weight, as a function."""
    from compressed_tensors.quantization import QuantizationArgs
    from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight

    def run(weight, matrix, scale, bits, **how):
        args = QuantizationArgs(num_bits=bits, symmetric=True, **how)
        found, _, fallback = quantize_weight(
            weight.clone()[None],
            matrix.float()[None],
            scale[None],
            torch.zeros_like(scale)[None],
            None,
            args,
            blocksize=16,
        )
        assert not fallback.any()
        return found[0]

    return run


@pytest.mark.parametrize("actorder", [None, "weight"])
@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("group", ["channel", 64])
def test_all_codes_are_theirs(theirs, bits, group, actorder):
    torch.manual_seed(3)
    rows, inputs = 21, 192
    weight = torch.randn(rows, inputs)
    x = torch.randn(300, inputs) @ torch.randn(inputs, inputs)
    plain = quantize(weight, f"int{bits}", group)
    scale = plain.scale.reshape(rows, -1)
    how = {"strategy": "channel"}
    if group != "channel":
        how = {"strategy": "group", "group_size": group}
    raw = x.double().T @ x.double()
    found = theirs(weight, raw, scale, bits, actorder=actorder, **how)
    each = per_weight(plain.scale, weight).double()

    def nearest(column, j):  # theirs uses the code -2^(bits-1), too
        last = 2 ** (bits - 1)
        return (column / each[:, j]).round().clamp(-last, last - 1) * each[
            :, j
        ]

    way = by_activity if actorder else compensated
    ours = way(weight.double(), hessian(x), nearest)
    codes = [(w / each).round() for w in (ours, found)]
    assert torch.equal(*codes)
    assert codes[0].unique().numel() > 2 ** (bits - 1)


def test_their_smoothing_is_ours_for_inputs_that_are_even():
    """They take max - min of an input, and twice the largest weight."""
    from llmcompressor.modifiers.transform.smoothquant import (
        SmoothQuantModifier,
    )

    torch.manual_seed(0)
    layers = [nn.Linear(11, 5), nn.Linear(11, 3)]
    largest = torch.rand(11) * 9
    modifier = SmoothQuantModifier(smoothing_strength=0.5, mappings=[])
    found = modifier._calculate_smoothing_scales(layers, 2 * largest)
    weight = torch.cat([layer.weight.detach() for layer in layers])
    torch.testing.assert_close(smoothing(largest, weight), found.detach())
