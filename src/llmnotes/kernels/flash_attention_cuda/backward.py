"""FlashAttention's backward as CUDA kernels: recompute P, never store it.

    grad, delta     = dO, D = rowsum(dO ∘ O)
    statistics      = L and D side by side, (heads, query, 2)
    weights         = P = exp(S - L)
    slopes          = dP = dO Vᵀ, then dS = P ∘ (dP - D) · scale
    dq, dk, dv      = dQ = dS K, dK = dSᵀ Q, dV = Pᵀ dO

dK and dV belong to a key tile, dQ to a query tile. One kernel for both would
need atomic additions across blocks, whose order changes from run to run; two
kernels recompute S and dP once more (7 products instead of 5) and give the
same bits every time.

Sources
- Dao et al. 2022, "FlashAttention", arXiv 2205.14135, algorithm 4.
- Dao 2023, "FlashAttention-2", arXiv 2307.08691, algorithm 2.
"""

import functools
import math

from numba import cuda
from numpy import float32

from llmnotes.cuda import launch
from llmnotes.kernels.flash_attention_cuda.kernels import (
    clear,
    load_tile,
    multiply,
    multiply_tile,
    place,
    span,
    store_cells,
)


@launch.kernel
def row_statistics(out, grad, logsumexp, statistics):
    """Kernel: L and D = rowsum(dO ∘ O) side by side, one thread per row."""
    index = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    head, row = index // out.shape[1], index % out.shape[1]
    if head < out.shape[0]:
        delta = float32(0)
        for c in range(out.shape[2]):
            product = float32(out[head, row, c])
            product *= float32(grad[head, row, c])
            delta += product
        statistics[head, row, 0] = logsumexp[head, row]
        statistics[head, row, 1] = delta


@launch.device
def slope_tile(weights, slopes, rows, corner, scale, causal):
    """Turn the thread's S and dP into its P and dS, in registers.

    rows = the tile of statistics; corner = first query, first key, number
    of queries, number of keys
    """
    for i in range(weights.shape[0]):
        row = cuda.threadIdx.y + i * cuda.blockDim.y
        query = corner[0] + row
        for j in range(weights.shape[1]):
            key = corner[1] + cuda.threadIdx.x + j * cuda.blockDim.x
            inside = query < corner[2] and key < corner[3]
            if inside and (key <= query or not causal):
                score = weights[i, j] * scale - rows[row, 0]
                weights[i, j] = float32(math.exp(score))
                slope = (slopes[i, j] - rows[row, 1]) * scale
                slopes[i, j] = weights[i, j] * slope
            else:
                weights[i, j] = float32(0)
                slopes[i, j] = float32(0)


@launch.device
def multiply_pair(weights, slopes, q_tile, k_tile, g_tile, v_tile, width):
    """S = QKᵀ and dP = dO Vᵀ, for the thread's cells."""
    clear(weights)
    multiply(weights, q_tile, k_tile.T, width)
    clear(slopes)
    multiply(slopes, g_tile, v_tile.T, width)


@functools.cache
def flash_backward_query(tiling):
    """Kernel: a block owns a query tile and gathers dQ from the keys."""
    q_shape, k_shape, p_shape = tiling.q_tile, tiling.k_tile, tiling.p_tile
    r_shape, p_cells, q_cells = tiling.r_tile, tiling.p_cells, tiling.q_cells
    block_q, block_k, width = tiling.block_q, tiling.block_k, tiling.head_dim

    @launch.kernel
    def kernel(query, key, value, grad, statistics, dq, scale, causal):
        q_tile = cuda.shared.array(q_shape, float32)
        g_tile = cuda.shared.array(q_shape, float32)
        k_tile = cuda.shared.array(k_shape, float32)
        v_tile = cuda.shared.array(k_shape, float32)
        s_tile = cuda.shared.array(p_shape, float32)
        r_tile = cuda.shared.array(r_shape, float32)
        weights = cuda.local.array(p_cells, float32)
        slopes = cuda.local.array(p_cells, float32)
        cells = cuda.local.array(q_cells, float32)
        head, first_q = place(query, block_q)
        kv_head, end = span(query, key, head, first_q + block_q, causal)
        clear(cells)
        load_tile(q_tile, query[head], first_q)
        load_tile(g_tile, grad[head], first_q)
        load_tile(r_tile, statistics[head], first_q)
        first_k = 0
        while first_k < end:
            load_tile(k_tile, key[kv_head], first_k)
            load_tile(v_tile, value[kv_head], first_k)
            cuda.syncthreads()
            multiply_pair(
                weights, slopes, q_tile, k_tile, g_tile, v_tile, width
            )
            corner = first_q, first_k, query.shape[1], key.shape[1]
            slope_tile(weights, slopes, r_tile, corner, scale, causal)
            store_cells(s_tile, slopes, 0)
            cuda.syncthreads()
            diagonal = causal and first_k + block_k > first_q + 1
            multiply_tile(cells, s_tile, k_tile, block_k, diagonal)
            cuda.syncthreads()
            first_k += block_k
        store_cells(dq[head], cells, first_q)

    return kernel


@functools.cache
def flash_backward_key(tiling):
    """Kernel: a block owns a key tile, dK and dV; it walks over the queries.

    The query heads that share the key head are summed here, one by one.
    """
    q_shape, k_shape, p_shape = tiling.q_tile, tiling.k_tile, tiling.p_tile
    r_shape, p_cells, k_cells = tiling.r_tile, tiling.p_cells, tiling.k_cells
    block_q, block_k, width = tiling.block_q, tiling.block_k, tiling.head_dim

    @launch.kernel
    def kernel(query, key, value, grad, statistics, dk, dv, scale, causal):
        k_tile = cuda.shared.array(k_shape, float32)
        v_tile = cuda.shared.array(k_shape, float32)
        q_tile = cuda.shared.array(q_shape, float32)
        g_tile = cuda.shared.array(q_shape, float32)
        w_tile = cuda.shared.array(p_shape, float32)
        s_tile = cuda.shared.array(p_shape, float32)
        r_tile = cuda.shared.array(r_shape, float32)
        weights = cuda.local.array(p_cells, float32)
        slopes = cuda.local.array(p_cells, float32)
        dk_cells = cuda.local.array(k_cells, float32)
        dv_cells = cuda.local.array(k_cells, float32)
        kv_head, first_k = place(key, block_k)
        group = query.shape[0] // key.shape[0]
        clear(dk_cells)
        clear(dv_cells)
        load_tile(k_tile, key[kv_head], first_k)
        load_tile(v_tile, value[kv_head], first_k)
        for head in range(kv_head * group, (kv_head + 1) * group):
            first_q = 0
            if causal:
                first_q = first_k // block_q * block_q
            while first_q < query.shape[1]:
                load_tile(q_tile, query[head], first_q)
                load_tile(g_tile, grad[head], first_q)
                load_tile(r_tile, statistics[head], first_q)
                cuda.syncthreads()
                multiply_pair(
                    weights, slopes, q_tile, k_tile, g_tile, v_tile, width
                )
                corner = first_q, first_k, query.shape[1], key.shape[1]
                slope_tile(weights, slopes, r_tile, corner, scale, causal)
                store_cells(w_tile, weights, 0)
                store_cells(s_tile, slopes, 0)
                cuda.syncthreads()
                diagonal = causal and first_k + block_k > first_q + 1
                multiply_tile(dv_cells, w_tile.T, g_tile, block_q, diagonal)
                multiply_tile(dk_cells, s_tile.T, q_tile, block_q, diagonal)
                cuda.syncthreads()
                first_q += block_q
        store_cells(dk[kv_head], dk_cells, first_k)
        store_cells(dv[kv_head], dv_cells, first_k)

    return kernel
