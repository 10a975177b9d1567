r"""Derivatives of functions: along a direction, by columns, by rows.

    jvp    = J·ẋ, what a direction makes of a result: one column's worth
    grad   = Jᵀ·1, of a function with one number: one row's
    level  = which ε: every call of `jvp` brings its own

Sources
- Pearlmutter 1994, "Fast exact multiplication by the Hessian", Neural
  Computation 6.
- Baydin et al. 2018, "Automatic differentiation in machine learning: a
  survey", arXiv 1502.05767, §3.1.
"""

import functools
import itertools

import numpy as np

from llmnotes.foundations.autograd import (
    Tensor,
    as_floats,
    gradients,
    real_numbers,
)
from llmnotes.foundations.forward_mode.dual import Dual, gather, split

LEVELS = itertools.count(1)


def check_tangents(primals, tangents):
    """Raise `ValueError` unless there is one tangent of each one's shape."""
    if len(primals) != len(tangents):
        raise ValueError(
            f"tangents: got {len(tangents)}, expected one for each of "
            f"{len(primals)} primals"
        )
    for i, (x, t) in enumerate(zip(primals, tangents, strict=True)):
        if x.shape != t.shape:
            raise ValueError(
                f"tangents[{i}]: got shape {t.shape}, expected that of "
                f"primals[{i}], {x.shape}"
            )


def result(out):
    """What a function returned, as one array; lists of equals are stacked.

    Raises `ValueError` for what is not of real numbers: its motion would be
    lost.
    """
    out = gather(out)
    if isinstance(out, Dual | Tensor):
        return out
    return real_numbers(out, "function's result")


def jvp(function, primals, tangents):
    """(function(*primals), how it moves when primals move by tangents).

    Raises `ValueError` naming the argument that does not fit.
    """
    primals = [as_floats(x, f"primals[{i}]") for i, x in enumerate(primals)]
    tangents = [as_floats(t, f"tangents[{i}]") for i, t in enumerate(tangents)]
    check_tangents(primals, tangents)
    level = next(LEVELS)
    pairs = zip(primals, tangents, strict=True)
    out = result(function(*(Dual(x, t, level) for x, t in pairs)))
    out = out.data if isinstance(out, Tensor) else out
    primal, tangent = split(out, level)
    if tangent is None:  # the result does not depend on the inputs
        tangent = np.zeros_like(primal) + 0.0  # of floats
    return primal, tangent


def basis(x):
    """Arrays like x with a 1 in one place, for each place."""
    for i in range(x.size):
        e = np.zeros(x.size, x.dtype)
        e[i] = 1
        yield e.reshape(x.shape)


def jacfwd(function):
    """The Jacobian, column by column: one `jvp` per number in x.

    jacfwd(f)(x) has the axes of f(x), then those of x.
    """

    def jacobian(x):
        x = as_floats(x, "x")
        columns = [jvp(function, [x], [e])[1] for e in basis(x)]
        if not columns:
            return np.zeros(jvp(function, [x], [x])[1].shape + x.shape)
        return np.stack(columns, -1).reshape(columns[0].shape + x.shape)

    return jacobian


def jacrev(function):
    """The Jacobian, row by row: one pull-back per number in f(x)."""

    def jacobian(x):
        leaf, out = recorded(function, x)
        rows = [gradients(out, [leaf], e)[0] for e in basis(out.data)]
        if not rows:
            return np.zeros(out.shape + leaf.shape)
        return np.stack(rows).reshape(out.shape + leaf.shape)

    return jacobian


def recorded(function, x):
    """The leaf of x, and what the function makes of it."""
    leaf = Tensor(as_floats(x, "x"))
    out = result(function(leaf))
    return leaf, out if isinstance(out, Tensor) else Tensor(out + 0.0)


def grad(function):
    """The gradient of a function with one number as its result."""
    return functools.partial(_gradient, function)


def _gradient(function, x):
    leaf, out = recorded(function, x)
    if out.data.size != 1:
        raise ValueError(
            f"function's result: got shape {out.shape}, expected one number"
        )
    return gradients(out, [leaf])[0]


def hvp(function, x, direction):
    """Hessian times direction: how the gradient moves along it.

    The reverse pass runs on dual numbers; no Hessian is formed.

    Source: Pearlmutter 1994.
    """
    x, direction = as_floats(x, "x"), as_floats(direction, "direction")
    if x.shape != direction.shape:
        raise ValueError(
            f"direction: got shape {direction.shape}, expected x's {x.shape}"
        )
    return jvp(grad(function), [x], [direction])[1]
