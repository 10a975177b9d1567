"""Layers read what they read, and nothing stays behind."""

import pytest
import torch
from torch import nn

from llmnotes.adaptation.quantization.calibration import inputs_of


def model():
    """Two layers, and one that nobody asks."""
    torch.manual_seed(0)
    return nn.ModuleDict(
        {"a": nn.Linear(3, 5), "b": nn.Linear(5, 2), "c": nn.Linear(4, 4)}
    )


def test_every_call_adds_the_rows_of_its_tokens():
    layers, (one, two) = model(), (torch.randn(2, 7, 3), torch.randn(1, 4, 3))

    def run():
        for x in (one, two):
            layers["b"](layers["a"](x))

    found = inputs_of({k: layers[k] for k in "ab"}, run)
    wanted = torch.cat([one.reshape(14, 3), two.reshape(4, 3)])
    assert torch.equal(found["a"], wanted)
    torch.testing.assert_close(found["b"], layers["a"](wanted).detach())
    assert not any(part._forward_pre_hooks for part in layers.values())


def test_a_layer_that_is_not_called_is_named_and_no_hook_stays():
    layers = model()
    with pytest.raises(ValueError, match="layers: got 'c', expected one that"):
        inputs_of(
            {**layers}, lambda: layers["b"](layers["a"](torch.ones(1, 3)))
        )
    with pytest.raises(RuntimeError):
        inputs_of({**layers}, lambda: layers["a"](torch.ones(1, 4)))
    assert not any(part._forward_pre_hooks for part in layers.values())


def test_one_token_may_come_without_an_axis_of_its_own():
    layer = nn.Linear(3, 2)
    x = torch.randn(3)
    assert torch.equal(inputs_of({"a": layer}, lambda: layer(x))["a"], x[None])
