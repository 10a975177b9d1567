"""No function can return its result in a form that loses the derivative."""

import numpy as np
import pytest

from llmnotes.foundations.autograd import Tensor
from llmnotes.foundations.forward_mode import (
    Dual,
    grad,
    hvp,
    jacfwd,
    jacrev,
    jvp,
)

POINT, WANTED = np.array([1.0, 2.0]), [[1, 0], [0, 2]]
BOTH = {"jacfwd": jacfwd, "jacrev": jacrev}
TOGETHER = {
    "an array of objects": lambda x: np.array([x[0], 2 * x[1]]),
    "a list": lambda x: [x[0], 2 * x[1]],
    "a tuple": lambda x: (x[0], 2 * x[1]),
    "a list that grows": lambda x: [row * (i + 1) for i, row in enumerate(x)],
    "an array of one object": lambda x: np.asarray(x * np.array([1.0, 2.0])),
    "an array that was computed with": lambda x: (
        np.array([x[0], x[1]]) * np.array([1.0, 2.0])
    ),
    "objects and arrays": lambda x: [np.array([x[0], 0.0]), [0.0, 2 * x[1]]],
}


@pytest.mark.parametrize("jacobian", BOTH.values(), ids=BOTH.keys())
@pytest.mark.parametrize("function", TOGETHER.values(), ids=TOGETHER.keys())
def test_results_in_pieces_are_put_together(function, jacobian):
    found = jacobian(function)(POINT)
    wanted = WANTED
    if found.ndim == 3:  # two rows of two
        wanted = [[[1, 0], [0, 0]], [[0, 0], [0, 2]]]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("jacobian", BOTH.values(), ids=BOTH.keys())
def test_pieces_may_be_matrices_and_constants(jacobian):
    x = np.arange(6.0).reshape(2, 3)
    found = jacobian(lambda x: (x, np.ones((2, 3)), 3 * x))(x)
    assert found.shape == (3, 2, 3, 2, 3)
    eye = np.eye(6).reshape(2, 3, 2, 3)
    np.testing.assert_array_equal(found, [eye, 0 * eye, 3 * eye])


def test_pieces_on_the_way_are_put_together_too():
    def forward(x):
        pieces = np.array([x[1], x[0]])
        joined = np.concatenate([x, pieces])
        return x * pieces + np.where(True, pieces, x) + joined[2:] @ pieces

    def plain(x):
        y = x[::-1]
        return x * y + y + (y * y).sum()

    found = jacfwd(forward)(POINT)
    np.testing.assert_allclose(found, jacfwd(plain)(POINT))
    np.testing.assert_allclose(found, jacrev(plain)(POINT))


def test_second_derivatives_of_results_in_pieces():
    def cubes(x):
        return np.array([x[0] ** 3, x[1] ** 3])

    wanted = np.zeros((2, 2, 2))
    wanted[0, 0, 0], wanted[1, 1, 1] = 6, 12
    for second in (jacfwd(jacfwd(cubes)), jacfwd(jacrev(cubes))):
        np.testing.assert_allclose(second(POINT), wanted)
    loss = hvp(lambda x: sum(cubes(x)), POINT, np.ones(2))
    np.testing.assert_allclose(loss, [6, 12])


CONSTANTS = {
    "an array": lambda x: np.array([1.0]),
    "whole numbers": lambda x: np.array([1]),
    "a list": lambda x: [1.0],
    "true and false": lambda x: np.array([True]),
    "a comparison": lambda x: (
        (x.data if isinstance(x, Tensor) else x.primal)[:1] > 0
    ),
}


@pytest.mark.parametrize("jacobian", BOTH.values(), ids=BOTH.keys())
@pytest.mark.parametrize("function", CONSTANTS.values(), ids=CONSTANTS.keys())
def test_the_jacobian_of_a_constant_is_zero(function, jacobian):
    found = jacobian(function)(POINT)
    assert found.tolist() == [[0, 0]] and found.dtype == np.float64


def test_the_gradient_of_a_constant_is_zero():
    for function in (lambda x: 3.0, lambda x: 3, lambda x: np.ones(())):
        assert grad(function)(POINT).tolist() == [0, 0]
        assert hvp(function, POINT, POINT).tolist() == [0, 0]
        value, moved = jvp(function, [POINT], [POINT])
        assert value == function(POINT) and moved.tolist() == 0
    assert hvp(lambda x: x.sum(), POINT, POINT).tolist() == [0, 0]


def test_a_tensor_that_is_returned_keeps_its_motion():
    value, moved = jvp(lambda x: Tensor(x) ** 2, [POINT], [np.ones(2)])
    assert (value.tolist(), moved.tolist()) == ([1, 4], [2, 4])


@pytest.mark.parametrize("jacobian", BOTH.values(), ids=BOTH.keys())
def test_one_number_and_none_at_all(jacobian):
    assert jacobian(lambda x: x * x)(np.array(3.0)).tolist() == 6
    assert jacobian(lambda x: x * x)(3.0).tolist() == 6
    assert jacobian(lambda x: [x, x * x])(3.0).tolist() == [1, 6]
    none = np.zeros((0, 3))
    assert jacobian(lambda x: x * x)(none).shape == (0, 3, 0, 3)
    assert jacobian(lambda x: x.sum())(none).shape == (0, 3)
    assert jacobian(lambda x: x[:0])(POINT).shape == (0, 2)


LOST = {
    "function's result: got NoneType, expected real numbers": lambda x: None,
    "function's result: got dict, expected real": lambda x: {"loss": x.sum()},
    "function's result: got generator, expected": lambda x: (y for y in x),
    "function's result: got complex128, expected": lambda x: [1j],
    "function's result: got <U4, expected real numbers": lambda x: "loss",
    "parts: got shapes": lambda x: (x, x.sum()),
}


@pytest.mark.parametrize(("message", "function"), LOST.items())
def test_what_would_lose_the_derivative_is_refused(message, function):
    for call in (
        lambda: jvp(function, [POINT], [POINT]),
        lambda: jacfwd(function)(POINT),
        lambda: jacrev(function)(POINT),
        lambda: grad(function)(POINT),
        lambda: hvp(function, POINT, POINT),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value).startswith(message)


ONES = np.ones(2)
REFUSED = {
    "x: got int64, expected a float dtype": [
        lambda f: jacfwd(f)(np.arange(2)),
        lambda f: jacrev(f)(np.arange(2)),
        lambda f: grad(f)([1, 2]),
        lambda f: hvp(f, np.arange(2), ONES),
    ],
    "x: got complex128, expected a float dtype": [
        lambda f: jacfwd(f)(ONES * 1j),
        lambda f: jacrev(f)(ONES * 1j),
        lambda f: grad(f)(ONES * 1j),
    ],
    "x: got object, expected a float dtype": [
        lambda f: jacfwd(f)([None, 1.0]),
        lambda f: jacrev(f)(np.array([1.0, 2.0], object)),
    ],
    "x: got Tensor, expected an array": [
        lambda f: jacrev(f)(Tensor(ONES)),
        lambda f: hvp(f, Tensor(ONES), ONES),
    ],
    "tangents[0]: got int64, expected a float dtype": [
        lambda f: jvp(f, [ONES], [np.arange(2)])
    ],
    "direction: got shape (3,), expected x's (2,)": [
        lambda f: hvp(f, ONES, np.ones(3))
    ],
    "function's result: got shape (2,), expected one number": [
        lambda f: grad(lambda x: x * x)(ONES),
        lambda f: hvp(lambda x: x * x, ONES, ONES),
    ],
}


@pytest.mark.parametrize(("message", "calls"), REFUSED.items())
def test_what_does_not_fit_is_named(message, calls):
    for call in calls:
        with pytest.raises(ValueError) as error:
            call(lambda x: (x * x).sum())
        assert str(error.value) == message


def test_a_dual_in_a_list_is_no_constant():
    x = Dual([1.0, 2.0], [1.0, 0.5])
    moved = x * [x[1], 3.0]
    assert moved.primal.tolist() == [2, 6]
    assert moved.tangent.tolist() == [2 + 0.5, 1.5]
