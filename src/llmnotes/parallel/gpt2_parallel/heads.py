"""Causal attention, a head and BLOCK queries at a time, and its gradient.

Each item copies its head into scratch memory, as wide as whole registers
need, and works there: products by register tiles, softmax by vectors.

    inp, dinp = (batch, length, 3C): query, key, value of all heads, gradients
    which     = QUERY, KEY or VALUE: which third of inp
    preatt, att = scores and weights, (batch, heads, query, key)
    q, k, kt, vt = one head's queries, keys, keysᵀ, valuesᵀ in scratch memory
    s         = (queries, keys): scores, then weights; or their gradients
    wide      = a size rounded up to whole registers
    every worker's first arguments: a share of the items, then scratch memory

A later block has more keys, so items differ: the last of 16 blocks takes 16
times as long as the first.

Sources
- Vaswani et al. 2017, "Attention Is All You Need", arXiv 1706.03762, §3.2.1.
"""

import numpy as np
from numba import njit

from llmnotes.compiled import keep
from llmnotes.kernels.gemm.tiles import LANES, product, transpose
from llmnotes.parallel.gpt2_parallel.rows import ONE, lanes_of, softmax_row
from llmnotes.parallel.gpt2_parallel.team import FAST, taken

BLOCK = 64
QUERY, KEY, VALUE = 0, 1, 2
FAR = np.int64(2**40)  # an edge that cuts nothing off
SET, ADD = np.bool_(False), np.bool_(True)


def wide(size: int) -> int:
    """The next multiple of LANES."""
    return -(-size // LANES) * LANES


def scratch_size(length: int, width: int) -> int:
    """Numbers that a thread needs for one head of this width.

    Going back that is k, vt, dk and dv of the whole head, and q, dy and s of
    a block; going forward it is less.
    """
    columns, seen = wide(width), wide(length)
    whole = columns * (3 * length + seen)
    return whole + BLOCK * (2 * columns + seen) + LANES


@njit
def cut(scratch, rows, columns):
    """(matrix, rest): the first numbers as a matrix, and what is left."""
    size = rows * columns
    return scratch[:size].reshape(rows, columns), scratch[size:]


@njit
def copy_in(out, inp, b, h, which, first, width):
    """out[i] = that third of head h at token first + i; zeros behind it."""
    start = which * (inp.shape[2] // 3) + h * width
    for i in range(out.shape[0]):
        x = inp[b, first + i]
        for c in range(width):
            out[i, c] = x[start + c]
        for c in range(width, out.shape[1]):
            out[i, c] = 0


@njit
def copy_rows(out, x, b, h, first, width):
    """The same from (batch, length, C)."""
    for i in range(out.shape[0]):
        row = x[b, first + i]
        for c in range(width):
            out[i, c] = row[h * width + c]
        for c in range(width, out.shape[1]):
            out[i, c] = 0


@njit
def attend(s, preatt, att, b, h, first, scale, lanes):
    """Scores become weights, row by row; what is not seen stays 0."""
    for i in range(s.shape[0]):
        t = first + i
        scores, weights = preatt[b, h, t], att[b, h, t]
        for j in range(t + 1):
            s[i, j] *= scale
            scores[j] = s[i, j]
        softmax_row(s, s, i, t + 1, lanes)
        for j in range(t + 1):
            weights[j] = s[i, j]
        scores[t + 1 :] = 0
        weights[t + 1 :] = 0


@njit(nogil=True)
def attention_forward(queue, step, end, scratch, out, preatt, att, inp):
    """An item is a block of a head's queries."""
    heads, length = att.shape[1], att.shape[2]
    width, blocks = out.shape[2] // heads, -(-length // BLOCK)
    columns = -(-width // LANES) * LANES
    scale = ONE / np.sqrt(np.float32(width))
    for item in taken(queue, step, end):
        b, h = item // blocks // heads, item // blocks % heads
        first = item % blocks * BLOCK
        last = min(first + BLOCK, length)
        rows, seen = last - first, -(-last // LANES) * LANES
        q, rest = cut(scratch[LANES:], rows, columns)
        k, rest = cut(rest, last, columns)
        kt, rest = cut(rest, columns, seen)
        s, rest = cut(rest, rows, seen)
        copy_in(q, inp, b, h, QUERY, first, width)
        copy_in(k, inp, b, h, KEY, 0, width)
        transpose(kt, k, ONE)
        product(s, q, kt, -FAR, FAR, SET)
        attend(s, preatt, att, b, h, first, scale, lanes_of(scratch))
        copy_in(k, inp, b, h, VALUE, 0, width)
        product(q, s[:, :last], k, -FAR, first + 1, SET)
        for i in range(rows):
            for c in range(width):
                out[b, first + i, h * width + c] = q[i, c]


@njit(**FAST)
def score_gradients(s, dpreatt, datt, att, b, h, first, scale):
    """S = gradients of weights; they become those of q·k."""
    for i in range(s.shape[0]):
        t = first + i
        weights, dscores, dweights = (
            att[b, h, t],
            dpreatt[b, h, t],
            datt[b, h, t],
        )
        along = np.float32(0)
        for j in range(t + 1):
            dweights[j] += s[i, j]
            along += weights[j] * dweights[j]
        for j in range(t + 1):
            dscores[j] += weights[j] * (dweights[j] - along)
            s[i, j] = dscores[j] * scale


@njit
def add_out(dinp, x, b, h, which, first, width):
    """That third of head h, at token first + i, += x[i]."""
    start = which * (dinp.shape[2] // 3) + h * width
    for i in range(x.shape[0]):
        row = dinp[b, first + i]
        for c in range(width):
            row[start + c] += x[i, c]


@njit(nogil=True)
def attention_backward(
    queue, step, end, scratch, dinp, dpreatt, datt, dout, inp, att
):
    """An item is a head: all of its queries add to its keys and values."""
    heads, length = att.shape[1], att.shape[2]
    width = dout.shape[2] // heads
    columns, seen = -(-width // LANES) * LANES, -(-length // LANES) * LANES
    scale = ONE / np.sqrt(np.float32(width))
    for item in taken(queue, step, end):
        b, h = item // heads, item % heads
        k, rest = cut(scratch, length, columns)
        vt, rest = cut(rest, columns, seen)
        dk, rest = cut(rest, length, columns)
        dv, rest = cut(rest, length, columns)
        copy_in(k, inp, b, h, VALUE, 0, width)
        transpose(vt, k, ONE)
        copy_in(k, inp, b, h, KEY, 0, width)
        dk[:], dv[:] = 0, 0
        for first in range(0, length, BLOCK):
            rows = min(BLOCK, length - first)
            q, more = cut(rest, rows, columns)
            dy, more = cut(more, rows, columns)
            s, more = cut(more, rows, seen)
            copy_in(q, inp, b, h, QUERY, first, width)
            copy_rows(dy, dout, b, h, first, width)
            keys = first + rows
            product(s, dy, vt, -FAR, FAR, SET)
            score_gradients(s, dpreatt, datt, att, b, h, first, scale)
            weights = att[b, h, first:keys, :keys]
            product(dv[:keys], weights.T, dy, -first, FAR, ADD)
            product(dk[:keys], s[:, :keys].T, q, -first, FAR, ADD)
            product(q, s[:, :keys], k, -FAR, first + 1, SET)
            add_out(dinp, q, b, h, QUERY, first, width)
        add_out(dinp, dk, b, h, KEY, 0, width)
        add_out(dinp, dv, b, h, VALUE, 0, width)


for one in (attention_forward, attention_backward):
    keep(one)
