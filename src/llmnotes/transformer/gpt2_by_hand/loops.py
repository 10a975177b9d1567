"""Every kernel as loops, compiled by numba, on one core.

The same functions as in `reference`, with the same arguments, in the
precision of the arrays: no other array is ever made. Arrays are contiguous.
Legend: as in `reference`; `zero`, `one` and the like are numbers in that
precision, since a plain 0.0 would have numba compute in float64.

Sources
- Karpathy 2024, llm.c: train_gpt2.c, whose names and order of arguments
  these are.
- Loshchilov and Hutter 2017, "Decoupled Weight Decay Regularization",
  arXiv 1711.05101, algorithm 2 (AdamW).
"""

import math

from llmnotes.transformer.gpt2_by_hand.attention import (
    attention_backward as attention_backward,
)
from llmnotes.transformer.gpt2_by_hand.attention import (
    attention_forward as attention_forward,
)
from llmnotes.transformer.gpt2_by_hand.attention import causal_softmax
from llmnotes.transformer.gpt2_by_hand.products import (
    add_product,
    jit,
    product,
)
from llmnotes.transformer.gpt2_by_hand.reference import BEND, EPS


@jit
def encoder_forward(out, inp, wte, wpe):
    """The token's row of wte plus the position's row of wpe."""
    batch, length, width = out.shape
    for b in range(batch):
        for t in range(length):
            token = wte[inp[b, t]]
            for c in range(width):
                out[b, t, c] = token[c] + wpe[t, c]


@jit
def encoder_backward(dwte, dwpe, dout, inp):
    """Each row of dout goes to its token's row and its position's."""
    batch, length, width = dout.shape
    for b in range(batch):
        for t in range(length):
            dtoken = dwte[inp[b, t]]
            for c in range(width):
                dtoken[c] += dout[b, t, c]
                dwpe[t, c] += dout[b, t, c]


@jit
def layernorm_forward(out, mean, rstd, inp, weight, bias):
    """Each row with mean 0 and variance 1, then scaled and moved."""
    batch, length, width = inp.shape
    zero, one = out.dtype.type(0), out.dtype.type(1)
    n, eps = out.dtype.type(width), out.dtype.type(EPS)
    for b in range(batch):
        for t in range(length):
            x, y = inp[b, t], out[b, t]
            total = zero
            for c in range(width):
                total += x[c]
            m = total / n
            square = zero
            for c in range(width):
                square += (x[c] - m) * (x[c] - m)
            r = one / math.sqrt(square / n + eps)
            for c in range(width):
                y[c] = (x[c] - m) * r * weight[c] + bias[c]
            mean[b, t], rstd[b, t] = m, r


@jit
def layernorm_backward(dinp, dweight, dbias, dout, inp, weight, mean, rstd):
    """What moves a row's mean or its length does not reach the output."""
    batch, length, width = inp.shape
    zero, n = dout.dtype.type(0), dout.dtype.type(width)
    for b in range(batch):
        for t in range(length):
            x, dy, dx = inp[b, t], dout[b, t], dinp[b, t]
            m, r = mean[b, t], rstd[b, t]
            total = along = zero
            for c in range(width):
                norm = (x[c] - m) * r
                dbias[c] += dy[c]
                dweight[c] += dy[c] * norm
                total += dy[c] * weight[c]
                along += dy[c] * weight[c] * norm
            total /= n
            along /= n
            for c in range(width):
                norm = (x[c] - m) * r
                dx[c] += (dy[c] * weight[c] - total - norm * along) * r


@jit
def rows(x):
    """All tokens of all sequences as the rows of one matrix."""
    return x.reshape(x.shape[0] * x.shape[1], x.shape[2])


@jit
def matmul_forward(out, inp, weight, bias):
    """x·Wᵀ + b, row by row."""
    y = rows(out)
    product(y, rows(inp), weight)
    if bias is not None:
        for n in range(y.shape[0]):
            for o in range(y.shape[1]):
                y[n, o] += bias[o]


@jit
def matmul_backward(dinp, dweight, dbias, dout, inp, weight):
    """Two products as large as the one before, and a sum over rows."""
    dy = rows(dout)
    add_product(rows(dinp), dy, weight)
    add_product(dweight, dy.T, rows(inp))
    if dbias is not None:
        for n in range(dy.shape[0]):
            for o in range(dy.shape[1]):
                dbias[o] += dy[n, o]


@jit
def gelu_forward(out, inp):
    """½x(1 + tanh(√(2/π)(x + 0.044715x³)))."""
    kind = inp.dtype.type
    half, one, bend, cube = kind(0.5), kind(1), kind(BEND), kind(0.044715)
    x, y = inp.ravel(), out.ravel()
    for i in range(x.size):
        v = x[i]
        y[i] = half * v * (one + math.tanh(bend * (v + cube * v * v * v)))


@jit
def gelu_backward(dinp, inp, dout):
    """Slope by the product rule; 1 - tanh² never overflows, cosh² does."""
    kind = inp.dtype.type
    half, one, bend, cube = kind(0.5), kind(1), kind(BEND), kind(0.044715)
    three = kind(3)
    x, dx, dy = inp.ravel(), dinp.ravel(), dout.ravel()
    for i in range(x.size):
        v = x[i]
        h = math.tanh(bend * (v + cube * v * v * v))
        inner = bend * (one + three * cube * v * v)
        slope = half * (one + h) + half * v * (one - h * h) * inner
        dx[i] += slope * dy[i]


@jit
def residual_forward(out, inp1, inp2):
    """The stream and what a sublayer adds to it."""
    y, a, b = out.ravel(), inp1.ravel(), inp2.ravel()
    for i in range(y.size):
        y[i] = a[i] + b[i]


@jit
def residual_backward(dinp1, dinp2, dout):
    """Both get all of it."""
    da, db, dy = dinp1.ravel(), dinp2.ravel(), dout.ravel()
    for i in range(dy.size):
        da[i] += dy[i]
        db[i] += dy[i]


@jit
def softmax_forward(probs, logits, V):
    """Probabilities of the V tokens; columns of padding get 0."""
    batch, length, _ = logits.shape
    for b in range(batch):
        for t in range(length):
            causal_softmax(probs[b, t], logits[b, t], V - 1)


@jit
def crossentropy_forward(losses, probs, targets):
    """-ln p of the token that came, in nats."""
    batch, length = targets.shape
    for b in range(batch):
        for t in range(length):
            losses[b, t] = -math.log(probs[b, t, targets[b, t]])


@jit
def crossentropy_softmax_backward(dlogits, dlosses, probs, targets, V):
    """(p - 1 where the token is, p elsewhere) · dloss; padding gets 0."""
    batch, length = targets.shape
    for b in range(batch):
        for t in range(length):
            p, dx, d = probs[b, t], dlogits[b, t], dlosses[b, t]
            for i in range(V):
                dx[i] += p[i] * d
            dx[targets[b, t]] -= d


@jit
def adamw(params, grads, m, v, lr, beta1, beta2, eps, weight_decay, t):
    """One step of AdamW, the t-th, t = 1, 2, …; decay on every number."""
    kind = params.dtype.type
    one = kind(1)
    mean_of, square_of = kind(1 - beta1**t), kind(1 - beta2**t)
    a, b, e = kind(beta1), kind(beta2), kind(eps)
    rate, decay = kind(lr), kind(weight_decay)
    p, g, mean, square = params.ravel(), grads.ravel(), m.ravel(), v.ravel()
    for i in range(p.size):
        mean[i] = a * mean[i] + (one - a) * g[i]
        square[i] = b * square[i] + (one - b) * g[i] * g[i]
        root = math.sqrt(square[i] / square_of) + e
        p[i] -= rate * (mean[i] / mean_of / root + decay * p[i])
