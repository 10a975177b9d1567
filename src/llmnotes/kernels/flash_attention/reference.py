r"""FlashAttention in plain torch: exact attention, one tile at a time.

    q, k, v   = Q, K, V  (here: batch, kv_heads, group, length, width; the
                group is the query heads that share a key/value head)
    o, do     = O, dO    (output, and the gradient that arrives at it)
    s, p      = S, P     (scores and weights, of one tile only)
    m, ell    = m, ℓ     (running row maximum, running row sum)
    acc       = Õ        (unnormalised output, ℓ·O)
    lse       = L        (logsumexp of a row of scores, m + ln ℓ)
    delta     = D        (rowsum(dO∘O))
    rows, columns        (query and key positions of a tile, as slices)
    block_q, block_k     = B_r, B_c (rows and columns of a tile)

Sources
- Dao et al. 2022, "FlashAttention", arXiv 2205.14135, Alg. 1 and 4.
- Dao 2023, "FlashAttention-2", arXiv 2307.08691, Alg. 1 and 2.
- Milakov and Gimelshein 2018, "Online normalizer calculation for softmax",
  arXiv 1805.02867, Alg. 3.
"""

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import checked
from llmnotes.once import once
from llmnotes.precision import as_written, wide, without_autocast
from llmnotes.transformer.attention import (
    apply_mask,
    blind_queries,
    check_heads,
    scaled_scores,
    weighted_sum,
    with_blind,
)


def blocks(length: int, size: int) -> list[slice]:
    """0..length cut into slices of `size`, the last one shorter."""
    if size < 1:
        raise ValueError(f"block size: got {size}, expected at least 1")
    return [slice(i, min(i + size, length)) for i in range(0, length, size)]


def skipped(rows: slice, columns: slice, causal: bool) -> bool:
    """Whether every key of the tile lies in every query's future."""
    return causal and columns.start >= rows.stop


def visible(rows: slice, columns: slice, causal: bool, like: Tensor):
    """Bool tile, True where the query may see the key."""
    query = torch.arange(rows.start, rows.stop, device=like.device)
    key = torch.arange(columns.start, columns.stop, device=like.device)
    return (query[:, None] >= key) | (not causal)


def among_keys(rows: slice, q: Tensor, k: Tensor) -> slice:
    """Where these queries stand: the last of all at the last key."""
    ahead = k.shape[-2] - q.shape[-2]
    return slice(rows.start + ahead, rows.stop + ahead)


def tile_scores(q, k, rows, columns, causal, scale):
    """One tile of S, with -inf where a query may not see, and what it sees."""
    seen = visible(among_keys(rows, q, k), columns, causal, q)
    s = scaled_scores(wide(q[..., rows, :]), wide(k[..., columns, :]), scale)
    return apply_mask(s, seen), seen.expand(s.shape)


def online_softmax(m, ell, acc, s, v, seen):
    """Take one more tile of scores into a softmax under way.

    What was summed with the old maximum shrinks by exp(m_old - m_new).

    Source: Milakov & Gimelshein 2018.
    """
    m_new = torch.maximum(m, s.amax(-1, keepdim=True))
    p = torch.exp(s - m_new)
    shrink = torch.exp(m - m_new)
    ell = shrink * ell + p.sum(-1, keepdim=True)
    acc = shrink * acc + weighted_sum(p, v, seen)
    return m_new, ell, acc


def attend_rows(q, k, v, rows, causal, scale, block_k):
    """O and L of one block of queries: one pass over the keys.

    Source: Dao 2023, Alg. 1.
    """
    q_tile = wide(q[..., rows, :])
    m = torch.full_like(q_tile[..., :1], -torch.inf)
    ell = torch.zeros_like(m)
    acc = q_tile.new_zeros(*q_tile.shape[:-1], v.shape[-1])
    for columns in blocks(k.shape[-2], block_k):
        if skipped(among_keys(rows, q, k), columns, causal):
            break
        s, seen = tile_scores(q, k, rows, columns, causal, scale)
        v_tile = wide(v[..., columns, :])
        m, ell, acc = online_softmax(m, ell, acc, s, v_tile, seen)
    return acc / ell, (m + ell.log()).squeeze(-1)


def forward(q, k, v, *, causal, scale, block_q=64, block_k=64):
    """FlashAttention-2: queries outside, keys inside (Dao 2023, Alg. 1).

    Returns O and L. Blocks of queries do not depend on each other, so each
    could run on its own core; a row of O is written once.
    """
    o = q.new_empty(*q.shape[:-1], v.shape[-1])
    lse = wide(q.new_empty(q.shape[:-1]))
    for rows in blocks(q.shape[-2], block_q):
        o[..., rows, :], lse[..., rows] = attend_rows(
            q, k, v, rows, causal, scale, block_k
        )
    return o, lse


def forward_keys_outside(q, k, v, *, causal, scale, block_q=64, block_k=64):
    """FlashAttention-1: keys outside, queries inside.

    The same O and L, but m, ℓ and O of every query are read, rescaled and
    written back once per block of keys, and the blocks wait for each other.

    Source: Dao et al. 2022, Alg. 1.
    """
    o = wide(q.new_zeros(*q.shape[:-1], v.shape[-1]))
    ell = torch.zeros_like(o[..., 0])
    m = torch.full_like(ell, -torch.inf)
    for columns in blocks(k.shape[-2], block_k):
        v_tile = wide(v[..., columns, :])
        for rows in blocks(q.shape[-2], block_q):
            if skipped(among_keys(rows, q, k), columns, causal):
                continue
            s, seen = tile_scores(q, k, rows, columns, causal, scale)
            m_tile, ell_tile = m[..., rows, None], ell[..., rows, None]
            acc = o[..., rows, :] * ell_tile
            m_tile, ell_tile, acc = online_softmax(
                m_tile, ell_tile, acc, s, v_tile, seen
            )
            m[..., rows, None], ell[..., rows, None] = m_tile, ell_tile
            o[..., rows, :] = acc / ell_tile
    return o.to(q.dtype), m + ell.log()


def backward(q, k, v, o, lse, do, *, causal, scale, block_q=64, block_k=64):
    """dQ, dK, dV; every tile of P is computed anew from L.

    Source: Dao 2023, Alg. 2.
    """
    delta = (wide(do) * wide(o)).sum(-1)
    dq, dk, dv = (torch.zeros_like(wide(x)) for x in (q, k, v))
    for columns in blocks(k.shape[-2], block_k):
        for rows in blocks(q.shape[-2], block_q):
            if skipped(among_keys(rows, q, k), columns, causal):
                continue
            s, seen = tile_scores(q, k, rows, columns, causal, scale)
            p = torch.exp(s - lse[..., rows, None]).masked_fill(~seen, 0)
            q_tile, do_tile = wide(q[..., rows, :]), wide(do[..., rows, :])
            k_tile, v_tile = wide(k[..., columns, :]), wide(v[..., columns, :])
            dp = do_tile @ v_tile.mT
            ds = score_gradient(p, dp, delta[..., rows], seen) * scale
            dq[..., rows, :] += weighted_sum(ds, k_tile, seen)
            dk[..., columns, :] += summed(ds.mT, q_tile, seen.mT)
            dv[..., columns, :] += summed(p.mT, do_tile, seen.mT)
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)


def score_gradient(p, dp, delta, seen):
    """Gradient dS = P∘(dP - D), exactly 0 where a query may not see."""
    return (p * (dp - delta[..., None])).masked_fill(~seen, 0)


def summed(weights, value, seen):
    """`weighted_sum`, added up over the queries that share a key head."""
    return weighted_sum(weights, value, seen).sum(2, keepdim=True)


def grouped(query: Tensor, key: Tensor, value: Tensor):
    """Give queries an axis `group`: the heads that share one key head."""
    q = rearrange(
        query,
        "batch (kv_heads group) query d -> batch kv_heads group query d",
        kv_heads=key.shape[1],
    )
    return q, key[:, :, None], value[:, :, None]


class FlashAttention(torch.autograd.Function):
    """Ties `forward` and `backward` together; keeps O and L, never P."""

    @staticmethod
    @without_autocast
    def forward(ctx, query, key, value, causal, scale):
        """O; saves what `backward` computes P from."""
        q, k, v = grouped(query, key, value)
        o, lse = forward(q, k, v, causal=causal, scale=scale)
        ctx.save_for_backward(q, k, v, o, lse)
        ctx.options = {"causal": causal, "scale": scale}
        return o.flatten(1, 2)

    @staticmethod
    @once
    @without_autocast
    def backward(ctx, do):
        """dQ, dK, dV, and nothing for the two options."""
        q, k, v, o, lse = ctx.saved_tensors
        do = do.reshape(o.shape)
        dq, dk, dv = backward(q, k, v, o, lse, do, **ctx.options)
        return dq.flatten(1, 2), dk.flatten(1, 2), dv.flatten(1, 2), None, None


@checked
def flash_attention(
    query: Float[Tensor, "batch heads query head_dim"],
    key: Float[Tensor, "batch kv_heads key head_dim"],
    value: Float[Tensor, "batch kv_heads key value_dim"],
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "batch heads query value_dim"]:
    """`attention`, in memory that grows with the length, not its square.

    Any float type; float16 and bfloat16 are computed in float32 and rounded
    once, at the end. `causal` hides what comes later; the last query stands
    at the last key. `scale` defaults to 1/√head_dim. Differentiable once.

    Raises `ValueError` naming the argument that does not fit the others.
    """
    check_heads(query, key)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1])
    blind = blind_queries(query, key, causal)
    query = query[:, :, blind:]
    with as_written(query) as dtype:
        out = FlashAttention.apply(query, key, value, causal, scale)
    return with_blind(out, blind).to(dtype)
