"""Four ways to merge an adapter that was trained beside a 4-bit weight.

W    = the weight before it was quantized
Q    = quantize, D = what codes stand for: the adapter saw D(Q(W))
Δ    = what the adapter adds
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from llmnotes.adaptation.lora.attach import adapted
from llmnotes.adaptation.lora.layers import matrix
from llmnotes.adaptation.lora.model import LoRALinear
from llmnotes.adaptation.qlora.layer import NF4Linear


def into_dequantized(layer: LoRALinear, original: Tensor) -> nn.Module:
    """D(Q(W)) + Δ: what the adapter was trained beside, in full."""
    return linear(layer.changed(), layer.base)


def into_original(layer: LoRALinear, original: Tensor) -> nn.Module:
    """W + Δ: a better weight, and not the one that the adapter saw."""
    return linear(original + moved(layer), layer.base)


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
    """A frozen layer with this weight and the bias of another."""
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

    `original` is the model before it was quantized. Raises `ValueError` for
    a model without adapters.
    """
    for path, layer in adapted(model).items():
        weight = matrix(original.get_submodule(path)).detach()
        model.set_submodule(path, way(layer, weight))
    return model
