"""In which type to compute: float32 where sums begin, also under autocast.

autocast  = products run in 16 bits, whatever their inputs; sums do not
by hand   = an autograd function with a `backward` of its own

Such a function keeps tensors for its way back and has to find them there in
the dtypes that it expects, also where only one of the two ways runs under
autocast. So autocast is off inside of it: it computes in the widest dtype
that it is given, and autograd turns its gradients into the inputs' dtypes.

Sums of many products need more bits than their terms: a product of two
float16 matrices is infinite beyond 65,504, and a softmax of bfloat16 scores
knows three digits of each. So attention is `wide` inside, and `as_written`.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def autocasting(x: Tensor) -> bool:
    """Whether products of tensors like x run in 16 bits here."""
    kind = x.device.type
    available = torch.amp.is_autocast_available(kind)
    return available and torch.is_autocast_enabled(kind)


def autocasts(x: Tensor) -> bool:
    """Whether autocast is on where x is and takes its type."""
    return x.dtype != torch.float64 and autocasting(x)


def wide(x: Tensor) -> Tensor:
    """A tensor in the type we compute in: float32, or float64 if it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@contextmanager
def as_written(x: Tensor) -> Iterator[torch.dtype]:
    """Compute without autocast, and say of which type the result should be."""
    if autocasts(x):
        with torch.autocast(x.device.type, enabled=False):
            yield torch.get_autocast_dtype(x.device.type)
    else:
        yield x.dtype


def cast(x: object, dtype: torch.dtype) -> object:
    """Turn a float tensor, or a tuple of them, to dtype; leave the rest."""
    if isinstance(x, tuple):
        return tuple(cast(part, dtype) for part in x)
    float_tensor = isinstance(x, Tensor) and x.is_floating_point()
    return x.to(dtype) if float_tensor else x


def widest(*args) -> torch.dtype:
    """The dtype in which all float tensors of the arguments have room."""
    tensors = [x for x in args if isinstance(x, Tensor)]
    floats = [x.dtype for x in tensors if x.is_floating_point()]
    return functools.reduce(torch.promote_types, floats)


def without_autocast(way: Callable) -> Callable:
    """Decorate an autograd function's `forward` and `backward`.

    Under autocast both then compute in the widest dtype they are given.
    """

    @functools.wraps(way)
    def wrapper(ctx, *args):
        x = next(x for x in args if isinstance(x, Tensor))
        if not autocasting(x):
            return way(ctx, *args)
        with torch.autocast(x.device.type, enabled=False):
            return way(ctx, *cast(args, widest(*args)))

    return wrapper
