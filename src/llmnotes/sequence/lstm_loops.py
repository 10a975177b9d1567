"""What happens to the numbers of one LSTM step, compiled by numba.

Arrays are float32; each row is contiguous. Loops write into arrays they are
given.

    stacked = (batch, 4·hidden): before the step the four gates' sums, after
              it the opened gates i, f, g, o
    c, c_before, h = (batch, hidden)
    dout, dh = gradients by the output h_t, from above and from t+1
    dc       = gradient by c_t; the loop makes it that by c_{t-1}
    dstacked = gradients by the four sums

Sources
1. Hochreiter & Schmidhuber 1997, "Long Short-Term Memory", Neural
   Computation 9(8).
"""

import inspect

import numpy as np
from numba import njit

one, two = np.float32(1), np.float32(2)

compile_loop = njit(fastmath=True, error_model="numpy", nogil=True, cache=True)


def jit(function):
    """Compile a loop, once per machine: numba keeps it on disk.

    Under pytest, jaxtyping wraps every function of the package; numba could
    not store such a wrapper, and there is nothing in it to check.
    """
    return compile_loop(inspect.unwrap(function))


@jit
def exp(x):
    """eˣ as 2ᵏ·eᶠ: k into the exponent's bits, eᶠ by its Taylor series.

    numba's own `math.exp` is a call per number; this one vectorises. Its
    relative error grows with |x|, from 2e-7 to less than 1e-5 at 87.
    """
    # numba's cache watches the file of a loop, not that of what it calls:
    # after a change here, remove __pycache__ where it is imported.
    t = x * np.float32(1.4426950408889634)
    t = min(max(t, np.float32(-126)), np.float32(126))
    k = np.int32(t + np.float32(126.5)) - np.int32(126)
    f = (t - np.float32(k)) * np.float32(0.6931471805599453)
    p = np.float32(1 / 720)
    p = p * f + np.float32(1 / 120)
    p = p * f + np.float32(1 / 24)
    p = p * f + np.float32(1 / 6)
    p = p * f + np.float32(1 / 2)
    p = p * f + one
    p = p * f + one
    bits = np.int32((k + np.int32(127)) << np.int32(23))
    return p * bits.view(np.float32)


@jit
def sigmoid(x):
    """1/(1 + e⁻ˣ)."""
    return one / (one + exp(-x))


@jit
def tanh(x):
    """2σ(2x) - 1, which is tanh."""
    return two / (one + exp(-two * x)) - one


@jit
def step_loop(stacked, c_before, c, h):
    """Open the gates and move the memory on: one pass over the numbers."""
    batch, hidden = c.shape
    for b in range(batch):
        # Slices of a row, so that the compiler sees stride 1 and vectorises.
        row = stacked[b]
        i, f = row[:hidden], row[hidden : 2 * hidden]
        g, o = row[2 * hidden : 3 * hidden], row[3 * hidden :]
        before, after, out = c_before[b], c[b], h[b]
        for j in range(hidden):
            i[j], f[j] = sigmoid(i[j]), sigmoid(f[j])
            g[j], o[j] = tanh(g[j]), sigmoid(o[j])
            after[j] = f[j] * before[j] + i[j] * g[j]
            out[j] = o[j] * tanh(after[j])


@jit
def gradient_loop(stacked, c_before, c, dout, dh, dc, dstacked):
    """`lstm_step_gradient` in one pass; dc becomes the gradient by c_{t-1}."""
    batch, hidden = c.shape
    for b in range(batch):
        row, drow = stacked[b], dstacked[b]
        i, f = row[:hidden], row[hidden : 2 * hidden]
        g, o = row[2 * hidden : 3 * hidden], row[3 * hidden :]
        di, df = drow[:hidden], drow[hidden : 2 * hidden]
        dg, do = drow[2 * hidden : 3 * hidden], drow[3 * hidden :]
        before, after, memory = c_before[b], c[b], dc[b]
        above, later = dout[b], dh[b]
        for j in range(hidden):
            t = tanh(after[j])
            d = above[j] + later[j]
            m = memory[j] + d * o[j] * (one - t * t)
            di[j] = m * g[j] * i[j] * (one - i[j])
            df[j] = m * before[j] * f[j] * (one - f[j])
            dg[j] = m * i[j] * (one - g[j] * g[j])
            do[j] = d * t * o[j] * (one - o[j])
            memory[j] = m * f[j]
