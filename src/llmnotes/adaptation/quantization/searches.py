"""How the K formats of ggml look for the scale of a few weights.

    x       = the weights, one column for each group that shares a scale
    top     = the largest code
    weights = how much each error counts
    scale, low = x ≈ scale·q + low

Dividing by the largest weight is not the best that can be done: a slightly
smaller scale cuts the extremes and serves the rest. So some 20 scales are
tried; for each the codes are rounded, then the scale (and the minimum) that
suits these codes best follows from least squares.

All groups are searched at once; sums run over the rows of `x`, one after
the other in float32, as in the reference, whose choices between nearly equal
candidates are thus ours.

Sources
- ggml, `ggml-quants.c`: `make_qkx2_quants`, `make_qx_quants`,
  `make_q3_quants`.
"""

from functools import reduce

import numpy as np
from jaxtyping import Float

LEAST = np.float32(1e-15)  # a group of smaller weights counts as zeros
one, zero = np.float32(1), np.float32(0)

Rows = Float[np.ndarray, "rows groups"]
Each = Float[np.ndarray, "groups"]


def total(x: Rows) -> Each:
    """The sum of the rows, from the first to the last."""
    return reduce(np.add, x)


def divide(a: Each, b: Each) -> Each:
    """a/b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)


def codes_from(x: Rows, low: Each, inverse: Each, top: int) -> Rows:
    """The codes 0 … top nearest to (x − low)·inverse."""
    return np.rint((x - low) * inverse).clip(0, top)


def errors(x: Rows, weights: Rows, q: Rows, scale, low, absolute) -> Each:
    """How far scale·q + low is from x, squared or not, and weighted."""
    miss = scale * q + low - x
    miss = np.abs(miss) if absolute else miss * miss
    return total(weights * miss)


def line(
    x: Rows,
    weights: Rows,
    top: int,
    tried: np.ndarray,
    absolute: bool = False,
) -> tuple[Each, Each, Rows]:
    """Return the scales, the minima and the codes of x ≈ scale·q − minimum.

    `tried` are the numbers of steps between the smallest weight and the
    largest that are tried. The minimum is never below 0: a group of positive
    weights begins at 0.
    """  # fmt: skip
    low, high = np.minimum(x.min(0), zero), x.max(0)
    flat = low == high
    inverse = divide(np.full_like(low, top), high - low)
    scale = divide(np.ones_like(low), inverse)
    q = codes_from(x, low, inverse, top)
    best = errors(x, weights, q, scale, low, absolute)
    for steps in tried:  # from the best minimum so far
        inverse = divide(np.full_like(low, steps), high - low)
        new = codes_from(x, low, inverse, top)
        new_scale, new_low, solvable = least_squares(x, weights, new)
        error = errors(x, weights, new, new_scale, new_low, absolute)
        better = solvable & (error < best)
        best = np.where(better, error, best)
        scale = np.where(better, new_scale, scale)
        low = np.where(better, new_low, low)
        q = np.where(better, new, q)
    return np.where(flat, zero, scale), -low, np.where(flat, zero, q)


def least_squares(x: Rows, weights: Rows, q: Rows):
    """The scale and the minimum (at most 0) that suit codes best.

    Third, whether there are any: not where all codes are equal.
    """
    wq = weights * q
    w, s, sq = total(weights), total(wq), total(wq * q)
    sx, sqx = total(weights * x), total(wq * x)
    determinant = w * sq - s * s
    scale = divide(w * sqx - sx * s, determinant)
    low = divide(sq * sx - s * sqx, determinant)
    above = low > 0
    scale = np.where(above, divide(sqx, sq), scale)
    return scale, np.where(above, zero, low), determinant > 0


def extreme(x: Rows) -> Each:
    """The weight of the largest magnitude, with its sign."""
    return np.take_along_axis(x, np.abs(x).argmax(0)[None], 0)[0]


def through_zero(x: Rows, top: int) -> tuple[Each, Rows]:
    """Return the scales and the codes −top … top − 1 of x ≈ scale·q.

    An error counts x² times.
    """
    most = extreme(x)
    empty = np.abs(most) < LEAST
    most = np.where(empty, one, most)
    wx = x * x * x
    tried = [zero, *(np.float32(0.1) * np.float32(i) for i in NEIGHBOURS)]
    scale = best = q = None
    for i in tried:
        new = np.rint(-(np.float32(top) + i) / most * x).clip(-top, top - 1)
        products = total(wx * new)
        squares = total(x * x * new * new)
        new_scale = divide(products, squares)
        if q is None:
            scale, best, q = new_scale, new_scale * products, new
            continue
        better = (squares > 0) & (products * products > best * squares)
        scale = np.where(better, new_scale, scale)
        best = np.where(better, new_scale * products, best)
        q = np.where(better, new, q)
    return np.where(empty, zero, scale), np.where(empty, np.float32(-top), q)


NEIGHBOURS = [i for i in range(-9, 10) if i]


def one_by_one(x: Rows, top: int) -> tuple[Each, Rows]:
    """As `through_zero`, by moving one code at a time, five times around.

    A code moves to where it were best if the scale came from the others, if
    that makes the error smaller.
    """
    most = extreme(x)
    empty = np.abs(most) < LEAST
    inverse = np.float32(-top) / np.where(empty, one, most)
    q = np.rint(inverse * x).clip(-top, top - 1)
    w = x * x
    products, squares = total(w * x * q), total(w * q * q)
    for _ in range(5):
        for i, xi in enumerate(x):
            wx, wi, qi = w[i] * xi, w[i], q[i]
            others, rest = products - wx * qi, squares - wi * qi * qi
            new = np.rint(divide(xi * rest, others)).clip(-top, top - 1)
            a, b = others + wx * new, rest + wi * new * new
            better = a * a * squares > products * products * b
            better &= (others > 0) & (new != qi) & (b > 0)
            q[i] = np.where(better, new, qi)
            products = np.where(better, a, products)
            squares = np.where(better, b, squares)
    scale = divide(products, squares)
    return np.where(empty, zero, scale), np.where(empty, np.float32(-top), q)
