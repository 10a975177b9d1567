"""SmoothQuant: difficulty moves, the function stays."""

import pytest
import torch
from torch import nn

from llmnotes.adaptation.quantization import quantize
from llmnotes.adaptation.quantization.int8 import int8_product
from llmnotes.adaptation.quantization.smooth import divide_norm, smoothing
from llmnotes.transformer.gpt.model import Block, GPTConfig

INPUTS, ROWS, TOKENS = 10, 7, 23


def some():
    """Inputs with one outlier, and a weight."""
    torch.manual_seed(0)
    x = torch.randn(TOKENS, INPUTS)
    x[:, 3] *= 100
    return x, torch.randn(ROWS, INPUTS)


def test_one_scale_by_hand():
    """An input of 16 and weights up to 1: both become 4."""
    largest = torch.tensor([16.0, 1.0])
    weight = torch.tensor([[1.0, -4.0], [-0.5, 2.0]])
    scale = smoothing(largest, weight)
    assert scale.tolist() == [4.0, 0.5]
    assert (largest / scale).tolist() == [4.0, 2.0]
    assert (weight * scale).abs().amax(0).tolist() == [4.0, 2.0]


def test_strength_says_whose_largest_numbers_become_one():
    x, weight = some()
    largest = x.abs().amax(0)
    all_in = smoothing(largest, weight, 1.0)
    none = smoothing(largest, weight, 0.0)
    ones = torch.ones(INPUTS)
    torch.testing.assert_close((x / all_in).abs().amax(0), ones)
    torch.testing.assert_close((weight * none).abs().amax(0), ones)


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.5, 1.0])
def test_a_block_computes_the_same_with_its_norms_divided(strength):
    torch.manual_seed(0)
    block = Block(GPTConfig(11, 8, 12, 1, 3)).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 5, 12).double()
    before = block(x)
    for norm, layer in (
        (block.ln_1, block.attn.c_attn),
        (block.ln_2, block.mlp.c_fc),
    ):
        scale = smoothing(torch.rand(12).double(), layer.weight.T, strength)
        divide_norm(norm, scale)
        with torch.no_grad():
            layer.weight *= scale[:, None]
    assert not torch.equal(block.ln_1.weight, torch.ones(12).double())
    torch.testing.assert_close(block(x), before)


def test_a_single_large_input_is_what_it_cures():
    x, weight = some()
    wanted = x @ weight.T

    def error(x, weight):
        return (int8_product(x, quantize(weight, "int8")) - wanted).norm()

    scale = smoothing(x.abs().amax(0), weight)
    assert error(x / scale, weight * scale) < 0.4 * error(x, weight)


def test_a_single_large_weight_is_what_it_makes_worse():
    """Its input is divided by little, so the others become as large."""
    torch.manual_seed(0)
    x, weight = torch.randn(TOKENS, INPUTS), torch.randn(ROWS, INPUTS)
    weight[2, 3] = 1e4
    wanted = (x @ weight.T)[:, :2]  # the other outputs

    def error(x, weight):
        found = int8_product(x, quantize(weight, "int8"))
        return (found[:, :2] - wanted).norm()

    scale = smoothing(x.abs().amax(0), weight)
    assert error(x / scale, weight * scale) > 10 * error(x, weight)


def test_a_dead_input_has_a_finite_scale():
    weight = torch.ones(2, 3)
    weight[:, 1] = 0
    scale = smoothing(torch.tensor([0.0, 0.0, 1.0]), weight)
    assert scale.isfinite().all() and (scale > 0).all()


def test_what_cannot_be_is_refused_by_name():
    for strength in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="strength: got .*, expected 0"):
            smoothing(torch.ones(3), torch.ones(2, 3), strength)
    with pytest.raises(ValueError, match="weight: got input 4, expected"):
        smoothing(torch.ones(3), torch.ones(2, 4))


@pytest.mark.parametrize(
    "norm", [nn.LayerNorm(4, bias=False), nn.RMSNorm(4), nn.LayerNorm(4)]
)
def test_norms_with_and_without_a_bias_are_divided(norm):
    x, scale = torch.randn(3, 4), torch.tensor([1.0, 2.0, 0.5, 4.0])
    before = norm(x)
    divide_norm(norm, scale)
    torch.testing.assert_close(norm(x), before / scale)


@pytest.mark.parametrize(
    ("norm", "scale", "message"),
    [
        (nn.LayerNorm(2), [1.0, 0.0], "scale: got 0.0 to 1.0, expected fin"),
        (nn.LayerNorm(2), [1.0, float("nan")], "scale: got nan"),
        (nn.LayerNorm(2), [1.0, float("inf")], "scale: got 1.0 to inf"),
        (nn.LayerNorm(2), [1.0], r"scale: got shape \(1,\), expected the no"),
        (nn.LayerNorm(2, elementwise_affine=False), [1.0, 1.0],
         "norm: got LayerNorm without a gain"),
    ],
)  # fmt: skip
def test_what_no_norm_can_be_divided_by_is_refused(norm, scale, message):
    with pytest.raises(ValueError, match=message):
        divide_norm(norm, torch.tensor(scale))
    for name, p in norm.named_parameters():
        assert (p == (name == "weight")).all()
