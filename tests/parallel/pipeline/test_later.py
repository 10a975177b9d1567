"""Two halves of backward: the same gradients, the same work in all."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from llmnotes.parallel.data_parallel import Living
from llmnotes.parallel.pipeline import Later
from tests.parallel.pipeline import tiny


def pair():
    """A model, its input and a gradient for its output."""
    block = tiny.gpt(1).transformer.h[0]
    torch.manual_seed(1)
    x = torch.randn(2, 7, tiny.WIDTH, dtype=torch.float64, requires_grad=True)
    return block, x, torch.randn(2, 7, tiny.WIDTH, dtype=torch.float64)


def gradients(block, x):
    return [x.grad, *(p.grad for p in block.parameters())]


def test_both_halves_make_the_gradients_of_the_whole():
    block, x, dy = pair()
    block(x).backward(dy)
    whole = [g.clone() for g in gradients(block, x)]
    x.grad = None
    block.zero_grad()
    with Later() as later:
        y = block(x)
    y.backward(dy)
    assert torch.equal(x.grad, whole[0])
    assert block.mlp.c_fc.weight.grad is None
    assert block.mlp.c_fc.bias.grad is not None
    later.weights()
    for mine, theirs in zip(gradients(block, x), whole, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-15)


def test_no_product_is_computed_twice():
    block, x, dy = pair()
    flops = []
    for later in (None, Later()):
        with later or torch.enable_grad():
            y = block(x)
        with FlopCounterMode(display=False) as counter:
            y.backward(dy)
        flops.append(counter.get_total_flops())
        if later:
            with FlopCounterMode(display=False) as counter:
                later.weights()
            flops.append(counter.get_total_flops())
    whole, inputs, weights = flops
    assert whole == inputs + weights
    parameters = sum(p.numel() for p in block.parameters() if p.ndim == 2)
    assert weights == 2 * 2 * 7 * parameters  # two of each weight and token


def test_the_first_half_lets_go_of_what_only_it_needs():
    block, x, dy = pair()
    with Living() as living:
        with Later() as later:
            y = block(x)
        y.backward(dy)
        before = living.bytes
        del y
        assert len(later.left) == 4
        kept = {
            t.untyped_storage()._cdata: t.untyped_storage().nbytes()
            for _, x_, dy_ in later.left
            for t in (x_, dy_)
        }
        assert 0 < sum(kept.values()) < before
        later.weights()
    assert not later.left


@pytest.mark.parametrize("bias", [True, False])
def test_layers_without_a_bias_and_of_one_axis_less(bias):
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 5, bias, dtype=torch.float64)
    x = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    with Later() as later:
        y = layer(x)
    y.square().sum().backward()
    later.weights()
    found = gradients(layer, x)
    x.grad = None
    layer.zero_grad()
    layer(x).square().sum().backward()
    for mine, theirs in zip(found, gradients(layer, x), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_frozen_weights_and_autocast_are_no_obstacle():
    layer = nn.Linear(3, 4)
    layer.weight.requires_grad_(False)
    x = torch.randn(2, 3, requires_grad=True)
    with Later() as later:
        layer(x).sum().backward()
    later.weights()
    assert layer.weight.grad is None and x.grad is not None
    layer = nn.Linear(3, 4)
    with Later() as later, torch.autocast("cpu", torch.bfloat16):
        layer(x).sum().backward()
    later.weights()
    assert layer.weight.grad.shape == (4, 3)
