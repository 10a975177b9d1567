"""A matrix of few bits times one vector, compiled by numba.

    columns = width of x
    codes   = the weights as whole numbers; of 4 bits, they are stored as
              q + 8, so 1 … 15
    words   = four codes of 4 bits in 16
    x       = the vector, rounded to whole numbers as well, when it is used
    unit    = what one step of these is worth
    offset  = 8·Σx, what the stored 8s add to a sum

Decoding multiplies every matrix by one vector: each weight is read once and
used once, so what counts is how many bytes it takes, as long as unpacking
keeps up. Converting every code to a float would not. So x becomes whole
numbers, and whole numbers are multiplied: a processor takes 8 or 16 pairs of
16 bits in one instruction.

Sources
- Dettmers et al. 2022, "LLM.int8()", arXiv 2208.07339, §2.1 (x in whole
  numbers, one scale for each row of both).
- ggml, `ggml_vec_dot_q4_0_q8_0`: x in 8 bits, a scale for each block.
"""

import numpy as np

from llmnotes.adaptation.quantization.lanes import (
    LANES,
    dot,
    dot_groups,
    dot_words,
    fetch,
)
from llmnotes.compiled import jit

f32, i16, i32, u16 = np.float32, np.int16, np.int32, np.uint16
zero, none, mask = f32(0), i32(0), u16(15)
LINE, PIECE = 64, 512  # bytes: sent at once, asked for at once
HALF = PIECE // 2  # as many words
c4, c8, c12 = u16(4), u16(8), u16(12)  # typed: an int would make it 64 bits


@jit
def multiply_float32(w, x, y):
    """Wx, four rows at a time, so that x is read a quarter as often."""
    rows, columns = w.shape
    for i in range(0, rows - 3, 4):
        a, b, c, d = zero, zero, zero, zero
        p, q, r, s = w[i], w[i + 1], w[i + 2], w[i + 3]
        for j in range(columns):
            v = x[j]
            a += p[j] * v
            b += q[j] * v
            c += r[j] * v
            d += s[j] * v
        y[i], y[i + 1], y[i + 2], y[i + 3] = a, b, c, d
    for i in range(rows - rows % 4, rows):
        a, p = zero, w[i]
        for j in range(columns):
            a += p[j] * x[j]
        y[i] = a


@jit
def multiply_int8(w, scale, x, unit, y):
    """Rows of 8 bits, x of 16, sums of 32.

    While a piece is multiplied, memory sends the one a row below.
    """
    rows, columns = w.shape
    for i in range(rows):
        total, row, below = none, w[i], w[min(i + 1, rows - 1)]
        for j in range(0, columns, PIECE):
            for k in range(j, j + PIECE, LINE):
                fetch(below, k)
            total = i32(total + dot(row[j : j + PIECE], x[j : j + PIECE]))
        for j in range(columns - columns % LANES, columns):
            total = i32(total + i32(row[j]) * i32(x[j]))
        y[i] = f32(total) * (scale[i] * unit)


@jit
def multiply_int4(words, scale, x, offset, unit, y):
    """Rows of 4 bits: the four codes of a word belong to quarters of x."""
    a, b, c, d = x[0], x[1], x[2], x[3]
    rows, size = words.shape
    for i in range(rows):
        total, row, below = none, words[i], words[min(i + 1, rows - 1)]
        for j in range(0, size, HALF):
            for k in range(j, j + HALF, LINE // 2):
                fetch(below, k)
            p = slice(j, j + HALF)
            total = i32(total + dot_words(row[p], a[p], b[p], c[p], d[p]))
        for j in range(size - size % LANES, size):
            v = row[j]
            total = i32(
                total
                + i32(v & mask) * i32(a[j])
                + i32(v >> c4 & mask) * i32(b[j])
                + i32(v >> c8 & mask) * i32(c[j])
                + i32(v >> c12) * i32(d[j])
            )
        y[i] = f32(i32(total - offset)) * (scale[i] * unit)


@jit
def multiply_int4_groups(words, scale, x, offset, unit, y):
    """Rows of 4 bits, a scale for 64 neighbours: 16 words, one instruction.

    What the stored 8s add is taken off at the end, group by group.
    """
    a, b, c, d = x[0], x[1], x[2], x[3]
    rows, size = words.shape
    for i in range(rows):
        total, row, below = zero, words[i], words[min(i + 1, rows - 1)]
        for j in range(0, size, HALF):
            for k in range(j, j + HALF, LINE // 2):
                fetch(below, k)
            p, s = slice(j, j + HALF), scale[i, j // LANES :]
            total += dot_groups(row[p], a[p], b[p], c[p], d[p], s)
        for g in range(offset.size):
            total -= scale[i, g] * offset[g]
        y[i] = total * unit


@jit
def round_off(x, top, out, offset):
    """Round to whole numbers up to ±top; return what one step is worth.

    `offset` is 8·Σ of each row of what comes out.
    """
    most = f32(1e-30)
    for g in range(x.shape[0]):
        for j in range(x.shape[1]):
            most = max(most, abs(x[g, j]))
    per = top / most
    for g in range(x.shape[0]):
        total = none
        for j in range(x.shape[1]):
            v = x[g, j] * per
            near = i16(v + f32(0.5)) if v > zero else i16(v - f32(0.5))
            out[g, j] = near
            total = i32(total + near)
        offset[g] = i32(total * i32(8))
    return most / top
