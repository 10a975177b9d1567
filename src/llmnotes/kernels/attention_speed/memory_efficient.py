"""Attention over chunks of keys, whose summaries are put together.

    query, key, value = Q, K, V; causal: the last query sees all keys, one
                        before it one key less, and so on
    peak, total       = largest score of a row so far, its Σ exp(score - peak)

Sources
- Rabe & Staats 2021, "Self-attention Does Not Need O(n²) Memory",
  arXiv 2112.05682, §2-4 and figure 1.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from llmnotes.checks import check_sizes, checked
from llmnotes.precision import as_written, wide
from llmnotes.transformer.attention import (
    apply_mask,
    blind_queries,
    check_heads,
    guarded_scores,
    repeat_kv,
    scaled_scores,
    weighted_sum,
    with_blind,
)

LOWEST = torch.finfo(torch.float32).min  # below every score, yet not -inf


def visible(
    rows: range, columns: range, causal: bool, device: torch.device
) -> Bool[Tensor, "query key"]:
    """Return which of the keys `columns` the queries `rows` may see."""
    if not causal or columns.stop - 1 <= rows.start:  # one True, no memory
        yes = torch.ones(1, 1, dtype=torch.bool, device=device)
        return yes.expand(len(rows), len(columns))
    i = torch.arange(rows.start, rows.stop, device=device)
    j = torch.arange(columns.start, columns.stop, device=device)
    return rearrange(i, "query -> query 1") >= j


def summarise(
    query: Float[Tensor, "... query head_dim"],
    key: Float[Tensor, "... key head_dim"],
    value: Float[Tensor, "... key value_dim"],
    seen: Bool[Tensor, "query key"],
    scale: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return Σ exp(s - peak)·v, Σ exp(s - peak) and peak of one chunk.

    The peak cancels in the end, so it may be a constant to autograd; that
    spares autograd from keeping the sums it scales (Rabe & Staats 2021,
    figure 1).
    """
    query, key, value = wide(query), wide(key), wide(value)
    if seen.all():
        scores = scaled_scores(query, key, scale)
    else:  # nothing comes through the mask, back or forth
        scores = apply_mask(guarded_scores(query, key, scale), seen)
    peak = scores.detach().amax(-1, keepdim=True).clamp(min=LOWEST)
    weights = (scores - peak).exp()
    if not seen.all():  # where the peak is NaN, these are no longer 0
        weights = weights.masked_fill(~seen, 0)
    values = weighted_sum(weights, value, seen)
    lost = ~peak.isfinite()  # NaN by now; its row shall spoil no gradient
    return values, weights.sum(-1, keepdim=True), peak.masked_fill(lost, 0)


def merge(one: tuple, two: tuple) -> tuple[Tensor, Tensor, Tensor]:
    """Bring two summaries to their common peak and add them.

    Source: Rabe & Staats 2021, §2.
    """
    peak = torch.maximum(one[2], two[2])
    a, b = (one[2] - peak).exp(), (two[2] - peak).exp()
    return one[0] * a + two[0] * b, one[1] * a + two[1] * b, peak


def attend_rows(query, key, value, rows, key_chunk, causal, scale):
    """Attention of the queries `rows`, a chunk of keys at a time."""
    ahead = key.shape[-2] - query.shape[-2]  # keys of a cache, say
    at = range(rows.start + ahead, rows.stop + ahead)
    last = at.stop if causal else key.shape[-2]
    summary = None
    for start in range(0, last, key_chunk):
        columns = range(start, min(start + key_chunk, last))
        part = checkpoint(  # keeps the inputs, later computes the rest again
            summarise,
            query[..., rows.start : rows.stop, :],
            key[..., columns.start : columns.stop, :],
            value[..., columns.start : columns.stop, :],
            visible(at, columns, causal, query.device),
            scale,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        summary = part if summary is None else merge(summary, part)
    values, total, _ = summary
    return values / total.masked_fill(total.isnan(), 1)


@checked
def memory_efficient_attention(
    query: Float[Tensor, "... query head_dim"],
    key: Float[Tensor, "... key head_dim"],
    value: Float[Tensor, "... key value_dim"],
    *,
    causal: bool = False,
    scale: float | None = None,
    query_chunk: int = 256,
    key_chunk: int = 512,
) -> Float[Tensor, "... query value_dim"]:
    """softmax(QKᵀ·scale)V with query_chunk·key_chunk scores at a time.

    Tensors are (..., heads, length, head_dim); key and value may have fewer
    heads, a divisor of query's. Chunks of keys that no query of the chunk
    may see are left out, which the paper's program does not do. Arithmetic
    is in float32 or wider, as the paper's is in full precision.

    Raises `ValueError` naming the argument that does not fit.

    Source: Rabe & Staats 2021.
    """
    check_heads(query, key, value)
    check_sizes(query_chunk=query_chunk, key_chunk=key_chunk)
    if query.ndim > 2:
        key = repeat_kv(key, query.shape[-3])
        value = repeat_kv(value, query.shape[-3])
    blind = blind_queries(query, key, causal)
    query = query[..., blind:, :]
    length = query.shape[-2]
    chunks = [
        range(start, min(start + query_chunk, length))
        for start in range(0, length, query_chunk)
    ]
    with as_written(query) as dtype:
        parts = [
            attend_rows(query, key, value, rows, key_chunk, causal, scale)
            for rows in chunks
        ]
        out = torch.cat(parts, dim=-2).to(dtype)
    return with_blind(out, blind)
