"""How long each sequence of a padded batch is: one rule for every model.

lengths = a list, tuple, array or tensor of whole numbers, one per sequence,
          each from 1 to the length of the batch
"""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from llmnotes.checks import check_within

Lengths = Any  # what `read_lengths` takes


def integers(dtype: torch.dtype) -> bool:
    """Whether a tensor of that dtype holds whole numbers."""
    others = dtype.is_floating_point, dtype.is_complex, dtype == torch.bool
    return not any(others)


def read_lengths(**named: Tensor | Lengths) -> Int[Tensor, "batch"]:
    """Return what is called second as int64 on the device of the first.

    `read_lengths(x=x, lengths=lengths)`: the axes of x begin with (batch,
    length). Raises `ValueError`, with these names, for anything but one
    length for each sequence of x.
    """
    (owner, batch), (name, given) = named.items()
    rows, longest = batch.shape[:2]
    try:
        lengths = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"{name}: got {given!r}, expected {rows} whole numbers"
        ) from None
    shape = tuple(lengths.shape)
    if len(shape) != 1:
        raise ValueError(f"{name}: got shape {shape}, expected (batch,)")
    if shape[0] != rows:
        raise ValueError(
            f"{name}: got batch {shape[0]}, expected {owner}'s {rows}"
        )
    if not integers(lengths.dtype):
        raise ValueError(
            f"{name}: got {lengths.dtype}, expected an integer dtype"
        )
    lengths = lengths.to(batch.device, torch.int64)
    check_within(1, longest, **{name: lengths})
    return lengths
