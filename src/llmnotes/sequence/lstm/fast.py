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
- Hochreiter & Schmidhuber 1997, "Long Short-Term Memory", Neural
  Computation 9(8).
"""

import numpy as np

from llmnotes.compiled import exp, jit

one, two = np.float32(1), np.float32(2)


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
