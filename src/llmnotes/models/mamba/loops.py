"""The selective scan compiled by numba, forward and backward.

Names are those of `scan`. Arrays are float32, or float64 for proofs.

    lanes  = channels that are worked on together: a slice of the width
    at     = A/ln 2 of these channels, transposed: (state, lanes)
    h      = their states, (state, lanes), small enough for the first cache
    marks  = states before each piece of `chunk` tokens; what forward keeps
    g      = dL/dh, carried from the last token to the first
    first  = tokens with which a text begins

No state of a token leaves the cache: forward keeps one state for `chunk`
tokens, and backward computes those between again, with their decays. Work is
shared out by texts and slices of channels, which have nothing to say to each
other; only dA, dB and dC are sums over them, and each worker has its own.

Sources
- Gu and Dao 2023, "Mamba", arXiv 2312.00752, §3.3.2 and appendix D (fusion
  and recomputation).
"""

import math

import numpy as np
from numba import types
from numba.extending import overload

from llmnotes.compiled import jit

LANES = 128
LN2 = math.log(2)
# 2^f for |f| ≤ ½, by least squares of the relative error; exact at 0, since a
# token with Δ = 0 has to leave a state as it is.
P0, P1, P2 = 1.0, 0.69314686, 0.24022238
P3, P4, P5 = 0.05550893, 0.00967170, 0.00132187


@jit
def quick_power(t):
    """2ᵗ for t ≤ 0 in float32: a polynomial, and k into the exponent's bits.

    t = k + f with k whole and |f| ≤ ½. Below 2⁻¹²⁶ it stays there. Its
    relative error is at most 2e-7.
    """
    t = max(t, np.float32(-126))
    k = np.int32(t - np.float32(0.5))
    f = t - np.float32(k)
    p = np.float32(P5)
    p = p * f + np.float32(P4)
    p = p * f + np.float32(P3)
    p = p * f + np.float32(P2)
    p = p * f + np.float32(P1)
    p = p * f + np.float32(P0)
    bits = np.float32(p).view(np.int32) + np.int32(k << np.int32(23))
    return np.int32(bits).view(np.float32)


def power(t):
    """2ᵗ: the quick one for float32, the exact one for float64."""
    return 2.0**t


@overload(power)
def compiled_power(t):
    """Choose by the type that is compiled for."""
    if t == types.float32:
        return lambda t: quick_power(t)
    return lambda t: math.exp(t * LN2)


@jit
def forward_step(h, x, delta, at, b, c, written, y):
    """One token of some channels: their states and what they say."""
    for d in range(x.size):
        y[d], written[d] = 0, delta[d] * x[d]
    for n in range(b.size):
        state, rate, bn, cn = h[n], at[n], b[n], c[n]
        for d in range(x.size):
            decay = power(delta[d] * rate[d])
            state[d] = decay * state[d] + written[d] * bn
            y[d] += state[d] * cn


@jit
def forward_lanes(place, h, x, delta, at, b, c, first, y, marks, chunk):
    """All tokens of some channels of one text."""
    i, low, high = place
    written = np.empty(high - low, x.dtype)
    for t in range(x.shape[1]):
        if t % chunk == 0:
            marks[i, t // chunk, :, low:high] = h
        if first[i, t]:
            h[:] = 0
        forward_step(
            h,
            x[i, t, low:high],
            delta[i, t, low:high],
            at,
            b[i, t],
            c[i, t],
            written,
            y[i, t, low:high],
        )


@jit
def forward_worker(
    worker, workers, x, delta, at, b, c, first, y, last, marks, chunk
):
    """Every `workers`-th slice of channels."""
    slices = -(-x.shape[2] // LANES)
    for item in range(worker, x.shape[0] * slices, workers):
        i, low = item // slices, item % slices * LANES
        place = i, low, min(low + LANES, x.shape[2])
        h = last[i, :, low : place[2]].copy()
        rates = at[:, low : place[2]].copy()
        forward_lanes(place, h, x, delta, rates, b, c, first, y, marks, chunk)
        last[i, :, low : place[2]] = h


@jit
def step_again(old, new, decay, x, delta, at, b, written):
    """One token of some channels again: its decays, and the states behind."""
    for d in range(x.size):
        written[d] = delta[d] * x[d]
    for n in range(b.size):
        was, now, a, rate, bn = old[n], new[n], decay[n], at[n], b[n]
        for d in range(x.size):
            a[d] = power(delta[d] * rate[d])
            now[d] = a[d] * was[d] + written[d] * bn


@jit
def backward_step(
    g, x, delta, at, b, c, dy, old, new, decay, dx, ddelta, da, db, dc, fade
):
    """What one token adds to all gradients, given dL/dh behind it.

    dx and fade grow to Σ g·B and Σ g·A·decay·h before; a decay's place then
    holds its own gradient. Loops are short because a compiler has to see
    that what one writes is not what it reads.
    """
    for d in range(x.size):
        dx[d], fade[d] = 0, 0
        ddelta[d] = delta[d] * x[d]
    for n in range(b.size):
        gn, a, was, now, bn, cn = g[n], decay[n], old[n], new[n], b[n], c[n]
        to_b, to_c = x[0] * 0, x[0] * 0
        for d in range(x.size):
            gn[d] += cn * dy[d]
            to_c += now[d] * dy[d]
        for d in range(x.size):
            to_b += gn[d] * ddelta[d]
            dx[d] += gn[d] * bn
        for d in range(x.size):
            gn[d] *= a[d]
            a[d] = gn[d] * was[d]
        db[n] += to_b
        dc[n] += to_c
        rate, dan = at[n], da[n]
        for d in range(x.size):
            fade[d] += a[d] * rate[d]
            dan[d] += a[d] * delta[d]
    for d in range(x.size):
        ddelta[d] = dx[d] * x[d] + fade[d] * LN2
        dx[d] *= delta[d]


@jit
def backward_lanes(
    place, g, x, delta, at, b, c, first, dy, marks, dx, ddelta, da, sums, chunk
):
    """All tokens of some channels, piece by piece from the last."""
    i, low, high = place
    db, dc = sums
    states = np.empty((chunk + 1, at.shape[0], high - low), x.dtype)
    decays = np.empty((chunk, at.shape[0], high - low), x.dtype)
    fade, nothing = np.empty(high - low, x.dtype), np.zeros_like(g)
    for piece in range(marks.shape[1] - 1, -1, -1):
        begin, end = piece * chunk, min(piece * chunk + chunk, x.shape[1])
        states[0] = marks[i, piece, :, low:high]
        for t in range(begin, end):
            step_again(
                nothing if first[i, t] else states[t - begin],
                states[t - begin + 1],
                decays[t - begin],
                x[i, t, low:high],
                delta[i, t, low:high],
                at,
                b[i, t],
                fade,
            )
        for t in range(end - 1, begin - 1, -1):
            backward_step(
                g,
                x[i, t, low:high],
                delta[i, t, low:high],
                at,
                b[i, t],
                c[i, t],
                dy[i, t, low:high],
                nothing if first[i, t] else states[t - begin],
                states[t - begin + 1],
                decays[t - begin],
                dx[i, t, low:high],
                ddelta[i, t, low:high],
                da,
                db[i, t],
                dc[i, t],
                fade,
            )
            if first[i, t]:
                g[:] = 0


@jit
def backward_worker(
    worker, workers, x, delta, at, b, c, first, dy, marks, grads, sums, chunk
):
    """Every `workers`-th slice; its sums over channels are its own."""
    dx, ddelta, dh = grads
    da, db, dc = sums
    slices = -(-x.shape[2] // LANES)
    for item in range(worker, x.shape[0] * slices, workers):
        i, low = item // slices, item % slices * LANES
        high = min(low + LANES, x.shape[2])
        g, fading = dh[i, :, low:high].copy(), da[worker, :, low:high].copy()
        backward_lanes(
            (i, low, high),
            g,
            x,
            delta,
            at[:, low:high].copy(),
            b,
            c,
            first,
            dy,
            marks,
            dx,
            ddelta,
            fading,
            (db[worker], dc[worker]),
            chunk,
        )
        dh[i, :, low:high], da[worker, :, low:high] = g, fading
