"""Duals keep their motion, and rules at 0, ∞ and NaN answer as torch's do."""

import itertools

import numpy as np
import pytest
import torch

from llmnotes.foundations.autograd import Tensor, gradients
from llmnotes.foundations.forward_mode import Dual, jvp
from llmnotes.foundations.forward_mode.dual import FUNCTIONS

pytestmark = pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
SPECIAL = [0.0, -2.0, 2.0, np.inf, -np.inf, np.nan, 1.0]
ARRIVING = [0.0, 1.0, np.inf, np.nan]


def both_modes(function, points, moves):
    """Value, ∂ along the moves, and the gradients times 1, by our engines."""
    points = [np.array(x) for x in points]
    value, moved = jvp(function, points, [np.array(t) for t in moves])
    leaves = [Tensor(x) for x in points]
    return value, moved, gradients(function(*leaves), leaves)


def torchs(function, points, moves):
    points = [torch.tensor(x, dtype=torch.float64) for x in points]
    moves = [torch.tensor(t, dtype=torch.float64) for t in moves]
    value, moved = torch.func.jvp(function, tuple(points), tuple(moves))
    leaves = [x.requires_grad_() for x in points]
    found = torch.autograd.grad(function(*leaves), leaves)
    return value.item(), moved.item(), [g.item() for g in found]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 0.5, -1, -0.5, 0.0])
def test_powers_and_their_slopes_answer_as_torchs(n):
    for x, t in itertools.product(SPECIAL, ARRIVING):
        if x == -np.inf and n % 1:
            continue  # torch takes the power 0.5 for a root, and says NaN
        ours = both_modes(lambda x: x**n, [x], [t])
        theirs = torchs(lambda x: x**n, [x], [t])
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, err_msg=f"{x}, {t}")


@pytest.mark.parametrize("x", SPECIAL)
def test_a_power_moves_with_its_exponent_as_torchs(x):
    """0·ln 0 is NaN; the slope of 0ⁿ along n ≥ 0 is 0."""
    exponents = [0.0, 1.0, 2.0, 3.0, 0.5, -1.0, -0.5, np.inf, np.nan]
    moves = [(0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0)]
    for n, move in itertools.product(exponents, moves):
        if x == -np.inf and n % 1:
            continue
        ours = both_modes(lambda x, n: x**n, [x, n], move)
        theirs = torchs(lambda x, n: x**n, [x, n], move)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, err_msg=f"{x}, {n}, {move}")


@pytest.mark.parametrize("base", [0.0, 2.0, -2.0])
def test_a_constant_to_the_x_answers_as_torchs(base):
    for n, t in itertools.product([0.0, 2.0, 0.5, -1.0], [0.0, 1.0]):
        ours = both_modes(lambda n: base**n, [n], [t])
        theirs = torchs(lambda n: base**n, [n], [t])
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, err_msg=f"{n}, {t}")


RULES = {
    "log": lambda x: x.log(),
    "exp": lambda x: x.exp(),
    "tanh": lambda x: x.tanh(),
    "relu": lambda x: x.relu(),
    "1 / x": lambda x: 1.0 / x,
    "0 / x": lambda x: 0.0 / x,
    "x / 0": lambda x: x / 0.0,
    "x / x": lambda x: x / x,
    "x · log x": lambda x: x * x.log(),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_other_rules_answer_as_torchs_at_zero_infinity_and_nan(rule):
    function = RULES[rule]
    for x, t in itertools.product(SPECIAL, ARRIVING):
        ours = both_modes(function, [x], [t])
        theirs = torchs(function, [x], [t])
        if rule == "x / x" and x == 0:
            assert np.isnan([ours[1], theirs[1], *ours[2], *theirs[2]]).all()
            continue
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, err_msg=f"{x}, {t}")


def test_the_root_answers_as_torchs():
    for x, t in itertools.product(SPECIAL, ARRIVING):
        ours = jvp(np.sqrt, [np.array(x)], [np.array(t)])
        theirs = torchs(torch.sqrt, [x], [t])[:2]
        np.testing.assert_allclose(ours, theirs, err_msg=f"{x}, {t}")


def test_division_by_zero_is_where_torchs_two_modes_differ():
    """Ours say NaN in both: 0 · ∞; torch's forward mode says −∞."""
    one, zero = np.array(1.0), np.array(0.0)
    ours = jvp(lambda x, y: x / y, [one, zero], [zero, one])[1]
    theirs = torchs(lambda x, y: x / y, [1.0, 0.0], [0.0, 1.0])
    back = np.dot(theirs[2], [0.0, 1.0])
    assert np.isnan(ours) and np.isnan(back) and theirs[1] == -np.inf


KINKS = {
    "maximum": (np.maximum, torch.maximum),
    "minimum": (np.minimum, torch.minimum),
}


@pytest.mark.parametrize("name", KINKS)
def test_of_two_equals_both_move_by_half_in_any_order(name):
    ours, theirs = KINKS[name]
    for x, y in itertools.product([0.0, 1.0, np.inf], repeat=2):
        for move in [(1.0, 0.0), (0.0, 1.0), (1.0, 3.0)]:
            moves = [np.array(t) for t in move]
            moved = jvp(ours, [np.array(x), np.array(y)], moves)[1]
            assert moved == torchs(theirs, [x, y], move)[1]
    zero, one = np.array(0.0), np.array(1.0)
    for function in (lambda x: ours(x, 0), lambda x: ours(0, x)):
        assert jvp(function, [zero], [one])[1] == 0.5


def test_numpys_abs_clip_dot_mean_and_largest_equal_torchs():
    def ours(x):
        z = np.abs(x) + np.clip(x, -1.0, 0.5) + np.mean(x, axis=0)
        z = z + np.max(x, axis=1, keepdims=True) + np.min(x, axis=0)
        return np.dot(z, x.T) * np.dot(2.0, x[0, 0])

    def theirs(x):
        z = x.abs() + x.clamp(-1.0, 0.5) + x.mean(0)
        z = z + x.amax(1, keepdim=True) + x.amin(0)
        return z @ x.T * 2.0 * x[0, 0]

    x = np.array([[0.0, -1.0, 0.5], [2.0, 2.0, -3.0]])  # edges, equals
    t = np.random.default_rng(0).standard_normal(x.shape)
    value, moved = jvp(ours, [x], [t])
    y, s = torch.tensor(x), torch.tensor(t)
    expected, wanted = torch.func.jvp(theirs, (y,), (s,))
    np.testing.assert_allclose(value, expected)
    np.testing.assert_allclose(moved, wanted)


LINEAR = {
    np.sum: ({}, {"axis": 0}, {"axis": (0, 1), "keepdims": True}),
    np.mean: ({"axis": 1}, {}),
    np.cumsum: ({"axis": 1},),
    np.trace: ({},),
    np.tril: ({},),
    np.triu: ({"k": 1},),
    np.transpose: ({"axes": (1, 0)},),
    np.flip: ({"axis": 0},),
    np.roll: ({"shift": 1},),
    np.tile: ({"reps": (2, 1)},),
    np.repeat: ({"repeats": 2, "axis": 0},),
    np.moveaxis: ({"source": 0, "destination": 1},),
    np.expand_dims: ({"axis": 1},),
}


@pytest.mark.parametrize("function", LINEAR, ids=lambda f: f.__name__)
def test_a_linear_function_does_to_the_motion_what_it_does(function):
    x, t = np.random.default_rng(0).standard_normal((2, 3, 3))
    for options in LINEAR[function]:
        value, moved = jvp(lambda x, o=options: function(x, **o), [x], [t])
        np.testing.assert_array_equal(value, function(x, **options))
        np.testing.assert_array_equal(moved, function(t, **options))


def test_what_adds_a_constant_is_not_linear_and_refused():
    """Else the motion would grow by it, too."""
    x = Dual([1.0, 2.0], [1.0, 1.0])
    for call in (
        lambda: x.sum(initial=5.0),
        lambda: np.sum(x, initial=5.0),
        lambda: np.sum(x, out=np.zeros(())),
        lambda: np.stack([x, x], dtype=int),
    ):
        with pytest.raises(TypeError, match=r"initial|out|dtype|sum|stack"):
            call()


@pytest.mark.parametrize("step", [np.floor, np.ceil, np.rint, np.sign])
def test_what_moves_in_steps_stands_still(step):
    point, one = np.array([0.3, 1.7]), np.ones(2)
    assert jvp(step, [point], [one])[1].tolist() == [0, 0]
    assert jvp(lambda x: x.astype(int), [point], [one])[1].tolist() == [0, 0]
    moved = jvp(lambda x: x.astype(int) * x, [point], [one])[1]
    assert moved.tolist() == [0, 1]


def test_a_dual_is_made_of_floats_of_one_shape():
    assert (Dual([1.0, 2.0], [1.0, 0.0]) * 3).tangent.tolist() == [3, 0]
    for message, primal, tangent in [
        ("primal: got int64, expected a float dtype", 3, 1.0),
        ("tangent: got complex128, expected a float dtype", 3.0, 1j),
        ("tangent: got shape (3,), expected that", np.ones(2), np.ones(3)),
    ]:
        with pytest.raises(ValueError) as error:
            Dual(primal, tangent)
        assert str(error.value).startswith(message)
    with pytest.raises(ValueError, match="complex"):
        jvp(lambda x: x * 1j, [np.ones(2)], [np.ones(2)])
    with pytest.raises(ValueError, match="complex"):
        jvp(lambda x: x.astype(complex), [np.ones(2)], [np.ones(2)])


def test_a_dual_is_walked_and_asked_like_an_array():
    x = Dual([1.0, 2.0], [1.0, 5.0])
    assert len(x) == 2 and sum(x).tangent == 6
    assert bool(Dual(0.0, 1.0)) is False
    for refuse in (len, list, sum, float):
        with pytest.raises(TypeError):
            refuse(x[0])


def test_a_motion_has_the_dtype_of_its_value():
    x, t = np.float32([0.5, 2.0]), np.array([1.0, 1.0])
    for function in (
        lambda x: 2.0**x,
        lambda x: np.where(x > 1, x, 1.0),
        lambda x: np.maximum(x, 1.0),
        lambda x: x**0.5,
    ):
        value, moved = jvp(function, [x], [t])
        assert value.dtype == moved.dtype == np.float32


def test_a_choice_among_scalars_and_arrays_keeps_the_shape():
    y = Dual(3.0, 1.0)
    chosen = np.where(np.array([True, False]), np.zeros(2), y)
    assert chosen.primal.tolist() == [0, 3]
    assert chosen.tangent.tolist() == [0, 1]
    condition = Dual([1.0, 0.0], [1.0, 1.0])
    assert np.where(condition, 1.0, 2.0).tolist() == [1, 2]
    assert np.where(condition, y, 2.0).tangent.tolist() == [1, 0]


def test_every_function_in_the_table_is_named_in_a_test():
    known = {*LINEAR, np.where, np.clip, np.dot, np.max, np.min}
    known |= {np.shape, np.ndim, np.size, np.ones_like, np.zeros_like}
    known |= {np.stack, np.concatenate, np.vstack, np.hstack, np.reshape}
    known |= {np.broadcast_to, np.squeeze, np.ravel, np.swapaxes, np.copy}
    assert set(FUNCTIONS) - known <= {np.amax, np.amin}
