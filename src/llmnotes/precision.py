"""In which type to compute: float32 at least, also under autocast.

Sums of many products need more bits than their terms. A product of two
float16 matrices is infinite beyond 65,504, and a softmax of bfloat16 scores
knows three digits of each.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """A tensor in the type we compute in: float32, or float64 if it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def autocasts(x: Tensor) -> bool:
    """Whether autocast is on where x is and takes its type."""
    kind = x.device.type
    if x.dtype == torch.float64 or kind == "meta":
        return False
    return torch.is_autocast_enabled(kind)


@contextmanager
def without_autocast(x: Tensor) -> Iterator[torch.dtype]:
    """Compute as written, and say of which type the result should be."""
    if autocasts(x):
        with torch.autocast(x.device.type, enabled=False):
            yield torch.get_autocast_dtype(x.device.type)
    else:
        yield x.dtype
