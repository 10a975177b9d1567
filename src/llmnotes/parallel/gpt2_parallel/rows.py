"""Rows that are normalised: by mean and length, or to add up to 1.

    inp, out   = (rows, width) before and after; logits, probs likewise
    mean, rstd = of each row; rstd = 1/σ
    ROWS       = rows in an item; COLUMNS where rows are summed
    every worker's first arguments: a share of the items, then scratch memory

Sources
- Ba et al. 2016, "Layer Normalization", arXiv 1607.06450.
"""

import math

import numpy as np
from numba import njit

from llmnotes.compiled import keep
from llmnotes.kernels.gemm.tiles import (
    LANES,
    broadcast,
    exp2,
    load,
    maximum,
    store,
)
from llmnotes.parallel.gpt2_parallel.pointwise import COLUMNS
from llmnotes.parallel.gpt2_parallel.team import FAST, taken

ROWS = 8
EPS, ONE, ZERO = np.float32(1e-5), np.float32(1), np.float32(0)
LOG2E = np.float32(math.log2(math.e))
LOWEST = np.float32(-np.inf)


@njit(**FAST)
def layernorm_forward(
    queue, step, end, scratch, out, mean, rstd, inp, weight, bias
):
    """Three loops over a row, which stays in the nearest cache."""
    width = np.float32(inp.shape[1])
    for item in taken(queue, step, end):
        for row in range(item * ROWS, min((item + 1) * ROWS, len(inp))):
            x, y, total, square = inp[row], out[row], ZERO, ZERO
            for c in range(x.size):
                total += x[c]
            m = total / width
            for c in range(x.size):
                square += (x[c] - m) * (x[c] - m)
            r = ONE / np.sqrt(square / width + EPS)
            for c in range(x.size):
                y[c] = (x[c] - m) * r * weight[c] + bias[c]
            mean[row], rstd[row] = m, r


@njit(**FAST)
def norm_input(dinp, dout, inp, weight, mean, rstd, row):
    """What one row of dout does to its row of dinp."""
    x, dx, dy, m, r = inp[row], dinp[row], dout[row], mean[row], rstd[row]
    level, along = ZERO, ZERO
    for c in range(x.size):
        dnorm = dy[c] * weight[c]
        level += dnorm
        along += dnorm * ((x[c] - m) * r)
    level /= np.float32(x.size)
    along /= np.float32(x.size)
    for c in range(x.size):
        norm = (x[c] - m) * r
        dx[c] += (dy[c] * weight[c] - level - norm * along) * r


@njit(**FAST)
def norm_parameters(dweight, dbias, dout, inp, mean, rstd, first):
    """Some columns of dweight and dbias, over all rows."""
    last = min(first + COLUMNS, inp.shape[1])
    for row in range(len(inp)):
        x, dy, m, r = inp[row], dout[row], mean[row], rstd[row]
        for c in range(first, last):
            dweight[c] += dy[c] * ((x[c] - m) * r)
            dbias[c] += dy[c]


@njit(**FAST)
def layernorm_backward(
    queue,
    step,
    end,
    scratch,
    dinp,
    dweight,
    dbias,
    dout,
    inp,
    weight,
    mean,
    rstd,
):
    """First the items of rows, then those of columns: none waits."""
    blocks = -(-len(inp) // ROWS)
    for item in taken(queue, step, end):
        if item < blocks:
            for row in range(item * ROWS, min((item + 1) * ROWS, len(inp))):
                norm_input(dinp, dout, inp, weight, mean, rstd, row)
        else:
            first = (item - blocks) * COLUMNS
            norm_parameters(dweight, dbias, dout, inp, mean, rstd, first)


@njit
def highest(x, row, size):
    """The largest of a row's first numbers."""
    high, whole = broadcast(LOWEST), size - size % LANES
    for c in range(0, whole, LANES):
        high = maximum(load(x, row, c), high)
    return high, whole


@njit
def lanes_of(scratch):
    """A row of LANES numbers that a register can be written to."""
    return scratch[:LANES].reshape(1, LANES)


@njit
def softmax_row(probs, x, row, size, lanes):
    """Probs = eˣ⁻ʰ / Σ of a row's first numbers; x and probs may be one."""
    vector, whole = highest(x, row, size)
    store(vector, lanes, 0, 0)
    high = lanes[0].max()
    for c in range(whole, size):
        high = max(high, x[row, c])
    vector, scale = broadcast(high), broadcast(LOG2E)
    total, rest = broadcast(ZERO), ZERO
    for c in range(0, whole, LANES):
        p = exp2((load(x, row, c) - vector) * scale)
        store(p, probs, row, c)
        total = total + p
    for c in range(whole, size):
        probs[row, c] = np.exp(x[row, c] - high)
        rest += probs[row, c]
    store(total, lanes, 0, 0)
    factor = ONE / (rest + lanes[0].sum())
    for c in range(size):
        probs[row, c] *= factor


@njit(nogil=True)
def softmax_forward(queue, step, end, scratch, probs, logits, tokens):
    """An item is a row; columns behind `tokens` are padding and get 0."""
    lanes = lanes_of(scratch)
    for item in taken(queue, step, end):
        softmax_row(probs, logits, item, tokens, lanes)
        probs[item, tokens:] = 0


@njit(**FAST)
def crossentropy_softmax_backward(
    queue, step, end, scratch, dlogits, dlosses, probs, targets, tokens
):
    """Dlogits += (p - 1 where the token is) · dloss; an item is a row."""
    for item in taken(queue, step, end):
        dx, p, share = dlogits[item], probs[item], dlosses[item]
        for c in range(tokens):
            dx[c] += p[c] * share
        dx[targets[item]] -= share


@njit(**FAST)
def crossentropy_softmax_backward_first(
    queue, step, end, scratch, dlogits, dlosses, probs, targets, tokens
):
    """The same, set: 0 in the columns of padding."""
    for item in taken(queue, step, end):
        dx, p, share = dlogits[item], probs[item], dlosses[item]
        for c in range(tokens):
            dx[c] = p[c] * share
        dx[tokens:] = 0
        dx[targets[item]] -= share


for one in (
    layernorm_forward,
    layernorm_backward,
    softmax_forward,
    crossentropy_softmax_backward,
    crossentropy_softmax_backward_first,
):
    keep(one)
