r"""Reverse mode: the gradient of a result with respect to all it came from.

    array          = what a node of the graph holds; data = the same, locked
    edges          = (source, pull) for every Tensor a node was made from
    pull(upstream) = what this edge sends back: upstream · ∂node/∂source
    upstream       = v̄ = ∂L/∂v of the node v, summed over the edges out of v

Sources
- Linnainmaa 1976, "Taylor expansion of the accumulated rounding error",
  BIT 16 (reverse mode).
- Rumelhart, Hinton & Williams 1986, "Learning representations by
  back-propagating errors", Nature 323.
- Baydin et al. 2018, "Automatic differentiation in machine learning: a
  survey", arXiv 1502.05767, §3.2.
"""

import itertools
import operator

import numpy as np

from llmnotes.foundations.autograd.pulls import (
    along_exponent,
    same,
    scatter,
    spread,
)


def as_floats(data, name="data"):
    """The array, also a dual one; `ValueError` for what is not of floats."""
    if isinstance(data, Tensor):
        raise ValueError(f"{name}: got Tensor, expected an array")
    if not hasattr(data, "__array_function__"):
        data = np.asarray(data)
    if data.dtype.kind != "f":
        raise ValueError(f"{name}: got {data.dtype}, expected a float dtype")
    return data


new, births = object.__new__, itertools.count()
birth = operator.attrgetter("birth")


class Tensor:
    """A float array that remembers how it was computed.

    What is no Tensor is a constant: `x @ weight` differentiates with
    respect to `weight` only, if x is an array. Operators and methods work
    as NumPy's do and keep the dtype; `gradients` goes the way back. `data`
    is a copy of what was given and read-only: what is written afterwards,
    no pull can see. A new array may be put in its place.

    Raises `ValueError` for data that is not of a float dtype.
    """

    __slots__ = ("__weakref__", "array", "birth", "edges", "op")
    __array_ufunc__ = None  # array * Tensor: NumPy must leave it to us

    def __init__(self, data):
        self.array = as_floats(data).copy()
        self.op, self.edges, self.birth = "", (), next(births)

    def __array_function__(self, function, types, args, options):
        return NotImplemented  # or np.where would take it for one object

    def __repr__(self):
        return f"Tensor({self.data!r})"

    def __len__(self):
        return len(self.data)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return bool(self.data)

    @property
    def data(self):
        """The array, from now on read-only: pulls may still read it."""
        if isinstance(self.array, np.ndarray):
            self.array.setflags(write=False)
        return self.array

    @data.setter
    def data(self, data):
        data = as_floats(data)
        if data.shape != self.shape:  # pulls know the old one
            raise ValueError(
                f"data: got shape {data.shape}, expected {self.shape}"
            )
        self.array = data.copy()

    @property
    def shape(self):
        """Lengths of the axes."""
        return self.array.shape

    @property
    def dtype(self):
        """Type of the numbers."""
        return self.array.dtype

    def __add__(self, other):
        return node("+", self.array + raw(other), (self, same), (other, same))

    __radd__ = __add__

    def __sub__(self, other):
        out = self.array - raw(other)
        return node("−", out, (self, same), (other, np.negative))

    def __rsub__(self, constant):
        return node("−", constant - self.array, (self, np.negative))

    def __neg__(self):
        return node("−", -self.array, (self, np.negative))

    def __mul__(self, other):
        x, y = self.array, raw(other)
        return node(
            "×", x * y, (self, lambda g: g * y), (other, lambda g: g * x)
        )

    __rmul__ = __mul__

    def __truediv__(self, other):
        x, y = self.array, raw(other)
        out = x / y
        return node(
            "÷", out, (self, lambda g: g / y), (other, lambda g: -g * out / y)
        )

    def __rtruediv__(self, constant):
        x = self.array
        out = constant / x
        return node("÷", out, (self, lambda g: -g * out / x))

    def __pow__(self, n):
        return power(self, n)

    def __rpow__(self, constant):
        return power(constant, self)

    def __matmul__(self, other):
        return matmul(self, other)

    def __rmatmul__(self, constant):
        return matmul(constant, self)

    def exp(self):
        """Raise e to the power of each element."""
        out = np.exp(self.array)
        return node("exp", out, (self, lambda g: g * out))

    def log(self):
        """The natural logarithm."""
        x = self.array
        return node("log", np.log(x), (self, lambda g: g / x))

    def tanh(self):
        """The hyperbolic tangent."""
        out = np.tanh(self.array)
        return node("tanh", out, (self, lambda g: g * (1 - out * out)))

    def relu(self):
        """max(x, 0); its slope at 0 is 0."""
        x = self.array
        shut = x <= 0
        out = np.where(shut, 0, x)  # x * (x > 0) would be NaN at -inf
        return node("relu", out, (self, lambda g: np.where(shut, 0, g)))

    def sum(self, axis=None, keepdims=False):
        """The sum over `axis`: one, several or (None) all."""
        x = self.array
        out = x.sum(axis=axis, keepdims=keepdims)
        return node("sum", out, (self, lambda g: spread(g, axis, keepdims, x)))

    def mean(self, axis=None, keepdims=False):
        """The mean over `axis`."""
        total = self.sum(axis, keepdims)
        return total / (self.array.size // max(1, total.array.size))

    def max(self, axis=None, keepdims=False):
        """The largest over `axis`; equals share its gradient evenly."""
        x = self.array
        out = x.max(axis=axis, keepdims=keepdims)
        winners = x == x.max(axis=axis, keepdims=True)
        share = winners / winners.sum(axis=axis, keepdims=True, dtype=x.dtype)
        return node(
            "max",
            out,
            (self, lambda g: spread(g, axis, keepdims, x) * share),
        )

    def softmax(self, axis=-1):
        """Positive, and 1 in sum over `axis`."""
        return self.log_softmax(axis).exp()

    def log_softmax(self, axis=-1):
        """The logarithm of softmax: x − m − ln Σ exp(x − m), m = max x."""
        shifted = self - raw(self).max(axis=axis, keepdims=True)
        return shifted - shifted.exp().sum(axis, keepdims=True).log()

    def reshape(self, *shape):
        """The same elements in another shape."""
        x = self.array
        out = x.reshape(*shape)
        return node("reshape", out, (self, lambda g: g.reshape(x.shape)))

    def transpose(self, *axes):
        """The axes in the order given; without one, reversed."""
        x = self.array
        order = [axis % x.ndim for axis in axes] or range(x.ndim)[::-1]
        back = np.argsort(order).tolist()
        return node(
            "transpose",
            x.transpose(*order),
            (self, lambda g: g.transpose(*back)),
        )

    def __getitem__(self, index):
        many = isinstance(index, tuple)
        index = tuple(map(raw, index)) if many else raw(index)
        x = self.array
        return node("[ ]", x[index], (self, lambda g: scatter(g, index, x)))


def node(op, data, *edges):
    """A Tensor computed from others; edges to constants are left out."""
    if data.dtype.kind != "f":  # of a complex constant, or an array of Tensors
        raise ValueError(f"{op}: got {data.dtype}, expected a float dtype")
    out = new(Tensor)
    out.array, out.op, out.birth = data, op, next(births)
    if len(edges) > 1:  # a single one comes from a method of a Tensor
        edges = [edge for edge in edges if isinstance(edge[0], Tensor)]
    out.edges = edges
    return out


def raw(x):
    """The array of a Tensor; of a constant array a copy, which stays."""
    if isinstance(x, Tensor):
        return x.array
    return x.copy() if isinstance(x, np.ndarray | list) else x


def matmul(a, b):
    """Matrix product as `@` does it: batches broadcast, 1-d is a vector."""
    if len(b.shape) == 1:
        column = matmul(a, b.reshape(-1, 1))
        return column.reshape(column.shape[:-1])
    if len(a.shape) == 1:
        row = matmul(a.reshape(1, -1), b)
        return row.reshape(row.shape[:-2] + row.shape[-1:])
    x, y = raw(a), raw(b)
    return node(
        "@",
        x @ y,
        (a, lambda g: g @ y.swapaxes(-1, -2)),  # .T would turn a batch too
        (b, lambda g: x.swapaxes(-1, -2) @ g),
    )


def power(x, n):
    """Raise x to the power of n; either may be a constant."""
    base, exponent = raw(x), raw(n)
    out = base**exponent
    lower = exponent - (exponent != 0)
    return node(
        "power",
        out,
        (x, lambda g: np.where(exponent == 0, 0, g * exponent * base**lower)),
        (n, lambda g: g * along_exponent(out, base, exponent)),
    )


def stack(parts):
    """Tensors and constants of one shape, as one Tensor along a new axis."""
    shapes = {np.shape(raw(part)) for part in parts}
    if len(shapes) != 1:
        raise ValueError(f"parts: got shapes {shapes}, expected one shape")
    edges = [(x, lambda g, i=i: g[i]) for i, x in enumerate(parts)]
    return node("stack", np.stack([raw(x) for x in parts]), *edges)
