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

from llmnotes.adaptation.quantization.lanes import LANES, dot, fetch
from llmnotes.compiled import jit

f32, i16, i32, u16 = np.float32, np.int16, np.int32, np.uint16
zero, none, mask = f32(0), i32(0), u16(15)
LINE = 64  # bytes that memory sends at once
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

    While one row is multiplied, memory sends the next.
    """
    rows, columns = w.shape
    for i in range(rows):
        following = w[min(i + 1, rows - 1)]
        for j in range(0, columns, LINE):
            fetch(following, j)
        total, row = dot(w[i], x), w[i]
        for j in range(columns - columns % LANES, columns):
            total = i32(total + i32(row[j]) * i32(x[j]))
        y[i] = f32(total) * (scale[i] * unit)


@jit
def multiply_int4(words, scale, x, offset, unit, y):
    """Rows of 4 bits: the four codes of a word belong to quarters of x."""
    first, second, third, fourth = x[0], x[1], x[2], x[3]
    for i in range(words.shape[0]):
        total, row = none, words[i]
        for j in range(first.size):
            v = row[j]
            total = i32(
                total
                + i32(v & mask) * i32(first[j])
                + i32(v >> c4 & mask) * i32(second[j])
                + i32(v >> c8 & mask) * i32(third[j])
                + i32(v >> c12) * i32(fourth[j])
            )
        y[i] = f32(i32(total - offset)) * (scale[i] * unit)


@jit
def word(v, x, g):
    """The codes of one word, each times its x."""
    return i16(
        i16(i16(v & mask) * x[0, g])
        + i16(i16(v >> c4 & mask) * x[1, g])
        + i16(i16(v >> c8 & mask) * x[2, g])
        + i16(i16(v >> c12) * x[3, g])
    )


@jit
def multiply_int4_groups(words, scale, x, offset, unit, quarter, y):
    """Rows of 4 bits, a scale for 64 neighbours: one lane for each group.

    Neighbours in memory belong to different groups, so no sum ever runs
    across lanes. 16 products of at most 15·127 fit into 16 bits; these are
    `quarter`, of each group a quarter.
    """
    for i in range(words.shape[0]):
        for k in range(4):
            v, u, out = words[i, k], x[k], quarter[k]
            v0, v1, v2, v3 = v[0], v[1], v[2], v[3]
            u0, u1, u2, u3 = u[0], u[1], u[2], u[3]
            for g in range(unit.size):
                out[g] = i16(
                    word(v0[g], u0, g)
                    + word(v1[g], u1, g)
                    + word(v2[g], u2, g)
                    + word(v3[g], u3, g)
                )
        total, s = zero, scale[i]
        a, b, c, d = quarter[0], quarter[1], quarter[2], quarter[3]
        for g in range(unit.size):
            whole = i32(i32(a[g]) + i32(b[g]) + i32(c[g]) + i32(d[g]))
            total += f32(i32(whole - offset[g])) * (s[g] * unit[g])
        y[i] = total


@jit
def round_off(x, top, out, unit, offset):
    """Round to whole numbers up to ±top, with a unit for each row of x."""
    for g in range(x.shape[0]):
        most, total = f32(1e-30), none
        for j in range(x.shape[1]):
            most = max(most, abs(x[g, j]))
        per = top / most
        for j in range(x.shape[1]):
            v = x[g, j] * per
            near = i16(v + f32(0.5)) if v > zero else i16(v - f32(0.5))
            out[g, j] = near
            total = i32(total + near)
        unit[g], offset[g] = most / top, i32(total * i32(8))
