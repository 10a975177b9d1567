"""Pulls that several operations share, and what takes repeats together.

g = what has arrived at a node; a pull says what its source gets of it
x = the array of the source
"""

import numpy as np


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


def along_exponent(out, x, n):
    """The slope of out = xⁿ along n: out·ln x, and 0 for 0ⁿ with n ≥ 0.

    There out·ln x is 0 · ln 0, which is NaN.
    """
    zero = (x == 0) & (n >= 0)
    return np.where(zero, 0, out * np.log(np.where(zero, 1, x)))


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
