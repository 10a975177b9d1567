r"""Reverse mode: the gradient of a result with respect to all it came from.

    data           = the array that a node of the graph holds
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


def as_floats(data):
    """The array, also a dual one; `ValueError` for what is not of floats."""
    if not hasattr(data, "__array_function__"):
        data = np.asarray(data)
    if not np.issubdtype(data.dtype, np.floating):
        raise ValueError(f"data: got {data.dtype}, expected a float dtype")
    return data


new, births = object.__new__, itertools.count()
birth = operator.attrgetter("birth")


class Tensor:
    """A float array that remembers how it was computed.

    What is no Tensor is a constant: `x @ weight` differentiates with
    respect to `weight` only, if x is an array. Operators and methods work
    as NumPy's do and keep the dtype; `gradients` goes the way back.

    Raises `ValueError` for data that is not of a float dtype.
    """

    __slots__ = ("__weakref__", "birth", "data", "edges", "op")
    __array_ufunc__ = None  # array * Tensor: NumPy must leave it to us

    def __init__(self, data):
        self.data = as_floats(data)
        self.op, self.edges, self.birth = "", (), next(births)

    def __repr__(self):
        return f"Tensor({self.data!r})"

    @property
    def shape(self):
        """Lengths of the axes."""
        return self.data.shape

    @property
    def dtype(self):
        """Type of the numbers."""
        return self.data.dtype

    def __add__(self, other):
        return node("+", self.data + raw(other), (self, same), (other, same))

    __radd__ = __add__

    def __sub__(self, other):
        out = self.data - raw(other)
        return node("−", out, (self, same), (other, np.negative))

    def __rsub__(self, constant):
        return node("−", constant - self.data, (self, np.negative))

    def __neg__(self):
        return node("−", -self.data, (self, np.negative))

    def __mul__(self, other):
        x, y = self.data, raw(other)
        return node(
            "×", x * y, (self, lambda g: g * y), (other, lambda g: g * x)
        )

    __rmul__ = __mul__

    def __truediv__(self, other):
        x, y = self.data, raw(other)
        out = x / y
        return node(
            "÷", out, (self, lambda g: g / y), (other, lambda g: -g * out / y)
        )

    def __rtruediv__(self, constant):
        x = self.data
        out = constant / x
        return node("÷", out, (self, lambda g: -g * out / x))

    def __pow__(self, n):
        """Raise to the power of a number; the slope of x⁰ is 0 everywhere."""
        if not isinstance(n, int | float):
            kind = type(n).__name__
            raise ValueError(f"exponent: got {kind}, expected a number")
        x, lower = self.data, n - (n != 0)
        return node("power", x**n, (self, lambda g: g * n * x**lower))

    def __matmul__(self, other):
        return matmul(self, other)

    def __rmatmul__(self, constant):
        return matmul(constant, self)

    def exp(self):
        """Raise e to the power of each element."""
        out = np.exp(self.data)
        return node("exp", out, (self, lambda g: g * out))

    def log(self):
        """The natural logarithm."""
        x = self.data
        return node("log", np.log(x), (self, lambda g: g / x))

    def tanh(self):
        """The hyperbolic tangent."""
        out = np.tanh(self.data)
        return node("tanh", out, (self, lambda g: g * (1 - out * out)))

    def relu(self):
        """max(x, 0); its slope at 0 is 0."""
        x = self.data
        out = np.maximum(x, 0)  # x * (x > 0) would be NaN at -inf
        return node("relu", out, (self, lambda g: np.where(x > 0, g, 0)))

    def sum(self, axis=None, keepdims=False):
        """The sum over `axis`: one, several or (None) all."""
        x = self.data
        out = x.sum(axis=axis, keepdims=keepdims)
        return node("sum", out, (self, lambda g: spread(g, axis, keepdims, x)))

    def mean(self, axis=None, keepdims=False):
        """The mean over `axis`."""
        total = self.sum(axis, keepdims)
        return total / (self.data.size // max(1, total.data.size))

    def max(self, axis=None, keepdims=False):
        """The largest over `axis`; equals share its gradient evenly."""
        x = self.data
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
        x = self.data
        out = x.reshape(*shape)
        return node("reshape", out, (self, lambda g: g.reshape(x.shape)))

    def transpose(self, *axes):
        """The axes in the order given; without one, reversed."""
        x = self.data
        order = [axis % x.ndim for axis in axes] or range(x.ndim)[::-1]
        back = np.argsort(order).tolist()
        return node(
            "transpose",
            x.transpose(*order),
            (self, lambda g: g.transpose(*back)),
        )

    def __getitem__(self, index):
        x = self.data
        return node("[ ]", x[index], (self, lambda g: scatter(g, index, x)))


def node(op, data, *edges):
    """A Tensor computed from others; edges to constants are left out."""
    out = new(Tensor)
    out.data, out.op, out.birth = data, op, next(births)
    if len(edges) > 1:  # a single one comes from a method of a Tensor
        edges = [edge for edge in edges if isinstance(edge[0], Tensor)]
    out.edges = edges
    return out


def raw(x):
    """The array of a Tensor; a constant is its own."""
    return x.data if isinstance(x, Tensor) else x


def same(upstream):
    """The pull of a sum: everything goes to every term."""
    return upstream


def spread(g, axis, keepdims, x):
    """The pull of a sum over axes: each element of x gets all of g."""
    if axis is not None and not keepdims:
        g = np.expand_dims(g, axis)
    return g + np.zeros(x.shape, x.dtype)


def scatter(g, index, x):
    """The pull of x[index]: what was taken twice gets both gradients."""
    out = np.zeros_like(g, shape=x.shape)
    np.add.at(out, index, g)  # out[index] += g would count repeats once
    return out


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


def topological_order(output):
    """All that `output` was made from and itself, sources first.

    A node is younger than its sources, so the order of birth will do. The
    search keeps a list of its own: no graph is too deep for it.
    """
    seen, waiting = {output}, [output]
    while waiting:
        for source, _ in waiting.pop().edges:
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return sorted(seen, key=birth)


def fit(gradient, data):
    """Give a gradient the shape and dtype of the data it belongs to.

    Where broadcasting repeated the data, the copies' gradients are summed.
    """
    if gradient.shape != data.shape:
        extra = gradient.ndim - data.ndim
        ones = [i + extra for i, n in enumerate(data.shape) if n == 1]
        gradient = gradient.sum(axis=(*range(extra), *ones))
        if ones:
            gradient = gradient.reshape(data.shape)
    if gradient.dtype != data.dtype:
        gradient = gradient.astype(data.dtype)
    return gradient


def check_tensors(output, inputs) -> None:
    """Raise `ValueError` unless output and all inputs are Tensors."""
    if isinstance(inputs, Tensor):
        raise ValueError("inputs: got one Tensor, expected a list of them")
    named = {f"inputs[{i}]": x for i, x in enumerate(inputs)}
    for name, x in {"output": output, **named}.items():
        if not isinstance(x, Tensor):
            kind = type(x).__name__
            raise ValueError(f"{name}: got {kind}, expected a Tensor")


def first_gradient(output, upstream):
    """Return what arrives at the output: `upstream`, or 1 at one number."""
    if upstream is None and output.data.size == 1:
        upstream = np.ones(output.shape, output.dtype)
    shape = None if upstream is None else np.shape(upstream)
    if shape != output.shape:
        raise ValueError(
            f"upstream: got shape {shape}, expected output's {output.shape}"
        )
    return upstream


def gradients(output, inputs, upstream=None):
    """∂ Σ(output · upstream) / ∂x for every Tensor x in `inputs`.

    `upstream` (output's shape) may be left out where output is one number;
    then it is 1. An input that output was not made from gets zeros.

    Raises `ValueError` naming the argument that does not fit.
    """
    check_tensors(output, inputs)
    wanted = set(inputs)
    arriving = {output: first_gradient(output, upstream)}
    for tensor in reversed(topological_order(output)):
        take = arriving.get if tensor in wanted else arriving.pop
        upstream = take(tensor)
        for source, pull in tensor.edges:
            gradient, data = pull(upstream), source.data
            if gradient.shape != data.shape or gradient.dtype != data.dtype:
                gradient = fit(gradient, data)
            if source in arriving:  # not +=: others may hold that array
                gradient = arriving[source] + gradient
            arriving[source] = gradient
    return [
        arriving[x].copy() if x in arriving else np.zeros_like(x.data)
        for x in inputs
    ]
