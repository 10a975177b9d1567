"""Four ways to merge an adapter that was trained beside a 4-bit weight.

W    = the weight before it was quantized
Q    = quantize, D = what codes stand for: the adapter saw D(Q(W))
Δ    = what the adapter adds
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from llmnotes.adaptation.lora.attach import adapted, could_be
from llmnotes.adaptation.lora.checks import check_plain
from llmnotes.adaptation.lora.layers import matrix
from llmnotes.adaptation.lora.model import LoRALinear
from llmnotes.adaptation.qlora.layer import NF4Linear


def into_dequantized(layer: LoRALinear, original: Tensor) -> nn.Module:
    """D(Q(W)) + Δ: what the adapter was trained beside, in full."""
    return linear(layer.changed().to(original.dtype), layer.base)


def into_original(layer: LoRALinear, original: Tensor) -> nn.Module:
    """W + Δ: a better weight, and not the one that the adapter saw."""
    merged = original + moved(layer)
    return linear(merged.to(original.dtype), layer.base)


def requantized(layer: LoRALinear, original: Tensor) -> nn.Module:
    """Q(D(Q(W)) + Δ): in 4 bits again."""
    return NF4Linear(into_dequantized(layer, original))


def original_quantized(layer: LoRALinear, original: Tensor) -> nn.Module:
    """Q(W + Δ): merged in full, quantized once."""
    return NF4Linear(into_original(layer, original))


def moved(layer: LoRALinear) -> Tensor:
    """Δ of the active adapters."""
    return layer.changed() - matrix(layer.base)


def linear(weight: Tensor, like: nn.Module) -> nn.Linear:
    """A frozen layer with this weight and the bias of another.

    Raises `ValueError` for a weight with NaN or infinity.
    """
    if not weight.isfinite().all():
        raise ValueError(
            "adapter: got NaN or infinity in a merged weight, expected numbers"
        )
    outputs, inputs = weight.shape
    made = nn.Linear(inputs, outputs, bias=False, device="meta")
    made.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    made.bias = like.bias
    return made.train(like.training)


WAYS = into_dequantized, into_original, requantized, original_quantized
Way = Callable[[LoRALinear, Tensor], nn.Module]


@torch.no_grad()
def merge_by(way: Way, model: nn.Module, original: nn.Module) -> nn.Module:
    """Merge a model's adapters in one of the ways, in place; returns it.

    `original` is the model before it was quantized, and decides the dtype.
    Raises `ValueError` for a model without adapters or with merged ones, an
    original that has other layers, and an adapter with NaN; the model is not
    touched then.
    """
    layers = adapted(model)
    for path, layer in layers.items():
        layer.check_apart()
        check_plain("model", layer.base)
        check_same(path, layer, original)
    made = {
        path: way(layer, matrix(original.get_submodule(path)).detach())
        for path, layer in layers.items()
    }
    for path, layer in made.items():
        model.set_submodule(path, layer)
    return model


def check_same(path: str, layer: LoRALinear, original: nn.Module) -> None:
    """Raise `ValueError` unless the original has this layer at its path."""
    there = dict(original.named_modules()).get(path, original)
    got = tuple(matrix(there).shape) if could_be(there) else "no layer"
    wanted = layer.out_features, layer.in_features
    if got != wanted:
        raise ValueError(
            f"original: got {got} at {path}, expected a weight of {wanted}"
        )
