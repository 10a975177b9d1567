"""Loops over numbers that do not know each other, and sums over few.

    CHUNK   = numbers in an item; 64 kB of each array
    COLUMNS = columns in an item where rows are summed
    every worker's first arguments: a share of the items, then scratch memory

Where rows are added up, an item is some columns of all of them: no two
threads write to the same number, and each sum has the same order, so the
number of threads does not change a bit.

Sources
- Hendrycks and Gimpel 2016, "GELU", arXiv 1606.08415, §2 (with tanh).
- Loshchilov and Hutter 2017, "Decoupled Weight Decay Regularization",
  arXiv 1711.05101, algorithm 2 (AdamW).
"""

import math

import numpy as np
from numba import njit

from llmnotes.compiled import exp, keep
from llmnotes.parallel.gpt2_parallel.team import FAST, taken

CHUNK, COLUMNS = 16384, 64
ONE = np.float32(1)
CUBE = np.float32(0.044715)
TWICE = np.float32(2 * math.sqrt(2 / math.pi))
SLOPE = np.float32(3 * 0.044715)


@njit(**FAST)
def chunk(x, item):
    """The item-th stretch of a flat array."""
    return x[item * CHUNK : (item + 1) * CHUNK]


@njit(**FAST)
def sigmoid_of_twice(x):
    """½(1 + tanh u) = 1 / (1 + e⁻²ᵘ), u = √(2/π)(x + 0.044715x³)."""
    return ONE / (ONE + exp(-TWICE * (x + CUBE * x * x * x)))


@njit(**FAST)
def gelu_forward(queue, step, end, scratch, out, inp):
    """x·s, s = sigmoid_of_twice(x): nothing cancels for x far below 0."""
    for item in taken(queue, step, end):
        y, x = chunk(out, item), chunk(inp, item)
        for i in range(x.size):
            y[i] = x[i] * sigmoid_of_twice(x[i])


@njit(**FAST)
def gelu_slope(x):
    """S + x·s(1 - s)·2u'."""
    s = sigmoid_of_twice(x)
    return s + x * s * (ONE - s) * TWICE * (ONE + SLOPE * x * x)


@njit(**FAST)
def gelu_backward(queue, step, end, scratch, dinp, inp, dout):
    """Dinp += slope · dout."""
    for item in taken(queue, step, end):
        dx, x, dy = chunk(dinp, item), chunk(inp, item), chunk(dout, item)
        for i in range(x.size):
            dx[i] += gelu_slope(x[i]) * dy[i]


@njit(**FAST)
def gelu_backward_first(queue, step, end, scratch, dinp, inp, dout):
    """Dinp = slope · dout."""
    for item in taken(queue, step, end):
        dx, x, dy = chunk(dinp, item), chunk(inp, item), chunk(dout, item)
        for i in range(x.size):
            dx[i] = gelu_slope(x[i]) * dy[i]


@njit(**FAST)
def residual_forward(queue, step, end, scratch, out, inp1, inp2):
    """Out = inp1 + inp2."""
    for item in taken(queue, step, end):
        y, a, b = chunk(out, item), chunk(inp1, item), chunk(inp2, item)
        for i in range(y.size):
            y[i] = a[i] + b[i]


@njit(**FAST)
def residual_backward(queue, step, end, scratch, dinp1, dinp2, dout):
    """Both += dout."""
    for item in taken(queue, step, end):
        a, b, dy = chunk(dinp1, item), chunk(dinp2, item), chunk(dout, item)
        for i in range(dy.size):
            a[i] += dy[i]
            b[i] += dy[i]


@njit(**FAST)
def residual_backward_first(queue, step, end, scratch, dinp1, dinp2, dout):
    """Both = dout."""
    for item in taken(queue, step, end):
        a, b, dy = chunk(dinp1, item), chunk(dinp2, item), chunk(dout, item)
        for i in range(dy.size):
            a[i] = dy[i]
            b[i] = dy[i]


@njit(**FAST)
def adamw(queue, step, end, scratch, params, grads, m, v, numbers):
    """All of AdamW in one pass: 7 floats moved for each parameter.

    `numbers` are beta1, 1 - beta1, beta2, 1 - beta2, what turns m and v into
    means (1 / (1 - betaᵗ)), eps, lr, lr · weight_decay.
    """
    b1, rest1, b2, rest2, scale1, scale2, eps, lr, decay = numbers
    for item in taken(queue, step, end):
        p, g = chunk(params, item), chunk(grads, item)
        mean, square = chunk(m, item), chunk(v, item)
        for i in range(p.size):
            mi = b1 * mean[i] + rest1 * g[i]
            vi = b2 * square[i] + rest2 * g[i] * g[i]
            mean[i], square[i] = mi, vi
            root = np.sqrt(scale2 * vi) + eps
            p[i] -= lr * (scale1 * mi / root) + decay * p[i]


@njit(**FAST)
def encoder_forward(queue, step, end, scratch, out, inp, wte, wpe):
    """A row of each table; an item is a row of (B·T, C)."""
    length = inp.shape[1]
    for item in taken(queue, step, end):
        b, t = item // length, item % length
        y, token, place = out[item], wte[inp[b, t]], wpe[t]
        for c in range(y.size):
            y[c] = token[c] + place[c]


@njit(**FAST)
def encoder_backward(queue, step, end, scratch, dwte, dwpe, dout, inp):
    """Back into both tables; an item is some columns of all rows."""
    length = inp.shape[1]
    for item in taken(queue, step, end):
        first = item * COLUMNS
        last = min(first + COLUMNS, dout.shape[1])
        for row in range(dout.shape[0]):
            b, t = row // length, row % length
            dy, token, place = dout[row], dwte[inp[b, t]], dwpe[t]
            for c in range(first, last):
                token[c] += dy[c]
                place[c] += dy[c]


for one in (
    gelu_forward,
    gelu_backward,
    gelu_backward_first,
    residual_forward,
    residual_backward,
    residual_backward_first,
    adamw,
    encoder_forward,
    encoder_backward,
):
    keep(one)
