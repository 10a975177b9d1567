"""One recurrence in four orders, with resets, and without overflow."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmnotes.models.s4 import (
    chunked,
    combine,
    legs,
    loop,
    products,
    restarted,
    rounds,
    zoh,
)
from llmnotes.sequence.rnn.linear import linear_scan
from tests.models.s4.naive import divided

BATCH, WIDTH = 2, 3


def inputs(length, dtype=torch.float64, seed=0):
    """Keep, somewhere inside the unit circle, and what is added."""
    torch.manual_seed(seed)
    shape = BATCH, length, WIDTH
    keep = torch.rand(shape, dtype=torch.float64) * 0.9 + 0.05
    if dtype.is_complex:
        keep = torch.polar(keep, 6 * torch.rand(shape).double())
    return keep, torch.randn(shape, dtype=dtype)


def divisors(n):
    return [d for d in range(1, n + 1) if n % d == 0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("length", [1, 2, 3, 8, 13, 60, 65])
def test_every_order_equals_the_loop(length, dtype):
    keep, add = inputs(length, dtype)
    slow = loop(keep, add)
    assert (rounds(keep, add) - slow).abs().max() < 1e-12
    for chunk in divisors(length):
        assert (chunked(keep, add, chunk) - slow).abs().max() < 1e-12
        log = products(keep.log(), add, chunk)
        assert (log - slow).abs().max() < 1e-12
    if not dtype.is_complex:
        assert (linear_scan(keep, add) - slow).abs().max() < 1e-12


def test_three_steps_by_hand():
    keep = torch.tensor([[[0.5], [0.5], [0.25]]])
    add = torch.tensor([[[8.0], [2.0], [1.0]]])
    expected = [8.0, 6.0, 2.5]
    assert loop(keep, add).flatten().tolist() == expected
    assert rounds(keep, add).flatten().tolist() == expected
    assert chunked(keep, add, 3).flatten().tolist() == expected


def test_a_dense_recurrence_is_its_scan_after_a_change_of_basis():
    a, b = legs(4)
    step = zoh(a, b, 0.3)
    values, vectors = torch.linalg.eig(step.a)
    x = torch.randn(1, 9, dtype=torch.float64)
    b_there = torch.linalg.solve(vectors, step.b.to(vectors.dtype))
    add = x[..., None] * b_there
    h = rounds(values.expand_as(add), add) @ vectors.T
    state = torch.zeros(4).double()
    for t in range(9):
        state = step.a @ state + step.b * x[0, t]
        torch.testing.assert_close(h[0, t].real, state)


NUMBERS = st.floats(-2, 2, allow_subnormal=False)
STEPS = st.tuples(NUMBERS, NUMBERS)


@given(STEPS, STEPS, STEPS)
def test_combining_is_associative(one, two, three):
    left = combine(combine(one, two), three)
    right = combine(one, combine(two, three))
    assert left == pytest.approx(right, abs=1e-12)


def test_combining_is_not_commutative():
    assert combine((0.5, 1.0), (2.0, 0.0)) == (1.0, 2.0)
    assert combine((2.0, 0.0), (0.5, 1.0)) == (1.0, 1.0)


@settings(max_examples=30)
@given(
    st.integers(1, 12).flatmap(
        lambda n: st.lists(st.booleans(), min_size=n, max_size=n)
    )
)
def test_sequences_of_one_row_do_not_hear_of_each_other(begins):
    length = len(begins)
    keep, add = inputs(length)
    first = torch.tensor(begins).expand(BATCH, length)
    held = restarted(keep, first)
    starts = [0, *(t for t in range(1, length) if begins[t]), length]
    alone = torch.cat(
        [
            loop(keep[:, i:j], add[:, i:j])
            for i, j in zip(starts, starts[1:], strict=False)
            if j > i
        ],
        dim=1,
    )
    torch.testing.assert_close(loop(held, add), alone)
    torch.testing.assert_close(rounds(held, add), alone)
    for chunk in divisors(length):
        torch.testing.assert_close(chunked(held, add, chunk), alone)
        torch.testing.assert_close(products(held.log(), add, chunk), alone)


ORDERS = {
    "loop": loop,
    "rounds": rounds,
    "chunked": lambda keep, add: chunked(keep, add, 3),
    "products": lambda keep, add: products(keep.log(), add, 3),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("order", ORDERS)
def test_gradients_equal_finite_differences(order, dtype):
    keep, add = (t[:1, :, :2].clone() for t in inputs(6, dtype))
    both = keep.requires_grad_(), add.requires_grad_()
    assert torch.autograd.gradcheck(ORDERS[order], both)


def test_gradients_of_a_restart_are_finite():
    keep, add = inputs(6)
    first = torch.zeros(BATCH, 6, dtype=torch.bool)
    first[:, 3] = True
    log_keep = keep.log().masked_fill(first[..., None], -math.inf)
    log_keep.requires_grad_()
    add.requires_grad_()
    found = torch.autograd.grad(products(log_keep, add, 3).sum(), add)
    held = torch.autograd.grad(loop(restarted(keep, first), add).sum(), add)
    torch.testing.assert_close(found, held)


def test_the_naive_scan_overflows_and_ours_does_not():
    torch.manual_seed(0)
    log_keep = torch.full((1, 256, 1), -0.5)
    add = torch.randn(1, 256, 1)
    exact = loop(log_keep.double().exp(), add.double())
    naive = divided(log_keep, add)
    assert not naive[:, :100].isnan().any()  # it looks right at first
    assert naive.isnan().any()
    for chunk in (16, 256):
        found = products(log_keep, add, chunk)
        torch.testing.assert_close(found, exact.float())
    log_keep.requires_grad_()
    products(log_keep, add, 256).sum().backward()
    assert log_keep.grad.isfinite().all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda k, a: chunked(k, a, 4),
            "chunk: got 4, expected a divisor of length = 6",
        ),
        (
            lambda k, a: products(k, a, 0),
            "chunk: got 0, expected a divisor of length = 6",
        ),
        (
            lambda k, a: rounds(k[:, :5], a),
            "add: got length 6, expected keep's 5",
        ),
        (
            lambda k, a: loop(k.half(), a.half()),
            "keep: got torch.float16, expected float32 or float64",
        ),
        (
            lambda k, a: rounds(k, a.bfloat16()),
            "add: got torch.bfloat16, expected float32 or float64",
        ),
        (lambda k, a: loop(k[:, :0], a[:, :0]), "keep: got shape (2, 0, 3)"),
        (
            lambda k, a: restarted(k, torch.zeros(2, 5, dtype=torch.bool)),
            "first: got length 5, expected keep's 6",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError) as error:
        call(*inputs(6))
    assert str(error.value).startswith(message)
