"""Batches of sequences of different lengths: turn them round, scan them.

lengths = steps of each sequence; what follows them in x is padding
live    = sequences that have not ended yet
time    = axis 0, the batch axis 1, as a recurrence walks it
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def clear_padding(
    x: Float[Tensor, "length batch width"], lengths: list[int]
) -> Float[Tensor, "length batch width"]:
    """Zero what follows each sequence: 0 times a stray NaN would be NaN."""
    steps = torch.arange(x.shape[0], device=x.device)[:, None]
    past = steps >= torch.tensor(lengths, device=x.device)
    return x.masked_fill(past[:, :, None], 0)


def reverse_time(
    x: Float[Tensor, "length batch width"], lengths: list[int] | None
) -> Float[Tensor, "length batch width"]:
    """Turn each sequence round within its own length."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(x.shape[0], device=x.device)[:, None]
    ends = torch.tensor(lengths, device=x.device)
    index = torch.where(steps < ends, ends - 1 - steps, steps)
    return x[index, torch.arange(x.shape[1], device=x.device)]


def scan_packed(
    scan: Callable,
    projected: Float[Tensor, "length batch gates"],
    state: tuple[Tensor, ...],
    lengths: list[int],
) -> tuple[Float[Tensor, "length batch hidden"], tuple[Tensor, ...]]:
    """Scan sequences sorted by falling length: the batch shrinks as they end.

    Between two ends the number of live sequences does not change, so each
    such stretch is one ordinary scan. Past its end a sequence yields zeros.
    """
    batch, start, outputs, ended = len(lengths), 0, [], []
    for stop in sorted(set(lengths)):
        live = sum(n >= stop for n in lengths)
        out, state = scan(projected[start:stop, :live], state)
        outputs.append(F.pad(out, (0, 0, 0, batch - live)))
        going_on = sum(n > stop for n in lengths)
        ended.insert(0, [s[going_on:] for s in state])  # shortest are last
        state = tuple(s[:going_on] for s in state)
        start = stop
    out = F.pad(torch.cat(outputs), (0, 0, 0, 0, 0, len(projected) - start))
    return out, tuple(torch.cat(parts) for parts in zip(*ended, strict=True))
