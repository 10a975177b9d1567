"""An adapter beside a GPT in fewer and fewer bits, and four ways to merge.

base  = the GPT that has read Python's reference, its matrices quantized
new   = the loss on Shakespeare after the adapter has learned it
rank 4 beside all matrices, at the rate that was best beside float32
"""

import copy

import torch

from llmnotes import train
from llmnotes.adaptation.lora import add_lora
from llmnotes.adaptation.lora.attach import linear_layers
from llmnotes.adaptation.lora.model import is_transposed, matrix
from llmnotes.adaptation.qlora import (
    DoubleNF4,
    NF4Linear,
    into_dequantized,
    into_original,
    merge_by,
    original_quantized,
    requantized,
    to_nf4,
)
from llmnotes.adaptation.quantization import quantize
from tests.adaptation.lora.text_runs import config_of, losses
from tests.base_model import AFTER, base, ids

RANK, RATE = 4, 2e-2
DOUBLE = "NF4, double"
BASES = {
    "float32": lambda weight: weight,
    "NF4": lambda weight: quantize(weight, "nf4").dequantize(),
    DOUBLE: lambda weight: DoubleNF4.encode(weight).dequantize(),
    "int3": lambda weight: quantize(weight, "int3", 64).dequantize(),
    "int2": lambda weight: quantize(weight, "int2", 64).dequantize(),
}
WAYS = into_dequantized, into_original, requantized, original_quantized


def base_in(name):
    """The GPT with what the codes of its matrices stand for."""
    model = base()
    with torch.no_grad():
        for layer in linear_layers(model).values():
            found = BASES[name](matrix(layer).contiguous())
            matrix(layer).copy_(found)
    return model


def learned(model, seed):
    """The model, after an adapter beside it has read Shakespeare."""
    torch.manual_seed(seed)
    add_lora(model, RANK, RANK)
    text, _ = ids(AFTER)
    config = config_of(RATE, seed)
    task = train.LanguageModelling(text, text[:100], config)
    train.fit(model, task, config, progress=False)
    return model, config


def adapted(name, seed):
    """[old loss before, new loss and old loss after] of a base."""
    model = base_in(name)
    before = losses(model.eval(), config_of(RATE, seed))[1]
    model, config = learned(model, seed)
    return [before, *losses(model.eval(), config)]


def merged(seed):
    """New losses of an adapter beside NF4, and of each way to merge it."""
    original = base()
    model, config = learned(base_in(DOUBLE), seed)
    quick = to_nf4(base())
    layers = {n: m for n, m in quick.named_modules()
              if isinstance(m, NF4Linear)}  # fmt: skip
    for path, layer in layers.items():  # the adapters move to real codes
        beside = model.get_submodule(path)
        assert torch.equal(matrix(beside.base), layer.weight)
        beside.base = layer
    assert not any(is_transposed(m) for m in layers.values())
    found = [losses(model.eval(), config)[0]]
    for way in WAYS:
        done = merge_by(way, copy.deepcopy(model), original)
        found.append(losses(done.eval(), config)[0])
    return found
