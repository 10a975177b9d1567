"""Ways to write the matrices of a model in fewer bits.

rounded    = every matrix by `quantize`, on its own
calibrated = block by block: what a block reads comes from those before it,
             which have been quantized already
eight      = products in int8: activations are rounded as well
"""

from functools import partial

import torch

from llmnotes.adaptation.quantization.awq import awq
from llmnotes.adaptation.quantization.calibration import inputs_of
from llmnotes.adaptation.quantization.gptq import gptq
from llmnotes.adaptation.quantization.int8 import int8_product, llm_int8
from llmnotes.adaptation.quantization.kinds import quantize
from llmnotes.adaptation.quantization.smooth import smoothing
from tests.adaptation.quantization.subjects import put, weight_of

# Blocks of 256 weights, more than rows of 128 or 384 have: theirs run on
# from row to row, which llama.cpp would not allow.
LONG = "q2_k", "q3_k", "q4_k", "q5_k", "q6_k"


def rounded(subject, kind, group=None):
    """A model whose matrices are rounded, and bits per weight."""
    model, size, count = subject.copy(), 0, 0
    for layer in subject.layers(model).values():
        weight = weight_of(layer)
        whole = weight.reshape(-1, 256) if kind in LONG else weight
        found = quantize(whole, kind, group)
        put(layer, found.dequantize().reshape(weight.shape))
        size, count = size + found.nbytes, count + weight.numel()
    return model, 8 * size / count


def calibrated(subject, way, show):
    """A model whose matrices `way(weight, inputs)` has quantized, and bits."""
    model, size, count = subject.copy(), 0, 0
    for block in subject.blocks(model):
        read = inputs_of(block, partial(show, model))
        for name, layer in block.items():
            weight = weight_of(layer).contiguous()
            dense, nbytes = way(weight, read[name])
            put(layer, dense)
            size, count = size + nbytes, count + weight.numel()
    return model, 8 * size / count


def by_gptq(bits, group):
    """GPTQ as a way."""

    def way(weight, inputs):
        found = gptq(weight, inputs, bits, group)
        return found.dequantize(), found.nbytes

    return way


def by_awq(bits, group):
    """AWQ as a way; its scales count as 16 bits for each input."""

    def way(weight, inputs):
        found = awq(weight, inputs, f"uint{bits}", group)
        return found.dequantize(), found.quantized.nbytes + 2 * len(
            found.scale
        )

    return way


def eight(subject, product):
    """A model whose layers multiply by `product(x, weight, name)`."""
    model = subject.copy()
    for name, layer in subject.layers(model).items():
        multiply = product(name, weight_of(layer).contiguous())
        layer.register_forward_hook(partial(instead, multiply))
    return model


@torch.no_grad()
def instead(multiply, layer, given, _):
    """What a layer hands on, with another product."""
    (x,) = given
    return multiply(x.flatten(0, -2)).reshape(*x.shape[:-1], -1) + layer.bias


def rough(name, weight):
    """One scale for all activations and one for all weights."""
    held = quantize(weight, "int8", "tensor")
    return lambda x: int8_product(x, held, "tensor")


def fine(name, weight):
    """A scale for each token, and one for each output."""
    held = quantize(weight, "int8")
    return lambda x: int8_product(x, held)


def mixed(name, weight):
    """LLM.int8(): the same, but for outliers from 6 on."""
    held = quantize(weight, "int8")
    return lambda x: llm_int8(x, held)


def smoothed(product, largest, chosen, strength=0.5):
    """SmoothQuant before a product, in the layers chosen by name."""

    def smooth(name, weight):
        if not chosen(name):
            return product(name, weight)
        scale = smoothing(largest[name], weight, strength)
        multiply = product(name, weight * scale)
        return lambda x: multiply(x / scale)

    return smooth


def largest(subject, show):
    """The largest magnitude of each input of each layer."""
    model = subject.model
    read = inputs_of(subject.layers(model), partial(show, model))
    return {name: x.abs().amax(0) for name, x in read.items()}
