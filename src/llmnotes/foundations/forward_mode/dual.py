r"""Dual numbers: NumPy arrays that carry their motion along.

    primal  = x, the value
    tangent = ẋ, the direction in which it moves
    Dual    = x + ẋ·ε with ε² = 0
    push(ẋ) = (local Jacobian)·ẋ, what one argument's motion does to a result
    level   = which ε: every call of `jvp` brings its own

Sources
- Wengert 1964, "A simple automatic derivative evaluation program",
  Communications of the ACM 7.
- Siskind & Pearlmutter 2005, "Perturbation confusion and referential
  transparency", IFL.
"""

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from llmnotes.foundations.autograd import (
    Tensor,
    along_exponent,
    as_floats,
    stack,
)

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
        lambda t, out, x, n: np.where(n == 0, 0, t * n * x ** (n - (n != 0))),
        lambda t, out, x, n: t * along_exponent(out, x, n),
    ),
    np.matmul: (lambda t, out, x, y: t @ y, lambda t, out, x, y: x @ t),
    np.maximum: (
        lambda t, out, x, y: np.where(x == y, t / 2, np.where(x > y, t, 0)),
        lambda t, out, x, y: np.where(x == y, t / 2, np.where(x > y, 0, t)),
    ),
    np.minimum: (
        lambda t, out, x, y: np.where(x == y, t / 2, np.where(x < y, t, 0)),
        lambda t, out, x, y: np.where(x == y, t / 2, np.where(x < y, 0, t)),
    ),
    np.absolute: (lambda t, out, x: t * np.sign(x),),
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
    *(np.equal, np.not_equal, np.isfinite, np.isnan, np.isinf, np.sign),
    *(np.floor, np.ceil, np.rint, np.trunc),
}
NOT_LINEAR = {"dtype", "initial", "out"}  # options that act on values only


def linear(name):
    """A method that treats value and motion alike."""

    def method(self, *args, **kwargs):
        if unknown := NOT_LINEAR & set(kwargs):
            raise TypeError(f"{name}: got {unknown}, which duals do not know")
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
        primal = as_floats(primal, "primal")
        tangent = as_floats(tangent, "tangent")
        if primal.shape != tangent.shape:
            raise ValueError(
                f"tangent: got shape {tangent.shape}, expected that of "
                f"primal, {primal.shape}"
            )
        if primal.dtype != tangent.dtype:
            tangent = tangent.astype(primal.dtype)
        self.primal, self.tangent, self.level = primal, tangent, level

    def __repr__(self):
        return f"Dual({self.primal!r}, {self.tangent!r})"

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        """The chain rule: the sum of what each argument's motion does."""
        if ufunc is np.add and method == "at":
            return add_at(*inputs)
        if method != "__call__" or options:
            return NotImplemented
        if ufunc not in PUSHES and ufunc not in STEPS:
            return NotImplemented
        level, primals, tangents = apart(inputs)
        out = ufunc(*primals)
        if ufunc in STEPS:
            return out
        tangent = np.zeros(out.shape, out.dtype)
        for push, t in zip(PUSHES[ufunc], tangents, strict=True):
            if t is not None:
                tangent = tangent + push(t, out, *primals)
        return Dual(out, tangent, level)

    def __array_function__(self, function, types, args, options):
        if function not in FUNCTIONS or NOT_LINEAR & set(options):
            return NotImplemented
        return FUNCTIONS[function](*args, **options)

    def __len__(self):
        return len(self.primal)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return bool(self.primal)

    __getitem__ = linear("__getitem__")
    sum, mean = linear("sum"), linear("mean")
    reshape, transpose = linear("reshape"), linear("transpose")
    swapaxes, copy = linear("swapaxes"), linear("copy")
    softmax, log_softmax = Tensor.softmax, Tensor.log_softmax

    shape = property(lambda self: self.primal.shape)
    ndim = property(lambda self: self.primal.ndim)
    size = property(lambda self: self.primal.size)
    dtype = property(lambda self: self.primal.dtype)
    T = property(lambda self: self.transpose())

    def astype(self, dtype, copy=True):
        """In another dtype; what is no float any more stands still."""
        if np.dtype(dtype).kind in "iub":
            return self.primal.astype(dtype, copy=copy)
        primal = self.primal.astype(dtype, copy=copy)
        return Dual(primal, self.tangent.astype(dtype), self.level)

    def max(self, axis=None, keepdims=False):
        """The largest; of equals, the mean of their motions."""
        kept = {"axis": axis, "keepdims": True}
        winners = self.primal == self.primal.max(**kept)
        share = winners / winners.sum(**kept, dtype=self.dtype)
        out = self.primal.max(axis=axis, keepdims=keepdims)
        moved = (self.tangent * share).sum(axis=axis, keepdims=keepdims)
        return Dual(out, moved, self.level)

    def min(self, axis=None, keepdims=False):
        """The smallest; of equals, the mean of their motions."""
        return -(-self).max(axis, keepdims)

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
        return np.where(self <= 0, 0, self)


def split(x, level):
    """Value and motion; what has not this ε is a constant and stands still."""
    if isinstance(x, Dual) and x.level == level:
        return x.primal, x.tangent
    return x, None


def apart(inputs):
    """The newest level among the inputs, their values, their motions."""
    inputs = [gather(x) for x in inputs]
    level = max(x.level for x in inputs if isinstance(x, Dual))
    pairs = [split(x, level) for x in inputs]
    return level, [p for p, _ in pairs], [t for _, t in pairs]


def gather(x):
    """A list or array of objects that holds duals or Tensors, as one.

    Left as it is, NumPy would take its elements for constants.
    """
    if isinstance(x, np.ndarray):
        if x.dtype.kind != "O":
            return x
        x = x.tolist()  # a list, or the only element
    if not isinstance(x, list | tuple):
        return x
    parts = [gather(part) for part in x]
    if any(isinstance(part, Tensor) for part in parts):
        return stack(parts)
    if any(isinstance(part, Dual) for part in parts):
        shapes = {np.shape(part) for part in parts}
        if len(shapes) > 1:
            raise ValueError(f"parts: got shapes {shapes}, expected one")
        return np.stack(parts)
    return np.asarray(x)


def add_at(into, index, x):
    """Add values and motions at an index, in place: `scatter` of duals."""
    level = max(y.level for y in (into, x) if isinstance(y, Dual))
    (into, moves), (x, t) = split(into, level), split(x, level)
    np.add.at(into, index, x)
    if t is not None:
        np.add.at(moves, index, t)


def both(function):
    """Make a function of one array, or a list, act on value and motion."""

    def apply(x, *args, **options):
        many = isinstance(x, list | tuple)
        level, primals, tangents = apart(x if many else [x])
        pairs = zip(primals, tangents, strict=True)
        tangents = [np.zeros_like(p) if t is None else t for p, t in pairs]
        return Dual(
            function(primals if many else primals[0], *args, **options),
            function(tangents if many else tangents[0], *args, **options),
            level,
        )

    return apply


def where(condition, x, y):
    """Choose values and motions by the same condition."""
    while isinstance(condition := gather(condition), Dual):
        condition = condition.primal
    if not any(isinstance(gather(z), Dual) for z in (x, y)):
        return np.where(condition, x, y)
    level, primals, tangents = apart([x, y])
    chosen = np.where(condition, *primals)
    moves = np.where(condition, *(0 if t is None else t for t in tangents))
    return Dual(chosen, moves + np.zeros(chosen.shape, chosen.dtype), level)


def clip(x, low, high):
    """Keep x between low and high; at both it still moves."""
    return np.where(x < low, low, np.where(x > high, high, x))


def dot(x, y):
    """As NumPy's dot, of up to two axes."""
    if 0 in (np.ndim(x), np.ndim(y)):
        return x * y
    if max(np.ndim(x), np.ndim(y)) > 2:
        raise ValueError("dot: got more than two axes, expected @ for them")
    return x @ y


FUNCTIONS = {
    np.where: where,
    np.clip: clip,
    np.dot: dot,
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.size: lambda x: x.size,
    np.ones_like: lambda x: np.ones(x.shape, x.dtype),
    np.max: Dual.max,
    np.min: Dual.min,
    np.amax: Dual.max,
    np.amin: Dual.min,
} | {
    f: both(f)
    for f in (
        *(np.sum, np.mean, np.cumsum, np.trace, np.tril, np.triu),
        *(np.zeros_like, np.expand_dims, np.broadcast_to, np.reshape),
        *(np.squeeze, np.ravel, np.transpose, np.swapaxes, np.moveaxis),
        *(np.flip, np.roll, np.tile, np.repeat, np.copy),
        *(np.stack, np.concatenate, np.vstack, np.hstack),
    )
}
