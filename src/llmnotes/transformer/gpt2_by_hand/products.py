"""Matrix products as loops a compiler can vectorise: blocks of 4 by 4.

    product      out[n, o] = Σ_c inp[n, c]·weight[o, c]: dot products, both
                 factors along memory
    add_product  out[n, :] += Σ_o factors[n, o]·inp[o, :]: rows added to rows

A loop that computes one dot product at a time waits for memory: two numbers
are loaded for one multiplication. With four rows and four columns at once,
eight loads feed sixteen of them. Nothing is transposed, copied or packed.

    PANEL = rows that stay in the cache while all rows of the other pass by
    SAFE  = what a compiler may do to our sums: add in another order, and
            multiply and add in one go. Not all of fast-math, which may also
            assume that no NaN and no infinity ever comes
"""

import inspect

from numba import njit

from llmnotes.compiled import keep

PANEL = 64
SAFE = {"reassoc", "contract", "nsz", "arcp"}
compile_loop = njit(fastmath=SAFE, error_model="numpy", nogil=True)


def jit(function):
    """Compile a loop, and keep it on disk."""
    return keep(compile_loop(inspect.unwrap(function)))


@jit
def row(x, n, o):
    """Four neighbours."""
    return x[n, o], x[n, o + 1], x[n, o + 2], x[n, o + 3]


@jit
def dots(out, inp, weight, n, o):
    """A block of 4 by 4 dot products in 16 scalars."""
    zero = out.dtype.type(0)
    a0, a1, a2, a3 = inp[n], inp[n + 1], inp[n + 2], inp[n + 3]
    b0, b1, b2, b3 = weight[o], weight[o + 1], weight[o + 2], weight[o + 3]
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = zero
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = zero
    for c in range(inp.shape[1]):
        s00 += a0[c] * b0[c]
        s01 += a0[c] * b1[c]
        s02 += a0[c] * b2[c]
        s03 += a0[c] * b3[c]
        s10 += a1[c] * b0[c]
        s11 += a1[c] * b1[c]
        s12 += a1[c] * b2[c]
        s13 += a1[c] * b3[c]
        s20 += a2[c] * b0[c]
        s21 += a2[c] * b1[c]
        s22 += a2[c] * b2[c]
        s23 += a2[c] * b3[c]
        s30 += a3[c] * b0[c]
        s31 += a3[c] * b1[c]
        s32 += a3[c] * b2[c]
        s33 += a3[c] * b3[c]
    r0, r1, r2, r3 = out[n], out[n + 1], out[n + 2], out[n + 3]
    r0[o], r0[o + 1], r0[o + 2], r0[o + 3] = s00, s01, s02, s03
    r1[o], r1[o + 1], r1[o + 2], r1[o + 3] = s10, s11, s12, s13
    r2[o], r2[o + 1], r2[o + 2], r2[o + 3] = s20, s21, s22, s23
    r3[o], r3[o + 1], r3[o + 2], r3[o + 3] = s30, s31, s32, s33


@jit
def dot(out, inp, weight, n, o):
    """One dot product, where no block of four is left."""
    s = out.dtype.type(0)
    a, b = inp[n], weight[o]
    for c in range(inp.shape[1]):
        s += a[c] * b[c]
    out[n, o] = s


@jit
def product(out, inp, weight):
    """Inp·weightᵀ; a panel of the weight stays while all rows pass."""
    rows, columns = out.shape
    for first in range(0, columns, PANEL):
        last = min(first + PANEL, columns)
        whole = last - (last - first) % 4
        for n in range(0, rows - rows % 4, 4):
            for o in range(first, whole, 4):
                dots(out, inp, weight, n, o)
            for o in range(whole, last):
                for i in range(n, n + 4):
                    dot(out, inp, weight, i, o)
        for n in range(rows - rows % 4, rows):
            for o in range(first, last):
                dot(out, inp, weight, n, o)


@jit
def add_rows(out, factors, inp, n, o):
    """Four rows of out get four rows of inp, each times a number."""
    y0, y1, y2, y3 = out[n], out[n + 1], out[n + 2], out[n + 3]
    x0, x1, x2, x3 = inp[o], inp[o + 1], inp[o + 2], inp[o + 3]
    f00, f01, f02, f03 = row(factors, n, o)
    f10, f11, f12, f13 = row(factors, n + 1, o)
    f20, f21, f22, f23 = row(factors, n + 2, o)
    f30, f31, f32, f33 = row(factors, n + 3, o)
    for c in range(inp.shape[1]):
        a, b, d, e = x0[c], x1[c], x2[c], x3[c]
        y0[c] += f00 * a + f01 * b + f02 * d + f03 * e
        y1[c] += f10 * a + f11 * b + f12 * d + f13 * e
        y2[c] += f20 * a + f21 * b + f22 * d + f23 * e
        y3[c] += f30 * a + f31 * b + f32 * d + f33 * e


@jit
def add_row(out, factors, inp, n, o):
    """One row of out gets one row of inp, times a number."""
    y, x, factor = out[n], inp[o], factors[n, o]
    for c in range(x.size):
        y[c] += factor * x[c]


@jit
def add_product(out, factors, inp):
    """Out += factors·inp; a panel of inp stays while all rows pass."""
    rows, columns = factors.shape
    for first in range(0, columns, PANEL):
        last = min(first + PANEL, columns)
        whole = last - (last - first) % 4
        for n in range(0, rows - rows % 4, 4):
            for o in range(first, whole, 4):
                add_rows(out, factors, inp, n, o)
            for o in range(whole, last):
                for i in range(n, n + 4):
                    add_row(out, factors, inp, i, o)
        for n in range(rows - rows % 4, rows):
            for o in range(first, last):
                add_row(out, factors, inp, n, o)
