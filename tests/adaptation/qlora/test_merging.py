"""Four ways to merge: which is exact, and what the others change."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

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


WAYS = into_dequantized, into_original, requantized, original_quantized


@pytest.mark.parametrize("way", WAYS[:2])
def test_a_model_in_half_precision_stays_one(way):
    original, _ = models()
    original = original.bfloat16()
    model = add_lora(to_nf4(copy.deepcopy(original)), 3, 3)
    merge_by(way, model, original)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model(IDS).isfinite().all()


def other_shape():
    return GPT(replace(SHAPE, n_embd=128))


def fewer_layers():
    return GPT(replace(SHAPE, n_layer=1))


def spoil(model):
    last = list(adapted(model).values())[-1].adapters["default"].B
    with torch.no_grad():
        last[0, 0] = float("nan")


def merged_already(model):
    last = list(adapted(model).values())[-1]
    last.base = nn.Linear(last.in_features, last.out_features)
    last.merge()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("change", "build", "message"),
    [
        (lambda _: None, other_shape, r"original: got \(384, 128\) at .*h.0"),
        (lambda _: None, fewer_layers, "original: got no layer at .*h.1"),
        (spoil, None, "adapter: got NaN or infinity"),
        (merged_already, None, "layer: is merged already"),
    ],
)
def test_what_cannot_be_merged_is_refused_and_nothing_moves(
    way, change, build, message
):
    original, model = models()
    change(model)
    before = dict(model.named_modules())
    with pytest.raises(ValueError, match=message):
        merge_by(way, model, build() if build else original)
    after = dict(model.named_modules())
    assert before.keys() == after.keys()
    assert all(x is after[name] for name, x in before.items())
