"""Four ways to merge: which is exact, and what the others change."""

import copy

import pytest
import torch

from llmnotes.adaptation.lora import adapted, add_lora
from llmnotes.adaptation.lora.model import matrix
from llmnotes.adaptation.qlora import (
    NF4Linear,
    into_dequantized,
    into_original,
    merge_by,
    original_quantized,
    requantized,
    to_nf4,
)
from llmnotes.transformer.gpt import GPT, GPTConfig

SHAPE = GPTConfig(13, n_positions=9, n_embd=64, n_layer=2, n_head=4)
IDS = torch.tensor([[1, 5, 12, 3, 3], [0, 7, 7, 2, 11]])


def models():
    """The model before, and adapted in 4 bits."""
    torch.manual_seed(0)
    original = GPT(SHAPE).eval()
    model = add_lora(to_nf4(copy.deepcopy(original)), 3, 3)
    with torch.no_grad():
        for layer in adapted(model).values():
            torch.nn.init.normal_(layer.adapters["default"].B, std=0.1)
    return original, model


def test_into_what_the_adapter_saw_changes_nothing():
    original, model = models()
    before = model(IDS)
    merge_by(into_dequantized, model, original)
    torch.testing.assert_close(model(IDS), before, rtol=1e-4, atol=1e-4)


def test_into_the_original_is_another_model_by_what_quantizing_took():
    original, model = models()
    layers = {
        path: (layer.changed().detach(), layer.base.weight)
        for path, layer in adapted(model).items()
    }
    merge_by(into_original, model, original)
    for path, (changed, seen) in layers.items():
        weight = matrix(original.get_submodule(path))
        torch.testing.assert_close(
            model.get_submodule(path).weight, changed + weight - seen
        )


@pytest.mark.parametrize(
    ("way", "full"),
    [(requantized, into_dequantized), (original_quantized, into_original)],
)
def test_in_four_bits_again_is_that_weight_rounded(way, full):
    original, model = models()
    other = copy.deepcopy(model)
    merge_by(way, model, original)
    merge_by(full, other, original)
    for path, layer in model.named_modules():
        if isinstance(layer, NF4Linear):
            whole = other.get_submodule(path)
            assert torch.equal(layer.weight, NF4Linear(whole).weight)
            gap = (layer.weight - whole.weight).norm() / whole.weight.norm()
            assert 0.05 < gap < 0.12


def test_biases_modes_and_frozenness_survive():
    for way in (into_dequantized, requantized):
        original, model = models()
        merge_by(way, model, original)
        assert not any(p.requires_grad for n, p in model.named_parameters()
                       if ".h." in n and "ln" not in n)  # fmt: skip
        assert not any(m.training for m in model.modules())
        layer = model.transformer["h"][0].attn.c_attn
        plain = original.transformer["h"][0].attn.c_attn
        assert torch.equal(layer.bias, plain.bias)


def test_a_model_without_adapters_is_refused():
    original, _ = models()
    with pytest.raises(ValueError, match="GPT without adapters"):
        merge_by(into_original, to_nf4(copy.deepcopy(original)), original)
