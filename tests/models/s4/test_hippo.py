"""What HiPPO's state is: the past, projected on Legendre's polynomials."""

import math

import numpy as np
import pytest
import torch
from numpy.polynomial import Legendre

from llmnotes.models.s4 import (
    basis,
    diagonal_inverse,
    diagonal_legs,
    diagonal_linear,
    faded,
    legs,
    normal_part,
    recall,
    remember,
)


def test_four_numbers_by_hand_and_their_eigenvalues():
    a, b = legs(4)
    expected = [
        [-1, 0, 0, 0],
        [-math.sqrt(3), -2, 0, 0],
        [-math.sqrt(5), -math.sqrt(15), -3, 0],
        [-math.sqrt(7), -math.sqrt(21), -math.sqrt(35), -4],
    ]
    torch.testing.assert_close(a, torch.tensor(expected).double())
    torch.testing.assert_close(b**2, torch.tensor([1.0, 3, 5, 7]).double())
    found = torch.linalg.eigvals(a).real.sort().values
    torch.testing.assert_close(
        found, torch.tensor([-4.0, -3, -2, -1]).double()
    )


def projected(x, state):
    """∫ x(s) g_n(s) ds by NumPy's antiderivatives; x is held in steps."""
    edges = np.linspace(-1, 1, len(x) + 1)
    out = []
    for n in range(state):
        area = Legendre.basis(n).integ()
        parts = np.diff(area(edges)) / 2
        out.append(math.sqrt(2 * n + 1) * np.dot(x.numpy(), parts))
    return torch.tensor(out)


@pytest.mark.parametrize(
    ("length", "state"), [(1, 3), (2, 5), (23, 7), (40, 33)]
)
def test_the_recurrence_keeps_exactly_the_projection(length, state):
    torch.manual_seed(0)
    x = torch.randn(length, dtype=torch.float64)
    kept = remember(x, state)
    for t in (1, length // 2 + 1, length):
        torch.testing.assert_close(kept[t - 1], projected(x[:t], state))


def test_a_polynomial_of_low_degree_is_recalled_as_it_was():
    # Held in steps it is no polynomial any more: the finer, the closer.
    errors = []
    for length in (50, 100, 200):
        s = (torch.arange(length).double() + 0.5) / length
        x = 3 * s**2 - s
        back = recall(remember(x, 5)[-1], s)
        errors.append((back - x).abs().max().item())
    assert errors[-1] < 2e-3
    assert errors[0] > 1.9 * errors[1] > 3.6 * errors[2]


def test_polynomials_have_length_1_and_are_orthogonal():
    nodes, weights = np.polynomial.legendre.leggauss(12)
    s = torch.tensor((nodes + 1) / 2)
    g = basis(6, s)
    products = g.T @ (g * torch.tensor(weights / 2)[:, None])
    torch.testing.assert_close(products, torch.eye(6).double())
    n1 = basis(1, s)
    torch.testing.assert_close(n1, torch.ones(12, 1).double())


def test_without_the_clock_the_past_is_stretched():
    a, b = legs(6)
    ages = torch.linspace(0, 3, 7, dtype=torch.float64)
    exact = [torch.linalg.matrix_exp(age * a) @ b for age in ages]
    torch.testing.assert_close(faded(6, ages), torch.stack(exact))


@pytest.mark.parametrize("state", [2, 6, 64])
def test_a_rank_of_one_makes_it_normal(state):
    part = normal_part(state)
    torch.testing.assert_close(part @ part.T, part.T @ part)
    found = torch.linalg.eigvals(part)
    torch.testing.assert_close(
        found.real, torch.full((state,), -0.5).double(), atol=1e-9, rtol=0
    )
    above = found.imag[found.imag > 0].sort().values
    torch.testing.assert_close(diagonal_legs(state).imag, above)


def test_three_diagonals_by_hand():
    half = torch.tensor(-0.5, dtype=torch.float64)
    for make, imag in (
        (diagonal_linear, [0, math.pi]),
        (diagonal_inverse, [4 / math.pi * 3, 4 / math.pi / 3]),
        (diagonal_legs, None),
    ):
        a = make(4)
        torch.testing.assert_close(a.real, half.expand(2))
        if imag:
            torch.testing.assert_close(a.imag, torch.tensor(imag).double())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: legs(0), "state: got 0, expected at least 1"),
        (
            lambda: diagonal_linear(5),
            "pair: got 2, expected a divisor of state = 5",
        ),
        (lambda: diagonal_legs(1), "state: got 1, expected at least 2"),
        (
            lambda: remember(torch.ones(3, dtype=torch.float16), 4),
            "x: got torch.float16, expected float32 or float64",
        ),
        (lambda: remember(torch.ones(0), 4), "x: got shape (0,)"),
        (lambda: remember(torch.ones(3), 0), "state: got 0, expected at"),
        (
            lambda: remember(torch.tensor([1.0, math.nan]), 4),
            "x: got nan, expected finite numbers",
        ),
        (
            lambda: basis(3, torch.arange(4)),
            "s: got torch.int64, expected a float dtype",
        ),
        (
            lambda: recall(torch.ones(3), torch.tensor([0.5, 1.5])),
            "s: got 0.5 to 1.5, expected 0 to 1",
        ),
        (
            lambda: recall(torch.ones(3).double(), torch.tensor([0.5])),
            "s: got dtype torch.float32, expected h's torch.float64",
        ),
        (
            lambda: faded(3, torch.tensor([0.0, -2.0])),
            "ages: got -2.0, expected none below 0",
        ),
        (
            lambda: faded(3, torch.tensor([0.0, math.nan])),
            "ages: got nan, expected none below 0",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)
