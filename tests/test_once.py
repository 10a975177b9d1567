"""A gradient by hand can be taken once; the second time says so."""

import pytest
import torch
from torch.autograd.function import once_differentiable

from llmnotes.once import once


def square(decorator):
    """x², with a gradient that autograd did not see being computed."""

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, note):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @decorator
        def backward(ctx, grad):
            return 2 * ctx.saved_tensors[0] * grad, None

    return lambda x: Square.apply(x, "a note")


def penalty(function, x):
    """What a gradient penalty does: a loss made of a gradient."""
    (slope,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
    return (function(x) + slope**2).sum()


def test_once_it_is_right():
    x = torch.tensor([1.0, -3.0], requires_grad=True)
    square(once)(x).sum().backward()
    assert x.grad.tolist() == [2, -6]
    slope = torch.autograd.grad(square(once)(x).sum(), x, create_graph=True)
    assert slope[0].tolist() == [2, -6]


def test_the_second_time_it_names_the_function():
    x = torch.tensor([1.0, -3.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="got a second derivative to take"):
        penalty(square(once), x).backward()


def test_torchs_own_mark_is_silent_below_a_sum():
    """The reason for this module: 2x + 8x is right, and it says 2x."""
    x = torch.tensor([1.0, -3.0], requires_grad=True)
    penalty(square(once_differentiable), x).backward()
    assert x.grad.tolist() == [2, -6]
    x.grad = None
    penalty(torch.square, x).backward()
    assert x.grad.tolist() == [10, -30]
