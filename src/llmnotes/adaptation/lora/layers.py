"""Layers that take adapters beside them: what they read, hand on and hold.

weight = W₀, with a row for each output; layers in few bits hold codes
         instead, and make a weight when it is asked for, or none at all
Conv1D = GPT-2's layer, which stores the transpose of W₀
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes import weights

TRANSPOSED = "Conv1D"  # ours and Hugging Face's
HELD = {"in_features", "out_features", "weight"}


def is_linear(layer: nn.Module) -> bool:
    """Whether an adapter can be put beside this layer.

    It looks for names only: to ask for a weight may mean to make it. What
    torch.compile puts around a layer has its names, too, and is none.
    """
    if weights.bare(layer) is not layer:
        return False
    known = isinstance(layer, nn.Linear) or is_transposed(layer)
    return known or set(dir(layer)) >= HELD


def is_transposed(layer: nn.Module) -> bool:
    """Whether the layer stores (inputs, outputs)."""
    return type(layer).__name__ == TRANSPOSED


def matrix(layer: nn.Module) -> Float[Tensor, "output input"]:
    """The layer's weight with a row for each output, as nn.Linear has it."""
    weight = layer.weight
    return weight.T if is_transposed(layer) else weight


def sizes(layer: nn.Module) -> tuple[int, int]:
    """How many numbers the layer reads and hands on."""
    if is_transposed(layer):
        return tuple(layer.weight.shape)
    return layer.in_features, layer.out_features


def place(layer: nn.Module) -> torch.device:
    """The device where a layer's numbers lie."""
    tensors = [*layer.parameters(), *layer.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")


def trained_in(layer: nn.Module) -> torch.dtype:
    """The layer's dtype if it can be trained in: else float32."""
    dtypes = {p.dtype for p in layer.parameters() if p.is_floating_point()}
    return torch.float64 if dtypes == {torch.float64} else torch.float32


def is_plain(layer: nn.Module) -> bool:
    """Whether what the layer calls its weight is the matrix, not codes."""
    weight = layer.weight
    return weight.is_floating_point() and tuple(weight.shape) == stored(layer)


def stored(layer: nn.Module) -> tuple[int, int]:
    """The shape of the layer's matrix as it lies in memory."""
    inputs, outputs = sizes(layer)
    return (inputs, outputs) if is_transposed(layer) else (outputs, inputs)
