r"""Scaled dot-product attention: every query takes a weighted mean of values.

    query, key, value = Q, K, V
    scale             = 1/√d_k  (keeps the scores' variance at 1)
    scores            = S = QKᵀ·scale
    weights           = P = softmax(S), row by row
    head_dim, d_model = d_k, d_model
    heads, kv_heads   = h, number of key/value heads (GQA: kv_heads < h)

Sources
- Vaswani et al. 2017, "Attention Is All You Need", arXiv 1706.03762, §3.2.
- Shazeer 2019, "Fast Transformer Decoding", arXiv 1911.02150 (multi-query).
- Ainslie et al. 2023, "GQA", arXiv 2305.13245 (grouped-query).
"""

import math
from collections.abc import Callable

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_divides, check_sizes, checked


def scaled_scores(
    query: Float[Tensor, "... query head_dim"],
    key: Float[Tensor, "... key head_dim"],
    scale: float | None = None,
) -> Float[Tensor, "... query key"]:
    """Similarity of every query to every key: S = QKᵀ/√d_k."""
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1])
    return (query * scale) @ key.transpose(-1, -2)


def apply_mask(
    scores: Float[Tensor, "... query key"], mask: Tensor | None
) -> Float[Tensor, "... query key"]:
    """Bool masks set -inf where False; float masks are added."""
    if mask is None:
        return scores
    if mask.dtype == torch.bool:
        return scores.masked_fill(~mask, -torch.inf)
    return scores + mask


def masked_softmax(
    scores: Float[Tensor, "... query key"],
) -> Float[Tensor, "... query key"]:
    """Softmax over keys; a row that may see nothing becomes zeros, not NaN."""
    empty = (scores == -torch.inf).all(-1, keepdim=True)
    return scores.masked_fill(empty, 0).softmax(-1).masked_fill(empty, 0)


def causal_mask(
    query: int, key: int, device: torch.device | None = None
) -> Bool[Tensor, "query key"]:
    """Query i may see keys 0..i (aligned at the top left, as in torch)."""
    return torch.ones(query, key, dtype=torch.bool, device=device).tril()


def sliding_window_mask(
    query: int, key: int, window: int, device: torch.device | None = None
) -> Bool[Tensor, "query key"]:
    """Query i may see the `window` keys that end at key i."""
    check_sizes(window=window)
    causal = causal_mask(query, key, device)
    return causal & ~causal.tril(-window)


def padding_mask(
    lengths: Int[Tensor, "batch"], key: int
) -> Bool[Tensor, "batch 1 1 key"]:
    """Sequence b may see its first lengths[b] keys; the rest is padding."""
    allowed = torch.arange(key, device=lengths.device) < lengths[:, None]
    return rearrange(allowed, "batch key -> batch 1 1 key")


def block_diagonal_mask(
    segments: Int[Tensor, "batch length"],
) -> Bool[Tensor, "batch 1 length length"]:
    """Packed sequences: a token sees the tokens of its own segment only."""
    query = rearrange(segments, "batch query -> batch 1 query 1")
    key = rearrange(segments, "batch key -> batch 1 1 key")
    return query == key


def repeat_kv(
    x: Float[Tensor, "... key width"], heads: int
) -> Float[Tensor, "... key width"]:
    """Share each key/value head among heads/kv_heads neighbouring queries."""
    return x.repeat_interleave(heads // x.shape[-3], dim=-3)


def masked_scores(
    query: Float[Tensor, "... query head_dim"],
    key: Float[Tensor, "... key head_dim"],
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "... query key"]:
    """QKᵀ·scale + mask, with -inf where a query may not see a key."""
    check_heads(query, key)
    if query.ndim > 2:
        key = repeat_kv(key, query.shape[-3])
    scores = scaled_scores(query, key, scale)
    if mask is not None:
        check_mask(mask, scores)
        scores = apply_mask(scores, mask)
    if causal:
        future = causal_mask(*scores.shape[-2:], key.device)
        scores = apply_mask(scores, future)
    return scores


@checked
def attention_weights(
    query: Float[Tensor, "... query head_dim"],
    key: Float[Tensor, "... key head_dim"],
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "... query key"]:
    """Who looks at whom: softmax(QKᵀ·scale + mask), row by row.

    Arguments and errors are those of `attention`, which takes the mean of
    the values with these weights.
    """
    options = {"mask": mask, "causal": causal, "scale": scale}
    return masked_softmax(masked_scores(query, key, **options))


def weighted_sum(
    weights: Float[Tensor, "... query key"],
    value: Float[Tensor, "... key value_dim"],
    seen: Bool[Tensor, "... query key"],
) -> Float[Tensor, "... query value_dim"]:
    """PV in which a value that a query may not see cannot reach it.

    0 · NaN is NaN, so a plain product would let one bad value through every
    mask. Outputs become NaN only where a non-finite value is seen.
    """
    bad = ~value.isfinite()
    if not bad.any():
        return weights @ value
    poisoned = seen.to(value.dtype) @ bad.to(value.dtype) > 0
    clean = weights @ value.masked_fill(bad, 0)
    return clean.masked_fill(poisoned, torch.nan)


@checked
def attention(
    query: Float[Tensor, "... query head_dim"],
    key: Float[Tensor, "... key head_dim"],
    value: Float[Tensor, "... key value_dim"],
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "... query value_dim"]:
    """softmax(QKᵀ·scale + mask) V (Vaswani et al. 2017, eq. 1).

    Tensors are (..., heads, length, head_dim); key and value may have fewer
    heads, a divisor of query's (Shazeer 2019; Ainslie et al. 2023). `mask`
    broadcasts to (..., heads, query, key): bool, True where a query may
    attend, or float, added to the scores. `causal` lets query i see keys
    0..i. `scale` defaults to 1/√head_dim. A query that may see no key gets
    zeros.

    Raises `ValueError` naming the argument that does not fit the others.
    """
    check_heads(query, key, value)
    options = {"mask": mask, "causal": causal, "scale": scale}
    scores = masked_scores(query, key, **options)
    if query.ndim > 2:
        value = repeat_kv(value, query.shape[-3])
    return weighted_sum(masked_softmax(scores), value, scores != -torch.inf)


def multi_head_attention(
    x: Float[Tensor, "batch query d_model"],
    context: Float[Tensor, "batch key d_model"],
    w_q: Float[Tensor, "heads d_model head_dim"],
    w_k: Float[Tensor, "kv_heads d_model head_dim"],
    w_v: Float[Tensor, "kv_heads d_model value_dim"],
    w_o: Float[Tensor, "heads value_dim d_model"],
    **options,
) -> Float[Tensor, "batch query d_model"]:
    """The paper's multi-head attention, one matrix per head.

    `context` is x itself in self-attention, another sequence in
    cross-attention. `options` go to `attention`.

    Source: Vaswani et al. 2017, §3.2.2.
    """
    project = "batch t d_model, h d_model width -> batch h t width"
    query = einsum(x, w_q, project)
    key, value = einsum(context, w_k, project), einsum(context, w_v, project)
    heads = attention(query, key, value, **options)
    merge = "batch h t width, h width d_model -> batch t d_model"
    return einsum(heads, w_o, merge)


def split_heads(
    x: Float[Tensor, "batch length d_model"], heads: int
) -> Float[Tensor, "batch heads length head_dim"]:
    """Cut the last axis into heads, for `attention`."""
    return rearrange(x, "batch t (h width) -> batch h t width", h=heads)


def merge_heads(
    x: Float[Tensor, "batch heads length head_dim"],
) -> Float[Tensor, "batch length d_model"]:
    """Put the heads side by side again."""
    return rearrange(x, "batch h t width -> batch t (h width)")


Heads = tuple[Tensor, Tensor, Tensor]  # query, key, value, head by head


def as_projected(query: Tensor, key: Tensor, value: Tensor) -> Heads:
    """Attend with what the projections gave: nothing to prepare."""
    return query, key, value


class MultiHeadAttention(nn.Module):
    """`heads` attentions side by side on learned projections.

    The per-head matrices are stored as four `nn.Linear` layers, head after
    head along the output axis. `kv_heads` (default: heads) makes it grouped
    (Ainslie et al. 2023) or, at 1, multi-query (Shazeer 2019).

    Raises `ValueError` if heads does not divide d_model or kv_heads heads.

    Source: Vaswani et al. 2017, §3.2.2.
    """

    def __init__(
        self,
        d_model: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        bias: bool = True,
    ):
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        check_divides("d_model", d_model, heads=heads)
        check_divides("heads", heads, kv_heads=kv_heads)
        kv_width = d_model // heads * kv_heads
        self.heads, self.kv_heads = heads, kv_heads
        self.q_proj = nn.Linear(d_model, d_model, bias)
        self.k_proj = nn.Linear(d_model, kv_width, bias)
        self.v_proj = nn.Linear(d_model, kv_width, bias)
        self.o_proj = nn.Linear(d_model, d_model, bias)

    def split(self, x: Tensor, context: Tensor | None = None) -> Heads:
        """Return query, key and value, each (batch, heads, length, width)."""
        context = x if context is None else context
        return (
            split_heads(self.q_proj(x), self.heads),
            split_heads(self.k_proj(context), self.kv_heads),
            split_heads(self.v_proj(context), self.kv_heads),
        )

    def forward(
        self,
        x: Float[Tensor, "batch query d_model"],
        context: Float[Tensor, "batch key d_model"] | None = None,
        *,
        prepare: Callable[..., Heads] = as_projected,
        **options,
    ) -> Float[Tensor, "batch query d_model"]:
        """Attend from x to context (default: to x); see `attention`.

        `prepare(query, key, value)` returns those to attend with: turned by
        their positions, normalised, or with the keys and values of a cache
        in front.
        """
        heads = prepare(*self.split(x, context))
        return self.o_proj(merge_heads(attention(*heads, **options)))

    def weights(
        self,
        x: Float[Tensor, "batch query d_model"],
        context: Float[Tensor, "batch key d_model"] | None = None,
        *,
        prepare: Callable[..., Heads] = as_projected,
        **options,
    ) -> Float[Tensor, "batch heads query key"]:
        """Who looks at whom in `forward`, which does not hand them out."""
        query, key, _ = prepare(*self.split(x, context))
        return attention_weights(query, key, **options)


def check_heads(query: Tensor, key: Tensor, value: Tensor | None = None):
    """Raise `ValueError` unless the axes before the last two agree.

    Key and value have the same ones, and query's but for fewer heads.
    """
    if key.ndim != query.ndim:
        raise ValueError(
            f"key: got {key.ndim} dimensions, expected {query.ndim} as query"
        )
    if query.ndim > 2 and query.shape[-3] % key.shape[-3]:
        raise ValueError(
            f"key: got {key.shape[-3]} heads, expected a divisor of query's "
            f"{query.shape[-3]}"
        )
    if query.shape[:-3] != key.shape[:-3]:
        raise ValueError(
            f"key: got batch {tuple(key.shape[:-3])}, expected query's "
            f"{tuple(query.shape[:-3])}"
        )
    if value is not None and value.shape[:-1] != key.shape[:-1]:
        raise ValueError(
            f"value: got shape {tuple(value.shape)}, expected key's "
            f"{tuple(key.shape[:-1])} before the last axis"
        )


def check_mask(mask: Tensor, scores: Tensor) -> None:
    """Raise `ValueError` unless `mask` broadcasts to the scores."""
    if mask.dtype not in (torch.bool, scores.dtype):
        raise ValueError(
            f"mask: got {mask.dtype}, expected bool (True = may attend) or "
            f"query's {scores.dtype} (added to the scores)"
        )
    shape = tuple(scores.shape)
    fits = mask.ndim <= len(shape) and all(
        m in (1, s)
        for m, s in zip(mask.shape[::-1], shape[::-1], strict=False)
    )
    if not fits or mask.device != scores.device:
        raise ValueError(
            f"mask: got shape {tuple(mask.shape)} on {mask.device}, expected "
            f"one that broadcasts to {shape} on {scores.device}"
        )
