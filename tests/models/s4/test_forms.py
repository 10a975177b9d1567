"""Recurrence, convolution and transform: one map, to the last digits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmnotes.models.s4 import (
    convolve,
    convolve_direct,
    crossing,
    direct_flops,
    fft_flops,
    kernel,
    recurrence,
    zoh,
)
from tests.models.s4.naive import wrapped
from tests.models.s4.test_space import space


@pytest.mark.parametrize("length", [1, 2, 7, 64, 101])
def test_a_recurrence_is_a_convolution(length):
    a, b, c = space()
    step = zoh(a, b, 0.1)
    x = torch.randn(3, length, dtype=torch.float64)
    slow, _ = recurrence(*step, c, x)
    taps = kernel(*step, c, length)
    assert (convolve(x, taps) - slow).abs().max() < 1e-12
    direct = convolve_direct(x[:, None], taps[None])[:, 0]
    assert (direct - slow).abs().max() < 1e-12


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
def test_any_lengths_convolve_as_numpys(length, taps, seed):
    rng = np.random.default_rng(seed)
    x, k = rng.normal(size=length), rng.normal(size=taps)
    found = convolve(torch.tensor(x), torch.tensor(k)).numpy()
    np.testing.assert_allclose(found, np.convolve(x, k)[:length], atol=1e-12)


def test_a_state_can_be_handed_over():
    a, b, c = space()
    step = zoh(a, b, 0.1)
    x = torch.randn(2, 11, dtype=torch.float64)
    whole, last = recurrence(*step, c, x)
    first, h = recurrence(*step, c, x[:, :4])
    second, h = recurrence(*step, c, x[:, 4:], h)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(h, last)


def test_without_zeros_the_newest_acts_on_the_oldest():
    x = torch.tensor([0.0, 0, 0, 1])
    taps = torch.tensor([0.0, 1, 0, 0])  # what was one step ago
    torch.testing.assert_close(convolve(x, taps), torch.zeros(4))
    torch.testing.assert_close(wrapped(x, taps), torch.eye(4)[0])


def test_no_output_hears_of_the_future():
    x = torch.randn(9, dtype=torch.float64).requires_grad_()
    taps = torch.randn(9, dtype=torch.float64)
    for t in range(9):
        (grad,) = torch.autograd.grad(convolve(x, taps)[t], x)
        assert (grad[t + 1 :].abs() < 1e-14).all()
        torch.testing.assert_close(grad[: t + 1], taps[: t + 1].flip(0))


def test_gradients_equal_finite_differences():
    x = torch.randn(2, 7, dtype=torch.float64, requires_grad=True)
    taps = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(convolve, (x, taps))
    a, b, c = (t.requires_grad_() for t in space())
    assert torch.autograd.gradcheck(
        lambda a, b, c, x: recurrence(*zoh(a, b, 0.3), c, x)[0], (a, b, c, x)
    )


def test_operations_by_hand():
    assert direct_flops(4) == 2 * (1 + 2 + 3 + 4)
    assert fft_flops(4) == 3 * 2.5 * 8 * 3 + 6 * 5
    assert fft_flops(3) == fft_flops(4)  # both have room in 8 places
    assert fft_flops(1) == 6
    assert fft_flops(crossing()) < direct_flops(crossing())
    assert fft_flops(crossing() - 1) >= direct_flops(crossing() - 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda a, b, c: kernel(a, b, c, 0),
            "length: got 0, expected at least 1",
        ),
        (
            lambda a, b, c: recurrence(a, b, c[:4], torch.ones(2, 3).double()),
            "c: got state 4, expected a's 5",
        ),
        (
            lambda a, b, c: recurrence(
                a, b, c, torch.ones(2, 3).double(), torch.ones(1, 5).double()
            ),
            "start: got batch 1, expected x's 2",
        ),
        (
            lambda a, b, c: convolve(
                torch.ones(3).half(), torch.ones(3).half()
            ),
            "x: got torch.float16, expected float32 or float64",
        ),
        (
            lambda a, b, c: convolve(torch.ones(2, 3), torch.ones(4, 5)),
            "kernel: got shape (4, 5), expected one that broadcasts with x's "
            "(2, 3), but for the last axis",
        ),
        (
            lambda a, b, c: convolve(torch.ones(3), torch.ones(3).double()),
            "kernel: got dtype torch.float64, expected x's torch.float32",
        ),
        (
            lambda a, b, c: recurrence(
                a.half(), b.half(), c.half(), torch.ones(2, 3).half()
            ),
            "x: got torch.float16, expected float32 or float64",
        ),
        (
            lambda a, b, c: kernel(
                a.bfloat16(), b.bfloat16(), c.bfloat16(), 3
            ),
            "a: got torch.bfloat16, expected float32 or float64",
        ),
        (
            lambda a, b, c: convolve_direct(
                torch.ones(2, 3, 4).half(), torch.ones(3, 4).half()
            ),
            "x: got torch.float16, expected float32 or float64",
        ),
        (
            lambda a, b, c: convolve_direct(
                torch.ones(2, 3, 4), torch.ones(3, 5)
            ),
            "kernel: got length 5, expected x's 4",
        ),
        (lambda a, b, c: direct_flops(0), "length: got 0, expected at least"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError) as error:
        call(*space())
    assert str(error.value).startswith(message)
