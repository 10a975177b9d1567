"""What the autograd chapter claims, proved."""

import gc
import sys
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmnotes.foundations.autograd import (
    Tensor,
    fit,
    gradients,
    stack,
    topological_order,
)
from tests.foundations.autograd.expressions import programs, run
from tests.foundations.autograd.moons import (
    ByHand,
    Ours,
    Scalars,
    Torch,
    TorchCompiled,
    TorchFunction,
    TorchModules,
)
from tests.foundations.autograd.scalar_autograd import Value


def random_arrays(*shapes, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def both(function, arrays, upstream_seed=1):
    """Value and gradients by our engine and by torch, for one upstream."""
    ours = [Tensor(x) for x in arrays]
    theirs = [torch.tensor(x, requires_grad=True) for x in arrays]
    a, b = function(*ours), function(*theirs)
    rng = np.random.default_rng(upstream_seed)
    upstream = rng.standard_normal(b.shape).astype(a.dtype)
    found = gradients(a, ours, upstream)
    expected = torch.autograd.grad(
        b, theirs, torch.tensor(upstream), materialize_grads=True
    )
    return (a.data, found), (b.detach().numpy(), [g.numpy() for g in expected])


def assert_equals_torch(function, arrays):
    (value, found), (expected, wanted) = both(function, arrays)
    np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(programs, st.integers(0, 2**32 - 1))
def test_random_graphs_equal_torch(program, seed):
    shapes, steps = program
    assert_equals_torch(
        lambda *leaves: run(steps, leaves), random_arrays(*shapes, seed=seed)
    )


OPERATIONS = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "constant first": lambda x, y: 2.5 - x + 3.0 / y + (1.5 + x) * (2.0 * y),
    "powers": lambda x, y: x**2 + y**3 + x**1 + y**0 + (y * y) ** -0.5,
    "power": lambda x, y: (x * x + 0.1) ** y + 2.0**x * 0.5**y,
    "negate": lambda x, y: -(x * -y),
    "exp": lambda x, y: (x + y).exp(),
    "log": lambda x, y: (x * x * y * y).log(),
    "tanh": lambda x, y: (x * y).tanh(),
    "relu": lambda x, y: (x * y).relu(),
    "softmax": lambda x, y: (x * y).softmax(-2) * x.log_softmax(-1),
}
SHAPES = {
    "equal": [(5, 3), (5, 3)],
    "row": [(5, 3), (3,)],
    "column": [(5, 3), (5, 1)],
    "both grow": [(5, 1), (1, 3)],
    "new axes": [(3, 2), (4, 5, 1, 2)],
    "one element": [(5, 3), (1, 1, 1)],
}


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("name", OPERATIONS)
def test_operators_and_functions_equal_torch(name, shapes):
    assert_equals_torch(OPERATIONS[name], random_arrays(*shapes))


@pytest.mark.parametrize(
    "shapes",
    [
        [(3, 4), (4, 5)],
        [(2, 3, 4), (2, 4, 5)],
        [(2, 3, 4), (4, 5)],
        [(3, 4), (2, 4, 5)],
        [(7, 1, 3, 4), (2, 4, 5)],
        [(4,), (4,)],
        [(4,), (4, 5)],
        [(3, 4), (4,)],
        [(4,), (2, 4, 5)],
        [(2, 3, 4), (4,)],
    ],
    ids=str,
)
def test_matrix_products_equal_torch(shapes):
    x, y = random_arrays(*shapes)
    assert_equals_torch(lambda a, b: a @ b, [x, y])
    assert_equals_torch(lambda a: a @ constant(a, y), [x])
    assert_equals_torch(lambda b: constant(b, x) @ b, [y])


def constant(like, array):
    return torch.tensor(array) if isinstance(like, torch.Tensor) else array


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (1, -1), (0, 1, 2)])
def test_reductions_equal_torch(axis, keepdims):
    (x,) = random_arrays((3, 5, 2))
    kept = {"axis": axis, "keepdims": keepdims}
    assert_equals_torch(lambda a: a.sum(**kept), [x])
    assert_equals_torch(lambda a: a.mean(**kept), [x])
    largest = (0, 1, 2) if axis is None else axis
    assert_equals_torch(
        lambda a: (
            a.max(**kept)
            if isinstance(a, Tensor)
            else a.amax(largest, keepdims)
        ),
        [x.round()],  # with equals
    )


INDICES = {
    "one": 1,
    "last": (..., -1),
    "slice": slice(0, 4, 2),
    "new axis": (slice(None), None, 1),
    "repeats": [2, 0, 2, 2],
    "pairs": ([0, 0, 4], [1, 1, 2]),
    "mask": np.arange(15).reshape(5, 3) % 4 == 0,
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_indexing_equals_torch(index):
    assert_equals_torch(lambda x: x[index] ** 2, random_arrays((5, 3)))


def test_shapes_equal_torch():
    (x,) = random_arrays((3, 5, 2))
    assert_equals_torch(lambda a: a.reshape(5, -1) ** 2, [x])
    for axes in [(1, 2, 0), (0, -1, -2), (2, 1, 0)]:
        assert_equals_torch(
            lambda a, axes=axes: (
                a.transpose(*axes)
                if isinstance(a, Tensor)
                else a.permute(axes)
            ),
            [x],
        )
    assert Tensor(x).transpose().shape == (2, 5, 3)
    assert Tensor(x).transpose().transpose().shape == (3, 5, 2)


def test_finite_differences_agree():
    x, w, b = random_arrays((4, 3), (3, 5), (5,))

    def loss(w, b):
        hidden = (x @ w + b).tanh()
        return (hidden.log_softmax(-1) * hidden.max(0)).mean()

    found = gradients(loss(Tensor(w), bias := Tensor(b)), [bias])[0]
    step = 1e-6
    for i in range(5):
        up, down = b.copy(), b.copy()
        up[i] += step
        down[i] -= step
        rise = loss(Tensor(w), Tensor(up)).data
        rise = rise - loss(Tensor(w), Tensor(down)).data
        assert found[i] == pytest.approx(rise / (2 * step), abs=1e-8)


def by_hand():
    """The expression of the page's figure."""
    x = Tensor([[1.0, 2.0]])
    w = Tensor([[1.0, -1.0], [2.0, -3.0]])
    b = Tensor([1.0, 1.0])
    hidden = (x @ w + b).relu()
    return (hidden * hidden).sum(), [x, w, b]


def test_by_hand_the_gradient_of_six_squared_is_twelve():
    # x @ w = (5, -7); + b = (6, -6); relu = (6, 0); squares sum to 36.
    # Back: 2 · (6, 0) = (12, 0); where relu was shut, nothing passes.
    loss, leaves = by_hand()
    x, w, b = gradients(loss, leaves)
    assert loss.data == 36
    assert x.tolist() == [[12, 24]]
    assert w.tolist() == [[12, 0], [24, 0]]
    assert b.tolist() == [12, 0]


def test_arrays_and_single_numbers_agree():
    x, w, b = random_arrays((7, 3), (3, 1), (1,))
    ws, bs = [Value(v) for v in w[:, 0]], Value(b[0])
    total = Value(0.0)
    for row in x.tolist():
        pairs = zip(ws, row, strict=True)
        total = total + sum((a * v for a, v in pairs), bs).relu()
    total.backward()
    leaves = [Tensor(w), Tensor(b)]
    loss = (x @ leaves[0] + leaves[1]).relu().sum()
    dw, db = gradients(loss, leaves)
    assert loss.data == pytest.approx(total.data)
    np.testing.assert_allclose(dw[:, 0], [v.grad for v in ws])
    np.testing.assert_allclose(db, bs.grad)


def test_a_chain_ten_thousand_deep_has_its_gradient():
    depth = 10_000
    assert depth > sys.getrecursionlimit()
    x = Tensor(np.array(3.0))
    y = x
    for _ in range(depth):
        y = y + 1.0
    assert gradients(y, [x])[0] == 1.0
    del y  # taking the graph apart must not recurse either


def test_a_node_on_two_to_the_hundred_paths_is_visited_once():
    x = Tensor(np.array(1.0))
    y = x
    for _ in range(100):
        y = y + y
    assert len(topological_order(y)) == 101
    assert gradients(y, [x])[0] == 2.0**100


def test_sources_come_before_what_is_made_from_them():
    loss, _ = by_hand()
    order = topological_order(loss)
    place = {tensor: i for i, tensor in enumerate(order)}
    assert len(order) == len(place) == 8
    for tensor in order:
        assert all(place[s] < place[tensor] for s, _ in tensor.edges)


# -- The well-known mistakes, each with the smallest input that shows it ----


def gradients_of_the_root(output, inputs):
    """Wrong: hands every node the gradient of the last one."""
    arriving = {x: [] for x in topological_order(output)}
    root = np.ones_like(output.data)
    for tensor in reversed(topological_order(output)):
        for source, pull in tensor.edges:
            arriving[source].append(pull(root))
    return [sum(arriving[x]) for x in inputs]


def test_every_node_gets_its_own_upstream_gradient():
    x = np.array([[1.0, 2.0]])
    w, v = Tensor([[3.0], [4.0]]), Tensor([[5.0]])
    out = x @ w @ v
    assert gradients(out, [w])[0].tolist() == [[5], [10]]
    assert gradients_of_the_root(out, [w])[0].tolist() == [[1], [2]]


def test_a_positive_preactivation_would_hide_that_mistake():
    for y, right, wrong in [(3.0, [[3]], [[3]]), (-3.0, [[0]], [[-3]])]:
        x, w = Tensor([[2.0]]), Tensor([[y]])
        out = (x @ w).relu()
        assert gradients(out, [x])[0].tolist() == right
        assert gradients_of_the_root(out, [x])[0].tolist() == wrong


def test_nothing_passes_a_shut_relu_whatever_arrives():
    upstream = np.array([2.0, -3.0, np.inf, np.nan, 5.0])
    x = Tensor([1.5, -0.5, -1.0, -2.0, 0.0])
    (found,) = gradients(x.relu(), [x], upstream)
    assert found.tolist() == [2, 0, 0, 0, 0]


def test_a_leaf_used_twice_gets_one_sum():
    x = Tensor([3.0, 4.0])
    (found,) = gradients((x * x + x).sum(), [x])
    assert isinstance(found, np.ndarray)  # not a list of parts
    assert found.tolist() == [7, 9]


def test_sums_of_sums_are_arrays_at_any_depth():
    a, b = Tensor([1.0]), Tensor([2.0])
    found = gradients((a + b) + a, [a, b])
    assert [type(g) for g in found] == [np.ndarray] * 2
    assert [g.tolist() for g in found] == [[2], [1]]


def test_a_bias_gets_the_sum_over_its_copies():
    x, b = Tensor([[1.0], [2.0]]), Tensor([0.5])
    found = gradients((x + b).sum(), [x, b])
    assert [g.tolist() for g in found] == [[[1], [1]], [2]]


def test_a_batched_product_turns_matrices_and_not_the_batch():
    x, y = random_arrays((2, 3, 4), (2, 4, 5))
    leaves = [Tensor(x), Tensor(y)]
    dx, dy = gradients((leaves[0] @ leaves[1]).sum(), leaves)
    for i in range(2):
        np.testing.assert_allclose(dx[i], np.ones((3, 5)) @ y[i].T)
        np.testing.assert_allclose(dy[i], x[i].T @ np.ones((3, 5)))


def test_relu_of_minus_infinity_is_zero():
    x = Tensor([-np.inf, np.inf])
    assert x.relu().data.tolist() == [0, np.inf]
    assert gradients(x.relu(), [x], np.ones(2))[0].tolist() == [0, 1]


def test_a_row_taken_twice_learns_twice():
    table = Tensor([[1.0], [2.0]])
    (found,) = gradients(table[[0, 0, 1]].sum(), [table])
    assert found.tolist() == [[2], [1]]


def test_the_gradient_of_x_to_the_zero_is_zero_at_zero():
    x = Tensor([0.0, 2.0])
    assert gradients((x**0).sum(), [x])[0].tolist() == [0, 0]
    assert gradients((x**1).sum(), [x])[0].tolist() == [1, 1]


# -- What a user may rely on -----------------------------------------------


def every_operation(x, w):
    y = (2 * x + 1.5 - x / 3) @ w
    y = (3.0 - y).relu() ** 2 + (1.0 / (y * y + 1)) ** 0.5
    y = y.log_softmax() + y.max(0) - y.mean(1, keepdims=True) * -y.tanh()
    y = y.transpose()[[0, 0]].reshape(-1)
    return (y.softmax().exp() + 1).log().sum()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_dtype_is_kept(dtype):
    leaves = [Tensor(x) for x in random_arrays((3, 4), (4, 2), dtype=dtype)]
    loss = every_operation(*leaves)
    kinds = {tensor.dtype for tensor in topological_order(loss)}
    kinds |= {g.dtype for g in gradients(loss, leaves)}
    assert kinds == {np.dtype(dtype)}


def test_a_gradient_has_its_tensors_dtype_among_others():
    x, y = Tensor(np.float32([1, 2])), Tensor(np.float64([3, 4]))
    found = gradients((x * y).sum(), [x, y])
    assert [g.dtype for g in found] == [np.float32, np.float64]


def test_softmax_of_ten_thousand_stays_finite():
    x = Tensor(np.float32([[1e4, -1e4, 0.0]]))
    assert x.softmax().data.tolist() == [[1, 0, 0]]
    (found,) = gradients(x.log_softmax()[0, 1], [x])
    np.testing.assert_allclose(found, [[-1, 1, 0]])


def test_what_is_no_tensor_is_a_constant():
    x, (w,) = np.ones((2, 3)), random_arrays((3, 4))
    out = 2 * (x @ Tensor(w)) * x[:, :1]
    assert isinstance(out, Tensor)
    assert [t.op for t in topological_order(out)] == ["", "@", "×", "×"]


def test_a_tensor_that_was_not_used_gets_zeros():
    x, y = Tensor([1.0, 2.0]), Tensor([[3.0]])
    assert gradients(x.sum(), [y])[0].tolist() == [[0]]


def test_the_output_and_what_lies_between_have_gradients_too():
    x = Tensor([1.0, 2.0])
    hidden = x * 3.0
    out = (hidden * hidden).sum()
    found = gradients(out, [out, hidden, x])
    assert [g.tolist() for g in found] == [1, [6, 12], [18, 36]]


def test_a_graph_can_be_pulled_through_twice():
    loss, leaves = by_hand()
    first, second = gradients(loss, leaves), gradients(loss, leaves)
    assert [g.tolist() for g in first] == [g.tolist() for g in second]


def test_a_gradient_belongs_to_whoever_asked():
    x, y = Tensor([1.0]), Tensor([2.0])
    upstream = np.array([1.0])
    out = x + y
    dx, dy, dout = gradients(out, [x, y, out], upstream)
    dx *= 0.5
    dout *= 3.0
    assert (dx, dy, upstream) == (0.5, 1.0, 1.0)


def test_a_graph_is_freed_without_the_garbage_collector():
    gc.disable()
    try:
        leaves = [Tensor(x) for x in random_arrays((3, 4), (4, 2))]
        loss = every_operation(*leaves)
        gradients(loss, leaves)
        watched = [weakref.ref(t) for t in topological_order(loss)]
        del loss, leaves
        assert all(ref() is None for ref in watched)
    finally:
        gc.enable()


IN_PLACE = {
    "added": lambda a: np.add(a, 1, out=a),
    "an element": lambda a: a.__setitem__(0, 9.0),
    "sorted": lambda a: a[::-1].sort(),
    "filled": lambda a: a.fill(9.0),
}


@pytest.mark.parametrize("write", IN_PLACE.values(), ids=IN_PLACE.keys())
def test_what_a_tensor_holds_cannot_be_written_into(write):
    z = Tensor([1.0, 2.0])
    hidden = z * z
    out = hidden.sum()
    for tensor in (z, hidden, z.reshape(2, 1), z[:1], z.transpose()):
        with pytest.raises(ValueError, match="read-only"):
            write(tensor.data)
    with pytest.raises(ValueError, match="read-only"):
        z.data += 1
    assert gradients(out, [z])[0].tolist() == [2, 4]


def test_what_is_written_afterwards_no_pull_can_see():
    """The arrays that were given stay the caller's, and may change."""
    given, x = np.array([1.0, 2.0]), np.array([[3.0, 5.0]])
    rows, exponent = np.array([1, 0, 1]), np.array([2.0, 3.0])
    z = Tensor(given)
    out = (x @ z).sum() + (z * x).sum() + (z / x).sum() + (x / z).sum()
    out = out + z[rows].sum() + z[(rows,)].sum() + (z**exponent).sum()
    (expected,) = gradients(out, [z])
    for array in (given, x, exponent):
        array += 7.0
    rows[:] = 0
    assert z.data.tolist() == [1, 2]
    np.testing.assert_array_equal(gradients(out, [z])[0], expected)


def test_parameters_may_be_replaced_while_the_graph_is_alive():
    x, y = Tensor([2.0]), Tensor([3.0])
    out = 6.0 / x + x.log() * y
    (before,) = gradients(out, [x])
    x.data, y.data = np.array([7.0]), np.array([8.0])
    assert gradients(out, [x])[0] == before


def test_inputs_may_come_from_a_generator():
    x, y = Tensor([3.0]), Tensor([4.0])
    found = gradients(x * y, (t for t in (x, y)))
    assert [g.tolist() for g in found] == [[4], [3]]


def test_an_upstream_of_whole_numbers_or_a_list_will_do():
    x = Tensor(np.float32([3.0, 4.0]))
    for upstream in ([1, 2], np.array([1, 2]), np.array([1.0, 2.0])):
        found = gradients(x + 0.0, [x], upstream) + gradients(x, [x], upstream)
        assert [g.tolist() for g in found] == [[1, 2]] * 2
        assert {(type(g), g.dtype.name) for g in found} == {
            (np.ndarray, "float32")
        }


def test_single_numbers_become_one_tensor_by_stack():
    x, y = Tensor(3.0), Tensor(4.0)
    out = stack([x * y, 1.0, y]) * np.array([1.0, 2.0, 3.0])
    assert out.data.tolist() == [12, 2, 12]
    assert [g.tolist() for g in gradients(out.sum(), [x, y])] == [4, 6]


def test_a_tensor_is_walked_like_an_array():
    x = Tensor([1.0, 2.0, 4.0])
    assert len(x) == 3
    assert gradients(sum(row * row for row in x), [x])[0].tolist() == [2, 4, 8]
    for refuse in (len, list, sum):
        with pytest.raises(TypeError, match="unsized"):
            refuse(Tensor(1.0))
    assert bool(Tensor(0.0)) is False and bool(Tensor([0.5])) is True


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.where(x.data > 0, x, 0.0),
        lambda x: np.stack([x, x]),
        lambda x: np.concatenate([x, x]),
        lambda x: np.dot(x, np.ones(2)),
        lambda x: np.sum(x),
        lambda x: np.exp(x),
        lambda x: float(x[0]),
    ],
)
def test_numpys_functions_refuse_a_tensor(function):
    """Else np.where would fill an array with the Tensor itself."""
    with pytest.raises(TypeError):
        function(Tensor([1.0, -2.0]))


REFUSED = {
    "data: got int64, expected a float dtype": lambda x: Tensor([1, 2]),
    "data: got Tensor, expected an array": lambda x: Tensor(x),
    "data: got complex128, expected a float dtype": lambda x: Tensor([1j]),
    "×: got complex128, expected a float dtype": lambda x: x * 1j,
    "power: got complex128, expected a float dtype": lambda x: x**1j,
    "×: got object, expected a float dtype": lambda x: (
        x * np.array([x[0, 0], 1.0, x[0, 0]])
    ),
    "parts: got shapes": lambda x: stack([x, x[0]]),
    "upstream: got Tensor, expected real numbers": lambda x: gradients(
        x, [x], x
    ),
    "upstream: got complex128, expected real numbers": lambda x: gradients(
        x, [x], x.data * 1j
    ),
    "data: got shape (3,), expected (2, 3)": lambda x: setattr(
        x, "data", np.ones(3)
    ),
    "data: got int64, expected": lambda x: setattr(
        x, "data", np.ones((2, 3), int)
    ),
    "upstream: got shape None, expected output's (2, 3)": lambda x: gradients(
        x, [x]
    ),
    "upstream: got shape (3,), expected output's (2, 3)": lambda x: gradients(
        x, [x], np.ones(3)
    ),
    "inputs: got one Tensor, expected a list": lambda x: gradients(x.sum(), x),
    "inputs[1]: got ndarray, expected a Tensor": lambda x: gradients(
        x.sum(), [x, x.data]
    ),
    "output: got ndarray, expected a Tensor": lambda x: gradients(x.data, [x]),
}


@pytest.mark.parametrize(("message", "call"), REFUSED.items())
def test_what_does_not_fit_is_named(message, call):
    with pytest.raises(ValueError) as error:
        call(Tensor(np.ones((2, 3))))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("shape", [(4, 3), (2, 4)])
def test_shapes_that_do_not_fit_raise_what_numpy_raises(shape):
    x, y = Tensor(np.ones((2, 3))), Tensor(np.ones(shape))
    for combine in (lambda: x * y, lambda: x @ y):
        with pytest.raises(ValueError, match="shape|size"):
            combine()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 3), max_size=4), st.data())
def test_fit_undoes_any_broadcast(shape, data):
    small = [data.draw(st.sampled_from([1, n])) for n in shape]
    small = small[data.draw(st.integers(0, len(shape))) :]
    (wide,) = random_arrays(tuple(shape))
    found = fit(wide, np.zeros(small))
    assert found.shape == tuple(small)
    np.testing.assert_allclose(found.sum(), wide.sum(), atol=1e-12)
    np.testing.assert_allclose(
        np.broadcast_to(found, shape) if found.size == wide.size else 0,
        wide if found.size == wide.size else 0,
    )


def test_everybody_takes_the_same_steps():
    """The contestants of the speed table compute the same thing."""
    kinds = (Ours, Torch, TorchModules, TorchFunction, ByHand, Scalars)
    traced = TorchCompiled(5, backend="aot_eager")  # without the C++
    runs = [*(kind(5) for kind in kinds), traced]
    for _ in range(3):
        for contestant in runs:
            contestant.step()
    first, *others = (contestant.numbers() for contestant in runs)
    assert not np.allclose(first, Ours(5).numbers())
    for numbers in others:
        np.testing.assert_allclose(numbers, first, rtol=1e-10, atol=1e-12)
