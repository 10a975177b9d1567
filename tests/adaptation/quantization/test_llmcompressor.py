"""The calibrated methods against llm-compressor's, on a CPU."""

import pytest
import torch
from torch import nn

from llmnotes.adaptation.quantization import quantize
from llmnotes.adaptation.quantization.gptq import (
    by_activity,
    compensated,
    gptq,
)
from llmnotes.adaptation.quantization.smooth import smoothing


@pytest.fixture(scope="module")
def theirs():
    """Their GPTQ of one weight, as a function."""
    from compressed_tensors.quantization import QuantizationArgs
    from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight

    def run(weight, inputs, plain, **how):
        rows = len(weight)
        args = QuantizationArgs(num_bits=plain.bits, symmetric=False, **how)
        zero = plain.zero.reshape(rows, -1) - 2.0 ** (plain.bits - 1)
        found, _, fallback = quantize_weight(
            weight.clone()[None],
            (inputs.T @ inputs)[None],
            plain.scale.reshape(1, rows, -1),
            zero[None],
            None,
            args,
            blocksize=16,
        )
        assert not fallback.any()
        return found[0]

    return run


@pytest.mark.parametrize("order", [None, "weight"])
@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("group", ["channel", 64])
def test_all_codes_are_theirs(theirs, bits, group, order):
    torch.manual_seed(3)
    rows, width = 21, 192
    weight = torch.randn(rows, width)
    inputs = torch.randn(300, width) @ torch.randn(width, width)
    plain = quantize(weight, f"uint{bits}", group)
    how = {"strategy": "channel", "actorder": order}
    if group != "channel":
        how |= {"strategy": "group", "group_size": group}
    found = theirs(weight, inputs, plain, **how).reshape(plain.codes.shape)
    solve = by_activity if order else compensated
    ours = gptq(weight, inputs, bits, group, solve=solve)
    codes = torch.round(found / plain.scale) + plain.zero
    assert torch.equal(ours.codes, codes.to(torch.uint8))
    assert (ours.codes != plain.codes).float().mean() > 0.2
    assert ours.codes.unique().numel() == 2**bits


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
