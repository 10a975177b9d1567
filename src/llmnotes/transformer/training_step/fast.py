"""The loops behind `fused`, compiled by numba: one pass over the numbers.

Arrays are float32 and contiguous. Loops write into arrays they are given.

    q, k, v = (batch·heads, length, head_dim)
    p, s    = attention weights and the gradient of the scores,
              (batch·heads, length, length)
    inv     = 1/√(mean square + ε), one per row
    slope   = derivative of y by x, element by element
    cos, sin = of RoPE's angles, (length, half)

Sources
- Dao et al. 2022, "FlashAttention", arXiv 2205.14135, appendix B.2 (the
  gradient of softmax attention).
"""

import math

import numpy as np

from llmnotes.compiled import exp, jit

EPS = np.float32(1e-6)
one, zero = np.float32(1), np.float32(0)


@jit
def gelu_loop(x, y, slope):
    """Y = x·σ(2u) with u = √(2/π)(x + 0.044715x³), which is the tanh form."""
    a, b = np.float32(2 * math.sqrt(2 / math.pi)), np.float32(0.044715)
    for i in range(x.size):
        v = max(x[i], np.float32(-20))  # below it y and its slope are 0
        w = b * v * v
        # Capped, so that no product of e with the rest overflows.
        e = exp(min(-a * v * (one + w), np.float32(60)))
        s = one / (one + e)
        y[i] = x[i] * s
        slope[i] = s + v * s * (s * e) * a * (one + np.float32(3) * w)


@jit
def relu_squared_loop(x, y, slope):
    """Y = max(x, 0)²."""
    for i in range(x.size):
        v = max(x[i], zero)
        y[i] = v * v
        slope[i] = v + v


@jit
def norm_loop(x, weight, y, inv):
    """Y = x·inv, plus `weight` times the row before in its sequence."""
    batch, length, width = x.shape
    for b in range(batch):
        for t in range(length):
            total = zero
            for c in range(width):
                total += x[b, t, c] * x[b, t, c]
            r = one / math.sqrt(total / np.float32(width) + EPS)
            inv[b, t] = r
            for c in range(width):
                y[b, t, c] = x[b, t, c] * r
        for t in range(length - 1, 0, -1):  # backwards: t - 1 is unmixed yet
            for c in range(width):
                y[b, t, c] += weight[c] * y[b, t - 1, c]


@jit
def norm_gradient_loop(x, weight, inv, grad, dx, dweight):
    """Dx and dweight of `norm_loop`."""
    batch, length, width = x.shape
    row = np.empty(width, np.float32)
    for b in range(batch):
        for t in range(length):
            dot = zero
            for c in range(width):
                g = grad[b, t, c]
                if t + 1 < length:
                    after = grad[b, t + 1, c]
                    dweight[c] += after * x[b, t, c] * inv[b, t]
                    g += weight[c] * after
                row[c] = g
                dot += g * x[b, t, c]
            r = inv[b, t]
            scale = dot * r * r / np.float32(width)
            for c in range(width):
                dx[b, t, c] = r * (row[c] - x[b, t, c] * scale)


@jit
def turn_loop(x, cos, sin):
    """Turn every row of (rows, length, width) by its position's angles."""
    rows, length, _ = x.shape
    half = cos.shape[1]
    for n in range(rows):
        for t in range(length):
            for d in range(half):
                a, b = x[n, t, d], x[n, t, d + half]
                x[n, t, d] = a * cos[t, d] - b * sin[t, d]
                x[n, t, d + half] = b * cos[t, d] + a * sin[t, d]


@jit
def unit_loop(x, y, inv):
    """Y = x·inv, row by row: RMSNorm of every head of queries and keys."""
    rows, length, width = x.shape
    for n in range(rows):
        for t in range(length):
            total = zero
            for d in range(width):
                total += x[n, t, d] * x[n, t, d]
            r = one / math.sqrt(total / np.float32(width) + EPS)
            inv[n, t] = r
            for d in range(width):
                y[n, t, d] = x[n, t, d] * r


@jit
def unit_gradient_loop(y, inv, grad):
    """Turn the gradient of y into that of x, in place."""
    rows, length, width = y.shape
    for n in range(rows):
        for t in range(length):
            dot = zero
            for d in range(width):
                dot += grad[n, t, d] * y[n, t, d]
            dot /= np.float32(width)
            for d in range(width):
                grad[n, t, d] = inv[n, t] * (grad[n, t, d] - y[n, t, d] * dot)


@jit
def causal_softmax_loop(p, scale):
    """Scores to weights in place: row i sees columns 0..i, the rest is 0."""
    rows, length, _ = p.shape
    for n in range(rows):
        for i in range(length):
            high = p[n, i, 0]
            for j in range(1, i + 1):
                high = max(high, p[n, i, j])
            total = zero
            for j in range(length):
                e = exp((min(p[n, i, j], high) - high) * scale)
                e = e if j <= i else zero
                p[n, i, j] = e
                total += e
            for j in range(length):
                p[n, i, j] /= total


@jit
def softmax_gradient_loop(p, s, scale):
    """S = p∘(s - Σp∘s)·scale in place (Dao et al. 2022)."""
    rows, length, _ = p.shape
    for n in range(rows):
        for i in range(length):
            total = zero
            for j in range(length):
                total += p[n, i, j] * s[n, i, j]
            for j in range(length):
                s[n, i, j] = p[n, i, j] * (s[n, i, j] - total) * scale
