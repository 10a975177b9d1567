"""Attention as loops: a query at a time, and only the past of each.

    preatt, att = scores and weights, (batch, heads, query, key); 0 where the
                  key comes after the query
    inp         = query, key and value of all heads side by side, (batch,
                  length, 3·width)
    first       = where a head begins within them
    t, t2       = places of the query and of a key

For each query a dot product with each key, a softmax, and then Σ att·value:
a number times a row, added up. No product of every weight with every value
is ever laid down.

Sources
- Karpathy 2024, llm.c: train_gpt2.c, `attention_forward` and its backward.
"""

import math

from llmnotes.transformer.gpt2_by_hand.products import jit


@jit
def attention_forward(out, preatt, att, inp):
    """Each token takes a weighted mean of the values up to its own."""
    batch, heads, length, _ = att.shape
    width = inp.shape[2] // 3
    for b in range(batch):
        for h in range(heads):
            size = width // heads
            first = h * size
            for t in range(length):
                query = inp[b, t, first : first + size]
                score(preatt[b, h, t], inp[b], query, width + first, t)
                causal_softmax(att[b, h, t], preatt[b, h, t], t)
                y = out[b, t, first : first + size]
                mix(y, att[b, h, t], inp[b], 2 * width + first, t)


@jit
def score(preatt, inp, query, first, t):
    """Products with the keys of 0 … t; those of the future get 0."""
    size = query.size
    scale = preatt.dtype.type(1 / math.sqrt(size))
    for t2 in range(t + 1):
        key = inp[t2, first : first + size]
        total = preatt.dtype.type(0)
        for i in range(size):
            total += query[i] * key[i]
        preatt[t2] = total * scale
    for t2 in range(t + 1, preatt.size):
        preatt[t2] = 0


@jit
def causal_softmax(att, preatt, t):
    """Weights that sum to one over 0 … t, and 0 behind."""
    high = preatt[0]
    for t2 in range(1, t + 1):
        high = max(high, preatt[t2])
    total = att.dtype.type(0)
    for t2 in range(t + 1):
        att[t2] = math.exp(preatt[t2] - high)
        total += att[t2]
    for t2 in range(t + 1):
        att[t2] /= total
    for t2 in range(t + 1, att.size):
        att[t2] = 0


@jit
def mix(out, att, inp, first, t):
    """Out = Σ att·value over 0 … t: a number times a row, added up."""
    out[:] = 0
    for t2 in range(t + 1):
        value, weight = inp[t2, first : first + out.size], att[t2]
        for i in range(out.size):
            out[i] += weight * value[i]


@jit
def attention_backward(dinp, dpreatt, datt, dout, inp, att):
    """Back through the mean, the softmax and the scores."""
    batch, heads, length, _ = att.shape
    width = inp.shape[2] // 3
    size = width // heads
    for b in range(batch):
        for h in range(heads):
            first = h * size
            for t in range(length):
                dy = dout[b, t, first : first + size]
                unmix(
                    dinp[b], datt[b, h, t], dy, inp[b], att[b, h, t],
                    2 * width + first, t,
                )  # fmt: skip
                softmax_backward(
                    dpreatt[b, h, t], datt[b, h, t], att[b, h, t], t
                )
                unscore(
                    dinp[b], dpreatt[b, h, t], inp[b], first, width, size, t
                )


@jit
def unmix(dinp, datt, dout, inp, att, first, t):
    """Values get dout times their weight, weights dout times their value."""
    for t2 in range(t + 1):
        value = inp[t2, first : first + dout.size]
        dvalue = dinp[t2, first : first + dout.size]
        weight, total = att[t2], dout.dtype.type(0)
        for i in range(dout.size):
            total += dout[i] * value[i]
            dvalue[i] += weight * dout[i]
        datt[t2] += total


@jit
def softmax_backward(dpreatt, datt, att, t):
    """P∘(dP - Σ P∘dP), row by row."""
    total = att.dtype.type(0)
    for t2 in range(t + 1):
        total += att[t2] * datt[t2]
    for t2 in range(t + 1):
        dpreatt[t2] += att[t2] * (datt[t2] - total)


@jit
def unscore(dinp, dpreatt, inp, first, width, size, t):
    """The query gets the keys, the keys get the query."""
    scale = dpreatt.dtype.type(1 / math.sqrt(size))
    query = inp[t, first : first + size]
    dquery = dinp[t, first : first + size]
    for t2 in range(t + 1):
        key = inp[t2, width + first : width + first + size]
        dkey = dinp[t2, width + first : width + first + size]
        d = dpreatt[t2] * scale
        for i in range(size):
            dquery[i] += d * key[i]
            dkey[i] += d * query[i]
