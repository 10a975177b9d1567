"""Gradients written by hand: right once, and an error the second time.

A backward pass that computes with numbers outside autograd leaves a constant
behind. Whoever differentiates it again would get a zero without a word, and
torch's `once_differentiable` says nothing either where the gradient that
arrives is a constant, as it is below a sum.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor


class Once(torch.autograd.Function):
    """The same tensor, with a gradient that refuses to be taken."""

    @staticmethod
    def forward(ctx, x: Tensor, trigger: Tensor, name: str) -> Tensor:
        """x, as if it depended on the trigger."""
        ctx.name = name
        return x.view_as(x)

    @staticmethod
    def backward(ctx, *_):
        """Raise `RuntimeError`."""
        raise RuntimeError(
            f"{ctx.name}: got a second derivative to take, expected one: its "
            "gradient is written by hand; use plain attention or layers there"
        )


def once(backward: Callable) -> Callable:
    """Let a `backward` compute as it likes; differentiating it again fails."""
    name = backward.__qualname__.split(".")[0]

    @functools.wraps(backward)
    def wrapper(ctx, *grads):
        with torch.no_grad():
            found = backward(ctx, *grads)
        if not torch.is_grad_enabled():
            return found
        trigger = torch.zeros((), requires_grad=True)
        parts = found if isinstance(found, tuple) else (found,)
        marked = tuple(
            Once.apply(x, trigger, name) if isinstance(x, Tensor) else x
            for x in parts
        )
        return marked if isinstance(found, tuple) else marked[0]

    return wrapper
