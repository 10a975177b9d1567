"""A recurrent layer under `torch.autocast`: its loop does not join in.

A loop repeats its rounding at every step. Of a gate that keeps 0.999 of a
memory, bfloat16 makes 1, and nothing is ever forgotten.
"""

import torch
from torch import Tensor, nn

from llmnotes.precision import cast


def in_weights_dtype(
    model: nn.Module, x: Tensor, state, lengths
) -> tuple[Tensor, Tensor | tuple[Tensor, ...]]:
    """Run a Recurrent in the dtype of its weights, and answer in x's."""
    dtype = model.weight_ih_l0.dtype
    with torch.autocast(x.device.type, enabled=False):
        found = model.forward(cast(x, dtype), cast(state, dtype), lengths)
    return cast(found, x.dtype)
