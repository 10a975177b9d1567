"""Attention as three CUDA kernels that pass N × N numbers through memory.

    query, key, value = Q, K, V, each (heads, length, head_dim)
    scores            = S = QKᵀ · scale, then P = softmax(S) in its place
    out               = O = P V

The baseline of the chapter: each kernel is what one reads off the formula,
and between two of them the whole matrix travels to memory and back.

Source
- Dao et al. 2022, "FlashAttention", arXiv 2205.14135, algorithm 0.
"""

import math

from numba import cuda
from numpy import float32

from llmnotes.cuda import launch
from llmnotes.kernels.flash_attention_cuda.kernels import MINUS_INFINITY


@launch.kernel
def naive_scores(query, key, scores, scale, causal):
    """Kernel: one thread per score, a dot product of a row with a row."""
    column, row, head = cuda.grid(3)
    if row < query.shape[1] and column < key.shape[1]:
        kv_head = head // (query.shape[0] // key.shape[0])
        total = float32(0)
        if causal and column > row:
            total = MINUS_INFINITY
        else:
            for c in range(query.shape[2]):
                product = float32(query[head, row, c])
                product *= float32(key[kv_head, column, c])
                total += product
        scores[head, row, column] = total * scale


@launch.kernel
def naive_softmax(scores):
    """Kernel: one thread per row: maximum, sum, and every weight."""
    row, head = cuda.grid(2)
    if row < scores.shape[1]:
        peak = MINUS_INFINITY
        for column in range(scores.shape[2]):
            peak = max(peak, scores[head, row, column])
        total = float32(0)
        for column in range(scores.shape[2]):
            weight = float32(math.exp(scores[head, row, column] - peak))
            scores[head, row, column] = weight
            total += weight
        for column in range(scores.shape[2]):
            scores[head, row, column] /= total


@launch.kernel
def naive_values(weights, value, out, causal):
    """Kernel: one thread per number of the output, a weighted sum."""
    column, row, head = cuda.grid(3)
    if row < out.shape[1] and column < out.shape[2]:
        kv_head = head // (weights.shape[0] // value.shape[0])
        end = value.shape[1]
        if causal:
            end = min(end, row + 1)
        total = float32(0)
        for key in range(end):
            number = float32(value[kv_head, key, column])
            total += weights[head, row, key] * number
        out[head, row, column] = total
