"""What the forward mode chapter claims, proved."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmnotes.foundations.autograd import Tensor, gradients
from llmnotes.foundations.forward_mode import (
    Dual,
    derivatives,
    grad,
    hvp,
    jacfwd,
    jacrev,
    jvp,
)
from tests.foundations.autograd.expressions import programs, run


def random_arrays(*shapes, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def as_torch(arrays):
    return tuple(torch.tensor(x) for x in arrays)


def assert_jvp_equals_torch(function, arrays, seed=1):
    moves = random_arrays(*(x.shape for x in arrays), seed=seed)
    value, moved = jvp(function, arrays, moves)
    expected, wanted = torch.func.jvp(
        function, as_torch(arrays), as_torch(moves)
    )
    np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(moved, wanted, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(programs, st.integers(0, 2**32 - 1))
def test_random_programs_equal_torch(program, seed):
    shapes, steps = program
    assert_jvp_equals_torch(
        lambda *leaves: run(steps, leaves), random_arrays(*shapes, seed=seed)
    )


@settings(deadline=None, max_examples=30)
@given(programs, st.integers(0, 2**32 - 1))
def test_forward_and_reverse_give_the_same_number(program, seed):
    """Push ẋ forward, or pull 1 back and multiply: ḡ·ẋ both times."""
    shapes, steps = program
    arrays = random_arrays(*shapes, seed=seed)
    moves = random_arrays(*shapes, seed=seed + 1)
    moved = jvp(lambda *leaves: run(steps, leaves), arrays, moves)[1]
    leaves = [Tensor(x) for x in arrays]
    found = gradients(run(steps, leaves), leaves)
    pairs = zip(found, moves, strict=True)
    assert moved == pytest.approx(
        sum((g * t).sum() for g, t in pairs), rel=1e-9, abs=1e-11
    )


TWO = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "constants": lambda x, y: 2.5 - x + 3.0 / y + (1.5 + x) * (2.0 * y),
    "power": lambda x, y: (x * x + 0.1) ** y,
    "powers": lambda x, y: x**2 + y**3 + x**1 + y**0,
    "constant power": lambda x, y: 2.0**x * 0.5**y,
    "log": lambda x, y: (x * x * y * y).log(),
    "tanh": lambda x, y: (x * y).tanh().exp(),
    "relu": lambda x, y: (x * y).relu(),
    "softmax": lambda x, y: (x * y).softmax(-2) * x.log_softmax(-1),
}
SHAPES = {
    "equal": [(5, 3), (5, 3)],
    "row": [(5, 3), (3,)],
    "column": [(5, 3), (5, 1)],
    "both grow": [(5, 1), (1, 3)],
    "new axes": [(3, 2), (4, 5, 1, 2)],
}


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("name", TWO)
def test_operators_and_functions_equal_torch(name, shapes):
    assert_jvp_equals_torch(TWO[name], random_arrays(*shapes))


@pytest.mark.parametrize(
    "shapes",
    [
        [(3, 4), (4, 5)],
        [(2, 3, 4), (4, 5)],
        [(7, 1, 3, 4), (2, 4, 5)],
        [(4,), (4,)],
        [(4,), (2, 4, 5)],
        [(2, 3, 4), (4,)],
    ],
    ids=str,
)
def test_matrix_products_equal_torch(shapes):
    assert_jvp_equals_torch(lambda x, y: x @ y, random_arrays(*shapes))


def test_numpys_own_functions_equal_torchs():
    def ours(x, y):
        z = np.sin(x) * np.cos(y) + np.sqrt(x * x) + np.maximum(x, y)
        z = np.where(x > y, z, y) + np.where(y > 0, 1.0, z)
        z = np.concatenate([np.stack([z, y]), np.zeros((1, 5))])
        z = np.sum(np.reshape(np.expand_dims(z, 0), (3, 5)), axis=0)
        return z + np.maximum(y, 2 * x)

    def theirs(x, y):
        z = x.sin() * y.cos() + (x * x).sqrt() + torch.maximum(x, y)
        z = torch.where(x > y, z, y) + torch.where(y > 0, 1.0, z)
        z = torch.cat([torch.stack([z, y]), torch.zeros(1, 5)])
        return z.reshape(1, 3, 5)[0].sum(0) + torch.maximum(y, 2 * x)

    arrays, moves = random_arrays((5,), (5,)), random_arrays((5,), (5,))[::-1]
    value, moved = jvp(ours, arrays, moves)
    expected, wanted = torch.func.jvp(
        theirs, as_torch(arrays), as_torch(moves)
    )
    np.testing.assert_allclose(value, expected)
    np.testing.assert_allclose(moved, wanted)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [0, -1, (0, 2)])
def test_reductions_equal_torch(axis, keepdims):
    (x,) = random_arrays((3, 5, 2))
    kept = {"axis": axis, "keepdims": keepdims}
    assert_jvp_equals_torch(lambda a: a.sum(**kept) * a.mean(**kept), [x])
    assert_jvp_equals_torch(
        lambda a: (
            a.amax(axis, keepdims)
            if isinstance(a, torch.Tensor)
            else a.max(**kept)
        ),
        [x],
    )


def network(x):
    """Five numbers in, three out; matrices with fixed random numbers."""
    return (x @ INTO).tanh() @ OUT_OF


INTO, OUT_OF = random_arrays((5, 7), (7, 3), seed=3)


def torch_network(x):
    return (x @ torch.tensor(INTO)).tanh() @ torch.tensor(OUT_OF)


@pytest.mark.parametrize("shape", [(5,), (2, 5), (4, 1, 5)])
def test_jacobians_equal_torch(shape):
    (x,) = random_arrays(shape)
    (y,) = as_torch([x])
    wanted = torch.func.jacfwd(torch_network)(y).numpy()
    assert wanted.shape == (*shape[:-1], 3, *shape)
    for jacobian in (jacfwd, jacrev):
        found = jacobian(network)(x)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_finite_differences_agree():
    x, v = random_arrays((5,), (5,))
    step = 1e-6
    rise = network(Tensor(x + step * v)).data
    rise = rise - network(Tensor(x - step * v)).data
    np.testing.assert_allclose(
        jvp(network, [x], [v])[1], rise / (2 * step), atol=1e-8
    )


def test_by_hand_a_square_moves_by_six():
    # (3 + ε)² = 9 + 6ε + ε², and ε² = 0.
    x = Dual(3.0, 1.0)
    square = x * x
    assert (square.primal, square.tangent) == (9, 6)
    # The page's expression: relu of (6, -6), squared and summed.
    w = np.array([[1.0, -1.0], [2.0, -3.0]])
    value, moved = jvp(
        lambda x: ((x @ w + 1.0).relu() ** 2).sum(),
        [np.array([1.0, 2.0])],
        [np.array([1.0, 0.0])],
    )
    assert (value, moved) == (36, 12)


def bowl(x):
    """One number from five, with a Hessian that depends on where one is."""
    return (network(x).log_softmax() * x[..., :3] ** 2).sum()


def torch_bowl(x):
    return (torch_network(x).log_softmax(-1) * x[..., :3] ** 2).sum()


def test_hessian_times_vector_equals_torch():
    x, v = random_arrays((2, 5), (2, 5))
    y, w = as_torch([x, v])
    wanted = torch.func.jvp(torch.func.grad(torch_bowl), (y,), (w,))[1]
    np.testing.assert_allclose(hvp(bowl, x, v), wanted, atol=1e-12)
    np.testing.assert_allclose(
        hvp(bowl, x, v),
        torch.autograd.functional.hvp(torch_bowl, y, w)[1],
        atol=1e-12,
    )


def test_forward_over_reverse_equals_forward_over_forward():
    (x,) = random_arrays((5,))
    wanted = torch.func.hessian(torch_bowl)(torch.tensor(x)).numpy()
    assert np.abs(wanted - wanted.T).max() < 1e-14
    for hessian in (jacfwd(grad(bowl)), jacfwd(jacfwd(bowl))):
        np.testing.assert_allclose(hessian(x), wanted, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(programs, st.integers(0, 2**32 - 1))
def test_hessians_of_random_programs_are_symmetric(program, seed):
    """u·(Hv) = v·(Hu), whatever the graph."""
    shapes, steps = program
    x, *others = random_arrays(*shapes, seed=seed)
    u, v = random_arrays(x.shape, x.shape, seed=seed + 1)

    def function(x):
        return run(steps, [x, *map(Tensor, others)])

    ways = [(a * hvp(function, x, b)).sum() for a, b in [(u, v), (v, u)]]
    assert ways[0] == pytest.approx(ways[1], rel=1e-7, abs=1e-9)


# -- Mistakes ----------------------------------------------------------------


def confused(primal):
    """d/dx of x · d/dy (x + y), both by `jvp`; y is one."""
    one = np.array(1.0)
    return jvp(
        lambda x: x * jvp(lambda y: x + y, [one], [one])[1], [primal], [one]
    )[1]


def test_two_directions_are_not_confused(monkeypatch):
    """x · 1 has slope 1; one ε for both makes it 2."""
    assert confused(np.array(1.0)) == 1
    monkeypatch.setattr(derivatives, "LEVELS", itertools.repeat(1))
    assert confused(np.array(1.0)) == 2


def test_a_constant_stands_still_at_every_level():
    one = np.array(1.0)
    # d/dx [x² · d/dy (x·y)] = d/dx x³ = 3 at 1; the inner result moves too.
    found = jvp(
        lambda x: x * x * jvp(lambda y: x * y, [one], [one])[1], [one], [one]
    )
    assert found == (1, 3)


def test_a_gradient_moves_where_the_value_stands_still():
    """The row of w is a constant of x; what is pulled back to it is not."""
    w, x = Tensor(np.array([3.0, 5.0])), np.array([2.0])
    assert hvp(lambda x: (x * x * w[0]).sum(), x, np.ones(1)).tolist() == [6]


def test_a_bias_alone_moves_all_its_copies():
    x = np.ones((3, 2))
    value, moved = jvp(lambda b: x + b, [np.zeros(2)], [np.array([1.0, 5.0])])
    assert moved.tolist() == [[1, 5]] * 3


def test_the_slope_at_the_kink_of_relu_is_zero_in_both_modes():
    x = np.array([0.0, 2.0])
    assert jvp(lambda x: x.relu(), [x], [np.ones(2)])[1].tolist() == [0, 1]
    assert grad(lambda x: x.relu().sum())(x).tolist() == [0, 1]


def test_a_result_that_does_not_depend_on_x_stands_still():
    x = np.array([1.0, 2.0])
    value, moved = jvp(lambda x: np.ones(3), [x], [x])
    assert value.tolist() == [1, 1, 1] and moved.tolist() == [0, 0, 0]
    assert hvp(lambda x: x.sum(), x, x).tolist() == [0, 0]


def test_equals_share_the_motion():
    x, t = np.array([2.0, 2.0, 1.0]), np.array([1.0, 3.0, 9.0])
    assert jvp(lambda x: x.max(), [x], [t]) == (2, 2)


# -- What a user may rely on ---------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_dtype_is_kept(dtype):
    x, v = random_arrays((2, 5), (2, 5), dtype=dtype)
    weight = INTO.astype(dtype)

    def function(x):
        y = (2.0 * x @ weight).tanh().max(0) ** 2 / 3.0
        return (1.0 - y).relu().softmax().log()

    value, moved = jvp(function, [x], [v])
    assert (value.dtype, moved.dtype) == (dtype, dtype)
    assert jacfwd(function)(x).dtype == dtype
    assert hvp(lambda x: function(x).sum(), x, v).dtype == dtype


REFUSED = {
    "tangents: got 1, expected one for each of 2 primals": (
        [np.ones(2), np.ones(2)],
        [np.ones(2)],
    ),
    "tangents[1]: got shape (3,), expected that of primals[1], (2,)": (
        [np.ones(2), np.ones(2)],
        [np.ones(2), np.ones(3)],
    ),
    "primals[0]: got int64, expected a float dtype": (
        [np.arange(2)],
        [np.ones(2)],
    ),
}


@pytest.mark.parametrize(("message", "arguments"), REFUSED.items())
def test_what_does_not_fit_is_named(message, arguments):
    with pytest.raises(ValueError) as error:
        jvp(lambda *x: x[0], *arguments)
    assert str(error.value) == message


def test_a_function_without_a_rule_is_refused():
    with pytest.raises(TypeError, match="arctan"):
        jvp(np.arctan, [np.ones(2)], [np.ones(2)])
    with pytest.raises(TypeError, match="sort"):
        jvp(np.sort, [np.ones(2)], [np.ones(2)])
