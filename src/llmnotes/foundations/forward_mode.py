r"""Forward mode: how a result moves when its inputs move in one direction.

    primal  = x, the value
    tangent = ẋ, the direction in which it moves
    Dual    = x + ẋ·ε with ε² = 0
    push(ẋ) = (local Jacobian)·ẋ, what one argument's motion does to a result
    level   = which ε: every call of `jvp` brings its own
    jvp     = J·ẋ, one column's worth of a Jacobian; grad = Jᵀ·1, one row's

Sources
- Wengert 1964, "A simple automatic derivative evaluation program",
  Communications of the ACM 7.
- Pearlmutter 1994, "Fast exact multiplication by the Hessian", Neural
  Computation 6.
- Siskind & Pearlmutter 2005, "Perturbation confusion and referential
  transparency", IFL.
- Baydin et al. 2018, arXiv 1502.05767, §3.1.
"""

import functools
import itertools

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from llmnotes.foundations.autograd import Tensor, as_floats, gradients

LEVELS = itertools.count(1)

# For each argument of a function: its push, given the motion t of that
# argument, the result and all arguments.
PUSHES = {
    np.add: (lambda t, out, x, y: t, lambda t, out, x, y: t),
    np.subtract: (lambda t, out, x, y: t, lambda t, out, x, y: -t),
    np.multiply: (lambda t, out, x, y: t * y, lambda t, out, x, y: x * t),
    np.divide: (
        lambda t, out, x, y: t / y,
        lambda t, out, x, y: -out * t / y,
    ),
    np.power: (
        lambda t, out, x, n: t * n * x ** (n - (n != 0)),
        lambda t, out, x, n: t * out * np.log(x),
    ),
    np.matmul: (lambda t, out, x, y: t @ y, lambda t, out, x, y: x @ t),
    np.maximum: (
        lambda t, out, x, y: np.where(x > y, t, 0),
        lambda t, out, x, y: np.where(x > y, 0, t),
    ),
    np.negative: (lambda t, out, x: -t,),
    np.exp: (lambda t, out, x: t * out,),
    np.log: (lambda t, out, x: t / x,),
    np.tanh: (lambda t, out, x: t * (1 - out * out),),
    np.sqrt: (lambda t, out, x: t / (2 * out),),
    np.sin: (lambda t, out, x: t * np.cos(x),),
    np.cos: (lambda t, out, x: -t * np.sin(x),),
}
STEPS = {  # do not move when their arguments move a little
    *(np.greater, np.greater_equal, np.less, np.less_equal),
    *(np.equal, np.not_equal, np.isfinite, np.isnan, np.sign),
}


def linear(name):
    """A method that treats value and motion alike."""

    def method(self, *args, **kwargs):
        primal = getattr(self.primal, name)(*args, **kwargs)
        tangent = getattr(self.tangent, name)(*args, **kwargs)
        return Dual(primal, tangent, self.level)

    method.__name__, method.__doc__ = name, f"As NumPy's {name}."
    return method


class Dual(NDArrayOperatorsMixin):
    """An array and the direction in which it moves: primal + tangent·ε.

    NumPy's operators and functions accept it, and so does a Tensor as its
    data.
    """

    def __init__(self, primal, tangent, level=0):
        self.primal, self.tangent, self.level = primal, tangent, level

    def __repr__(self):
        return f"Dual({self.primal!r}, {self.tangent!r})"

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        """The chain rule: the sum of what each argument's motion does."""
        level = max(x.level for x in inputs if isinstance(x, Dual))
        pairs = [split(x, level) for x in inputs]
        primals = [primal for primal, _ in pairs]
        if method == "at" and ufunc is np.add:  # scatter, in place
            (into, moves), (index, _), (x, t) = pairs
            np.add.at(into, index, x)
            return None if t is None else np.add.at(moves, index, t)
        if method != "__call__" or ufunc not in {*PUSHES, *STEPS} or options:
            return NotImplemented
        out = ufunc(*primals)
        if ufunc in STEPS:
            return out
        tangent = np.zeros(out.shape, out.dtype)
        for push, (_, t) in zip(PUSHES[ufunc], pairs, strict=True):
            if t is not None:
                tangent = tangent + push(t, out, *primals)
        return Dual(out, tangent, level)

    def __array_function__(self, function, types, args, options):
        if function not in FUNCTIONS:
            return NotImplemented
        return FUNCTIONS[function](*args, **options)

    __getitem__ = linear("__getitem__")
    sum, mean = linear("sum"), linear("mean")
    reshape, transpose = linear("reshape"), linear("transpose")
    swapaxes, astype = linear("swapaxes"), linear("astype")
    copy = linear("copy")
    softmax, log_softmax = Tensor.softmax, Tensor.log_softmax

    shape = property(lambda self: self.primal.shape)
    ndim = property(lambda self: self.primal.ndim)
    size = property(lambda self: self.primal.size)
    dtype = property(lambda self: self.primal.dtype)

    def max(self, axis=None, keepdims=False):
        """The largest; of equals, the mean of their motions."""
        kept = {"axis": axis, "keepdims": True}
        winners = self.primal == self.primal.max(**kept)
        share = winners / winners.sum(**kept, dtype=self.dtype)
        out = self.primal.max(axis=axis, keepdims=keepdims)
        moved = (self.tangent * share).sum(axis=axis, keepdims=keepdims)
        return Dual(out, moved, self.level)

    def exp(self):
        """Raise e to the power of each element."""
        return np.exp(self)

    def log(self):
        """The natural logarithm."""
        return np.log(self)

    def tanh(self):
        """The hyperbolic tangent."""
        return np.tanh(self)

    def relu(self):
        """max(x, 0); its slope at 0 is 0."""
        return np.maximum(self, 0)


def split(x, level):
    """Value and motion; what has not this ε is a constant and stands still."""
    if isinstance(x, Dual) and x.level == level:
        return x.primal, x.tangent
    return x, None


def both(function):
    """Make a function of one array, or a list, act on value and motion."""

    def apply(x, *args, **options):
        many = isinstance(x, list | tuple)
        xs = x if many else [x]
        level = max(y.level for y in xs if isinstance(y, Dual))
        pairs = [split(y, level) for y in xs]
        primals = [p for p, _ in pairs]
        tangents = [np.zeros_like(p) if t is None else t for p, t in pairs]
        return Dual(
            function(primals if many else primals[0], *args, **options),
            function(tangents if many else tangents[0], *args, **options),
            level,
        )

    return apply


def where(condition, x, y):
    """Choose values and motions by the same condition."""
    level = max(z.level for z in (x, y) if isinstance(z, Dual))
    (x, x_moves), (y, y_moves) = split(x, level), split(y, level)
    chosen = np.where(condition, x, y)
    moves = [0 if t is None else t for t in (x_moves, y_moves)]
    return Dual(chosen, np.where(condition, *moves), level)


FUNCTIONS = {
    np.where: where,
    np.shape: lambda x: x.shape,
    np.ones_like: lambda x: np.ones(x.shape, x.dtype),
    np.sum: lambda x, axis=None, keepdims=False: x.sum(
        axis=axis, keepdims=keepdims
    ),
} | {
    f: both(f)
    for f in (
        *(np.zeros_like, np.expand_dims, np.broadcast_to, np.reshape),
        *(np.stack, np.concatenate),
    )
}


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


def jvp(function, primals, tangents):
    """(function(*primals), how it moves when primals move by tangents).

    Raises `ValueError` naming the argument that does not fit.
    """
    primals = [as_floats(x) for x in primals]
    tangents = [as_floats(t) for t in tangents]
    check_tangents(primals, tangents)
    level = next(LEVELS)
    pairs = zip(primals, tangents, strict=True)
    out = function(*(Dual(x, t, level) for x, t in pairs))
    primal, tangent = split(out, level)
    if tangent is None:  # the result does not depend on the inputs
        tangent = np.zeros_like(primal)
    return primal, tangent


def jacfwd(function):
    """The Jacobian, column by column: one `jvp` per number in x.

    jacfwd(f)(x) has the axes of f(x), then those of x.
    """

    def jacobian(x):
        x = as_floats(x)
        basis = np.eye(x.size, dtype=x.dtype).reshape(-1, *x.shape)
        columns = [jvp(function, [x], [e])[1] for e in basis]
        return np.stack(columns, -1).reshape(*columns[0].shape, *x.shape)

    return jacobian


def jacrev(function):
    """The Jacobian, row by row: one pull-back per number in f(x)."""

    def jacobian(x):
        leaf = Tensor(x)
        out = function(leaf)
        size, shape = out.data.size, out.shape
        basis = np.eye(size, dtype=out.dtype).reshape(-1, *shape)
        rows = [gradients(out, [leaf], e)[0] for e in basis]
        return np.stack(rows).reshape(*shape, *leaf.shape)

    return jacobian


def grad(function):
    """The gradient of a function with one number as its result."""
    return functools.partial(_gradient, function)


def _gradient(function, x):
    leaf = Tensor(x)
    return gradients(function(leaf), [leaf])[0]


def hvp(function, x, direction):
    """Hessian times direction: how the gradient moves along it.

    The reverse pass runs on dual numbers; no Hessian is formed.

    Source: Pearlmutter 1994.
    """
    return jvp(grad(function), [x], [direction])[1]
