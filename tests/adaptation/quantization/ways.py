"""Ways to write the matrices of a model in fewer bits.

rounded    = every matrix by `quantize`, on its own
calibrated = block by block: what a block reads comes from those before it,
             which have been quantized already
"""

from functools import partial

import torch

from llmnotes.adaptation.quantization.awq import awq
from llmnotes.adaptation.quantization.calibration import inputs_of
from llmnotes.adaptation.quantization.gptq import gptq
from llmnotes.adaptation.quantization.kinds import quantize
from tests.adaptation.quantization.subjects import put, weight_of

SUPER = {"q4_k", "q6_k"}  # formats of 256 weights, more than our rows have


def rounded(subject, kind, group=None):
    """A model whose matrices are rounded, and bits per weight."""
    model, size, count = subject.copy(), 0, 0
    for layer in subject.layers(model).values():
        weight = weight_of(layer)
        whole = weight.reshape(-1, 256) if kind in SUPER else weight
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


def by_awq(kind, group):
    """AWQ as a way; its scales count as 16 bits for each input."""

    def way(weight, inputs):
        found = awq(weight, inputs, kind, group)
        return found.dequantize(), found.quantized.nbytes + 2 * weight.shape[1]

    return way


def no_grad(f):
    """Run without gradients."""
    return torch.no_grad()(f)
