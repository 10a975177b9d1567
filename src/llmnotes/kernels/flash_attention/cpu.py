"""FlashAttention-2 on the CPU: numba, register tiles, every core.

Scores are kept transposed: in a tile of Sᵀ a row is a key and a column is a
query, so one vector register holds the scores of LANES queries for one key.
Row maximum, exponential and row sum then work on whole registers, and of Q, K
and V only Q is ever rearranged, each block of it once.

    q, k, v    = Q, K, V of one head
    o, do      = O, dO; o is also the accumulator, unnormalised to the end
    qt, dot    = (Q·scale·log₂e)ᵀ and dOᵀ of one block of queries
    st, dpt    = Sᵀ, turned into Pᵀ; dPᵀ, turned into dSᵀ
    state      = M, ELL, SHRINK (m, ℓ, 2^(m_old - m_new)), a row of it each;
                 going back LSE, DELTA (L, rowsum(dO∘O))
    lse        = L·log₂e: powers and logarithms here have base 2
    BLOCK_Q, BLOCK_K = B_r, B_c (queries and keys of a tile)

Sources
- Dao 2023, "FlashAttention-2", arXiv 2307.08691, Alg. 1 and 2.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numba
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numba import njit
from torch import Tensor

from llmnotes.checks import checked
from llmnotes.compiled import keep
from llmnotes.kernels.gemm import tiles as registers
from llmnotes.kernels.gemm.tiles import (
    LANES,
    broadcast,
    exp2,
    load,
    maximum,
    product,
    store,
    transpose,
)
from llmnotes.once import once
from llmnotes.precision import as_written, without_autocast
from llmnotes.transformer.attention import (
    blind_queries,
    check_heads,
    with_blind,
)

BLOCK_Q, BLOCK_K = 64, 96
M, ELL, SHRINK = 0, 1, 2
LSE, DELTA = 0, 1
LOG2E = math.log2(math.e)
# numpy scalars: for a plain constant numba would compile `product` anew.
SET, ADD = np.bool_(False), np.bool_(True)
FAR = np.int64(2**40)  # an edge that cuts nothing off
COMPILING = Lock()


@njit
def hide_future(st, first_q, first_k):
    """Set the scores of keys that come after their query to -inf."""
    for j in range(max(0, first_q + 1 - first_k), st.shape[0]):
        for i in range(min(first_k + j - first_q, BLOCK_Q)):
            st[j, i] = -np.inf


@njit
def largest(st, i, m):
    """Maximum over keys for queries i..i+LANES; two chains hide latency."""
    keys, other = st.shape[0], m
    for j in range(0, keys - 1, 2):
        m = maximum(load(st, j, i), m)
        other = maximum(load(st, j + 1, i), other)
    return maximum(load(st, keys - 1, i), maximum(m, other))


@njit
def online_softmax(st, state):
    """Sᵀ becomes Pᵀ, and m and ℓ take it in."""
    for i in range(0, BLOCK_Q, LANES):
        m_old = load(state, M, i)
        m_new = largest(st, i, m_old)
        total = broadcast(np.float32(0))
        for j in range(st.shape[0]):
            p = exp2(load(st, j, i) - m_new)
            store(p, st, j, i)
            total = total + p
        shrink = exp2(m_old - m_new)
        store(m_new, state, M, i)
        store(load(state, ELL, i) * shrink + total, state, ELL, i)
        store(shrink, state, SHRINK, i)


@njit
def scale_rows(o, factor):
    """Multiply row i of o by factor[i]; a factor of 1 costs nothing."""
    for i in range(o.shape[0]):
        if factor[i] != 1:
            for d in range(o.shape[1]):
                o[i, d] *= factor[i]


@njit
def forward_rows(q, k, v, o, lse, tiles, first_q, causal, scale):
    """O and L of a block of queries; the first stands at key `first_q`."""
    (rows, width), keys = q.shape, k.shape[0]
    qt, st, state = tiles
    transpose(qt, q, scale)
    state[M], state[ELL], o[:] = -np.inf, 0, 0
    if causal:
        keys = min(keys, first_q + rows)
    for first_k in range(0, keys, BLOCK_K):
        columns = slice(first_k, min(first_k + BLOCK_K, keys))
        s = st[: columns.stop - first_k]
        product(s, k[columns, :width], qt, -FAR, FAR, SET)
        if causal:
            hide_future(s, first_q, first_k)
        online_softmax(s, state)
        scale_rows(o, state[SHRINK])
        edge = first_q + 1 - first_k if causal else FAR
        product(o, s[:, :rows].T, v[columns], -FAR, edge, ADD)
    for i in range(rows):
        lse[i] = state[M, i] + math.log2(state[ELL, i])
        state[SHRINK, i] = 1 / state[ELL, i]
    scale_rows(o, state[SHRINK])


@njit(nogil=True)
def forward_worker(worker, workers, work, q, k, v, o, lse, causal, scale):
    """Every `workers`-th block of queries, so that all get long ones."""
    tiles = work[0][worker], work[1][worker], work[2][worker]
    heads, length, group = q.shape[0], q.shape[1], q.shape[0] // k.shape[0]
    ahead = k.shape[1] - length  # the last query stands at the last key
    blocks = -(-length // BLOCK_Q)
    for item in range(worker, heads * blocks, workers):
        h, first = item // blocks, item % blocks * BLOCK_Q
        g, rows = h // group, slice(first, first + BLOCK_Q)
        o_rows, lse_rows = o[h, rows], lse[h, rows]
        forward_rows(
            q[h, rows],
            k[g],
            v[g],
            o_rows,
            lse_rows,
            tiles,
            first + ahead,
            causal,
            scale,
        )


@njit
def row_state(state, lse, do, o):
    """Lay out L and D = rowsum(dO∘O), one lane per query."""
    for i in range(o.shape[0]):
        delta = np.float32(0)
        for d in range(o.shape[1]):
            delta += do[i, d] * o[i, d]
        state[LSE, i], state[DELTA, i] = lse[i], delta


@njit
def score_gradient(st, dpt, state, scale):
    """Sᵀ becomes Pᵀ = 2^(S - L), and dPᵀ becomes dSᵀ = P∘(dP - D)·scale."""
    factor = broadcast(scale)
    for i in range(0, BLOCK_Q, LANES):
        lse, delta = load(state, LSE, i), load(state, DELTA, i)
        for j in range(st.shape[0]):
            p = exp2(load(st, j, i) - lse)
            store(p, st, j, i)
            store(p * (load(dpt, j, i) - delta) * factor, dpt, j, i)


@njit
def backward_tile(q, do, dq, k, v, dk, dv, tiles, ahead, scale):
    """S and dP again, then what this tile adds to dV, dK and dQ.

    `ahead` = first query - first key. What causality hides is computed in st
    and dpt, but the edges of the last three products never read it.
    """
    qt, dot, st, dpt, state = tiles
    rows, s, dp = q.shape[0], st[: k.shape[0]], dpt[: k.shape[0]]
    product(s, k[:, : k.shape[1]], qt, -FAR, FAR, SET)
    product(dp, v[:, : v.shape[1]], dot, -FAR, FAR, SET)
    score_gradient(s, dp, state, scale)
    product(dv, s[:, :rows], do, -ahead, FAR, ADD)
    product(dk, dp[:, :rows], q, -ahead, FAR, ADD)
    product(dq, dp[:, :rows].T, k, -FAR, ahead + 1, ADD)


@njit
def backward_rows(
    q, do, dq, k, v, dk, dv, tiles, first_q, share, shares, causal, scale
):
    """One block of queries against every `shares`-th block of keys."""
    transpose(tiles[0], q, np.float32(scale * LOG2E))
    transpose(tiles[1], do, np.float32(1))
    keys = k.shape[0]
    if causal:
        keys = min(keys, first_q + q.shape[0])
    for first_k in range(share * BLOCK_K, keys, shares * BLOCK_K):
        at = slice(first_k, min(first_k + BLOCK_K, keys))
        ahead = first_q - first_k if causal else FAR
        backward_tile(
            q, do, dq, k[at], v[at], dk[at], dv[at], tiles, ahead, scale
        )


@njit(nogil=True)
def backward_worker(
    worker, workers, work, q, k, v, o, lse, do, dq, dk, dv, causal, scale
):
    """Every `workers`-th pair of a key/value head and a share of its keys.

    A pair owns its rows of dK and dV; dQ has one layer per share, summed by
    the caller. So no two workers write to the same place.
    """
    shares, heads, length, _ = dq.shape
    ahead = k.shape[1] - length
    group, state = heads // k.shape[0], work[4][worker]
    tiles = (
        work[0][worker],
        work[1][worker],
        work[2][worker],
        work[3][worker],
        state,
    )
    for item in range(worker, k.shape[0] * shares, workers):
        g, share = item // shares, item % shares
        for h in range(g * group, (g + 1) * group):
            for first in range(0, length, BLOCK_Q):
                at = slice(first, first + BLOCK_Q)
                row_state(state, lse[h, at], do[h, at], o[h, at])
                backward_rows(
                    q[h, at],
                    do[h, at],
                    dq[share, h, at],
                    k[g],
                    v[g],
                    dk[g],
                    dv[g],
                    tiles,
                    first + ahead,
                    share,
                    shares,
                    causal,
                    scale,
                )


def per_head(x: Tensor) -> np.ndarray:
    """A numpy view with batch and heads in one axis."""
    return x.detach().flatten(0, 1).numpy()


def on_all_cores(worker_function, tile_rows: tuple[int, ...], *args):
    """Run worker_function(worker, workers, work, *args) on torch's threads.

    Plain threads, for compiled code needs no GIL: `prange` would optimise the
    same code five times, and its own pool of threads, if started before
    torch's, makes torch's kernels 4 to 6 times slower. `work` holds scratch
    tiles for each worker, from torch because it aligns them to 64 bytes.
    """
    workers = torch.get_num_threads()
    work = tuple(
        torch.empty(workers, rows, BLOCK_Q).numpy() for rows in tile_rows
    )
    with COMPILING:  # numba does not bear compiling in two threads at once
        if not worker_function.signatures:
            call = 0, workers, work, *args
            worker_function.compile(tuple(numba.typeof(x) for x in call))
    with ThreadPoolExecutor(workers) as pool:
        running = [
            pool.submit(worker_function, i, workers, work, *args)
            for i in range(workers)
        ]
    for worker in running:
        worker.result()  # raises what the worker raised


class FlashAttention(torch.autograd.Function):
    """Ties the two passes together, for float32 tensors."""

    @staticmethod
    @without_autocast
    def forward(ctx, query, key, value, causal, scale):
        """O; saves L, one number per query, to compute P from."""
        q, k, v = (x.contiguous() for x in (query, key, value))
        o = q.new_empty(*q.shape[:-1], v.shape[-1])
        lse = q.new_empty(q.shape[:-1])
        on_all_cores(
            forward_worker,
            (q.shape[-1], BLOCK_K, 3),
            *map(per_head, (q, k, v, o, lse)),
            causal,
            np.float32(scale * LOG2E),
        )
        ctx.save_for_backward(q, k, v, o, lse)
        ctx.causal, ctx.scale = causal, scale
        return o

    @staticmethod
    @once
    @without_autocast
    def backward(ctx, do):
        """dQ, dK, dV, and nothing for the two options."""
        q, k, v, o, lse = ctx.saved_tensors
        heads = q.shape[0] * q.shape[1]
        shares = -(-torch.get_num_threads() // (k.shape[0] * k.shape[1]))
        dq = q.new_zeros(shares, heads, *q.shape[2:])
        dk, dv = torch.zeros_like(k), torch.zeros_like(v)
        on_all_cores(
            backward_worker,
            (q.shape[-1], v.shape[-1], BLOCK_K, BLOCK_K, 2),
            *map(per_head, (q, k, v, o, lse, do.contiguous())),
            dq.numpy(),
            *map(per_head, (dk, dv)),
            ctx.causal,
            np.float32(ctx.scale),
        )
        dq = dq[0] if shares == 1 else dq.sum(0)
        return dq.view_as(q), dk, dv, None, None


def padded(x: Tensor) -> Tensor:
    """The tensor in float32, as wide as a multiple of LANES: zeros added."""
    missing = -x.shape[-1] % LANES
    return F.pad(x.float(), (0, missing)) if missing else x.float()


@checked
def flash_attention(
    query: Float[Tensor, "batch heads query head_dim"],
    key: Float[Tensor, "batch kv_heads key head_dim"],
    value: Float[Tensor, "batch kv_heads key value_dim"],
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "batch heads query value_dim"]:
    """`attention` on all cores, with a few hundred kB of scratch memory.

    Computes in float32. Inputs that are not float32, not contiguous, or of a
    width that no whole number of vector registers holds are copied first.
    `causal` hides what comes later; the last query stands at the last key.
    `scale` defaults to 1/√head_dim. Differentiable once. The first call
    compiles for some seconds.

    Raises `ValueError` naming the argument that does not fit the others or
    is float64 or not on the CPU.
    """
    check_heads(query, key)
    if query.dtype == torch.float64 or query.device.type != "cpu":
        raise ValueError(
            f"query: got {query.dtype} on {query.device}, expected float32, "
            "float16 or bfloat16 on the CPU"
        )
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1])
    blind = blind_queries(query, key, causal)
    query = query[:, :, blind:]
    with as_written(query) as dtype:
        out = FlashAttention.apply(
            *map(padded, (query, key, value)), causal, scale
        )
    out = out[..., : value.shape[-1]].contiguous()
    return with_blind(out, blind).to(dtype)


# Compiling takes some ten seconds; their code is kept on disk.
for worker in (forward_worker, backward_worker):
    keep(worker, registers.__file__)
