"""FlashAttention as CUDA kernels: one thread block owns one tile of rows.

    query, key, value = Q, K, V, each (heads, length, head_dim)
    out, logsumexp    = O, L = m + log ℓ, one per query
    peak, total       = m, ℓ (running maximum and sum of a row of scores)
    weights           = P = exp(S - L)
    first_q, first_k  = the tile's first query, the tile's first key
    cells             = the part of a tile that one thread keeps in registers

A block has side × side threads. Thread (y, x) owns rows y, y + side, ...
and columns x, x + side, ... of every tile. Tiles are one column wider than
their data, so that neighbouring rows start in different memory banks.

Inner loops are `while` loops: NVVM does not see through the iterator that
numba makes of a `range`, unrolls less and keeps twice the instructions.
The kernel comes first and its device functions after it, since numba gives
inlined code the line of the kernel's `def` unless it stands further down.

Sources
- Dao et al. 2022, "FlashAttention", arXiv 2205.14135, algorithms 1-4.
- Dao 2023, "FlashAttention-2", arXiv 2307.08691, algorithms 1 and 2.
"""

import functools
import math

import numpy as np
from numba import cuda
from numpy import float32

from llmnotes.cuda import launch

MINUS_INFINITY = np.float32(-np.inf)


@functools.cache
def flash_forward(tiling):
    """Kernel: a block owns a query tile and walks over the key tiles."""
    q_shape, k_shape, p_shape = tiling.q_tile, tiling.k_tile, tiling.p_tile
    p_cells, q_cells = tiling.p_cells, tiling.q_cells
    block_q, block_k, width = tiling.block_q, tiling.block_k, tiling.head_dim

    @launch.kernel
    def kernel(query, key, value, out, logsumexp, scale, causal):
        q_tile = cuda.shared.array(q_shape, float32)
        k_tile = cuda.shared.array(k_shape, float32)
        v_tile = cuda.shared.array(k_shape, float32)
        weights = cuda.shared.array(p_shape, float32)
        factors = cuda.shared.array(block_q, float32)
        scores = cuda.local.array(p_cells, float32)
        cells = cuda.local.array(q_cells, float32)
        head, first_q = place(query, block_q)
        kv_head, end = span(query, key, head, first_q + block_q, causal)
        peak, total, first_k = MINUS_INFINITY, float32(0), 0
        clear(cells)
        load_tile(q_tile, query[head], first_q)
        while first_k < end:
            load_tile(k_tile, key[kv_head], first_k)
            load_tile(v_tile, value[kv_head], first_k)
            cuda.syncthreads()
            corner = first_q, first_k, key.shape[1]
            score_tile(
                weights, scores, q_tile, k_tile, width, corner, scale, causal
            )
            cuda.syncthreads()
            peak, total = online_softmax(weights, factors, peak, total)
            cuda.syncthreads()
            scale_rows(cells, factors)
            diagonal = causal and first_k + block_k > first_q + 1
            multiply_tile(cells, weights, v_tile, block_k, diagonal)
            cuda.syncthreads()
            first_k += block_k
        finish_rows(
            out[head], logsumexp[head], cells, factors, first_q, peak, total
        )

    return kernel


@launch.device
def place(rows, block):
    """Which head and which first row this thread block owns."""
    tiles = (rows.shape[1] + block - 1) // block
    return cuda.blockIdx.x // tiles, cuda.blockIdx.x % tiles * block


@launch.device
def span(query, key, head, after, causal):
    """The head's key/value head, and where its keys end for this tile."""
    end = key.shape[1]
    if causal:
        end = min(end, after)
    return head // (query.shape[0] // key.shape[0]), end


@launch.device
def clear(cells):
    """Local arrays start with whatever the registers held."""
    for i in range(cells.shape[0]):
        for j in range(cells.shape[1]):
            cells[i, j] = float32(0)


@launch.device
def load_tile(tile, source, first):
    """Copy rows first, first + 1, ... of `source`; zeros where it ends."""
    row = cuda.threadIdx.y
    while row < tile.shape[0]:
        column = cuda.threadIdx.x
        while column < tile.shape[1] - 1:
            number = float32(0)
            if first + row < source.shape[0] and column < source.shape[1]:
                number = float32(source[first + row, column])
            tile[row, column] = number
            column += cuda.blockDim.x
        row += cuda.blockDim.y


@launch.device
def score_tile(weights, cells, q_tile, k_tile, width, corner, scale, causal):
    """Scores of one pair of tiles: scaled, masked, left in shared memory.

    corner = first query, first key, number of keys
    """
    clear(cells)
    multiply(cells, q_tile, k_tile.T, width)
    for i in range(cells.shape[0]):
        query = corner[0] + cuda.threadIdx.y + i * cuda.blockDim.y
        for j in range(cells.shape[1]):
            key = corner[1] + cuda.threadIdx.x + j * cuda.blockDim.x
            cells[i, j] *= scale
            if key >= corner[2] or (causal and key > query):
                cells[i, j] = MINUS_INFINITY
    store_cells(weights, cells, 0)


@launch.device
def online_softmax(weights, factors, peak, total):
    """One thread per row: new maximum, weights, and the old sum's factor."""
    row = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    if row < factors.shape[0]:
        new_peak, column = peak, 0
        while column < weights.shape[1] - 1:
            new_peak = max(new_peak, weights[row, column])
            column += 1
        factor = float32(math.exp(peak - new_peak))
        total *= factor
        column = 0
        while column < weights.shape[1] - 1:
            weight = float32(math.exp(weights[row, column] - new_peak))
            weights[row, column] = weight
            total += weight
            column += 1
        factors[row] = factor
        peak = new_peak
    return peak, total


@launch.device
def scale_rows(cells, factors):
    """Multiply every row of the cells by its factor."""
    for i in range(cells.shape[0]):
        factor = factors[cuda.threadIdx.y + i * cuda.blockDim.y]
        for j in range(cells.shape[1]):
            cells[i, j] *= factor


@launch.device
def multiply(cells, left, right, depth):
    """Add left @ right to the cells that this thread owns."""
    k = 0
    while k < depth:
        for i in range(cells.shape[0]):
            row = cuda.threadIdx.y + i * cuda.blockDim.y
            for j in range(cells.shape[1]):
                column = cuda.threadIdx.x + j * cuda.blockDim.x
                cells[i, j] += left[row, k] * right[k, column]
        k += 1


@launch.device
def multiply_seen(cells, left, right, depth):
    """`multiply` without the zeros of `left`, since 0 · NaN is NaN.

    Twice the instructions: only tiles on the causal diagonal need it.
    """
    k = 0
    while k < depth:
        for i in range(cells.shape[0]):
            number = left[cuda.threadIdx.y + i * cuda.blockDim.y, k]
            if number != float32(0):
                for j in range(cells.shape[1]):
                    column = cuda.threadIdx.x + j * cuda.blockDim.x
                    cells[i, j] += number * right[k, column]
        k += 1


@launch.device
def multiply_tile(cells, left, right, depth, diagonal):
    """Choose by tile: on the diagonal some cells of `left` are masked."""
    if diagonal:
        multiply_seen(cells, left, right, depth)
    else:
        multiply(cells, left, right, depth)


@launch.device
def finish_rows(out, logsumexp, cells, factors, first, peak, total):
    """O = O / ℓ, and L = m + log ℓ for the backward."""
    row = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    if row < factors.shape[0]:
        factors[row] = float32(1) / total
        if first + row < logsumexp.shape[0]:
            logsumexp[first + row] = peak + float32(math.log(total))
    cuda.syncthreads()
    scale_rows(cells, factors)
    store_cells(out, cells, first)


@launch.device
def store_cells(target, cells, first):
    """Write the thread's cells to rows first, first + 1, ... of `target`."""
    for i in range(cells.shape[0]):
        row = first + cuda.threadIdx.y + i * cuda.blockDim.y
        for j in range(cells.shape[1]):
            column = cuda.threadIdx.x + j * cuda.blockDim.x
            if row < target.shape[0] and column < target.shape[1]:
                target[row, column] = cells[i, j]
