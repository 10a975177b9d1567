r"""Scaled dot-product attention: every query takes a weighted mean of values.

    query, key, value = Q, K, V
    scale             = 1/√d_k  (keeps the scores' variance at 1)
    scores            = S = QKᵀ·scale
    weights           = P = softmax(S), row by row
    head_dim, d_model = d_k, d_model
    heads, kv_heads   = h, number of key/value heads (GQA: kv_heads < h)

Sources
1. Vaswani et al. 2017, "Attention Is All You Need", arXiv 1706.03762, §3.2.
2. Shazeer 2019, "Fast Transformer Decoding", arXiv 1911.02150 (multi-query).
3. Ainslie et al. 2023, "GQA", arXiv 2305.13245 (grouped-query).
"""

import functools
import math

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


def checked(function):
    """Make `function(query, key, value, ...)` refuse inputs that do not fit.

    Raises `ValueError` naming the argument, what came and what was expected.
    """

    @functools.wraps(function)
    def wrapper(query, key, value, *, mask=None, **options):
        check_qkv(query, key, value)
        if mask is not None:
            check_mask(mask, query, key)
            options["mask"] = mask
        return function(query, key, value, **options)

    return wrapper


def check_qkv(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Raise `ValueError` unless the three tensors can attend together."""
    for name, x in (("query", query), ("key", key), ("value", value)):
        if not x.is_floating_point():
            raise ValueError(f"{name}: got {x.dtype}, expected a float dtype")
        if x.dtype != query.dtype or x.device != query.device:
            raise ValueError(
                f"{name}: got {x.dtype} on {x.device}, expected query's "
                f"{query.dtype} on {query.device}"
            )
        if x.ndim < 2 or x.ndim != query.ndim:
            raise ValueError(
                f"{name}: got {x.ndim} dimensions, expected "
                f"{max(query.ndim, 2)}: (..., length, head_dim)"
            )
        if x.numel() == 0:
            raise ValueError(
                f"{name}: got shape {tuple(x.shape)}, expected no empty axis"
            )
    check_shapes(query, key, value)


def check_shapes(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Raise `ValueError` unless lengths, widths and heads agree."""
    if key.shape[-1] != query.shape[-1]:
        raise ValueError(
            f"key: got head_dim {key.shape[-1]}, expected query's "
            f"{query.shape[-1]}"
        )
    if value.shape[:-1] != key.shape[:-1]:
        raise ValueError(
            f"value: got shape {tuple(value.shape)}, expected key's "
            f"{tuple(key.shape[:-1])} before the last axis"
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


def check_mask(mask: Tensor, query: Tensor, key: Tensor) -> None:
    """Raise `ValueError` unless `mask` broadcasts to the scores."""
    if mask.dtype not in (torch.bool, query.dtype):
        raise ValueError(
            f"mask: got {mask.dtype}, expected bool (True = may attend) or "
            f"query's {query.dtype} (added to the scores)"
        )
    scores = (*query.shape[:-1], key.shape[-2])
    fits = mask.ndim <= len(scores) and all(
        m in (1, s)
        for m, s in zip(mask.shape[::-1], scores[::-1], strict=False)
    )
    if not fits or mask.device != query.device:
        raise ValueError(
            f"mask: got shape {tuple(mask.shape)} on {mask.device}, expected "
            f"one that broadcasts to {scores} on {query.device}"
        )


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


def repeat_kv(
    x: Float[Tensor, "... key width"], heads: int
) -> Float[Tensor, "... key width"]:
    """Share each key/value head among heads/kv_heads neighbouring queries."""
    return x.repeat_interleave(heads // x.shape[-3], dim=-3)


def causal_mask(
    query: int, key: int, device: torch.device | None = None
) -> Bool[Tensor, "query key"]:
    """Query i may see keys 0..i (aligned at the top left, as in torch)."""
    return torch.ones(query, key, dtype=torch.bool, device=device).tril()


def sliding_window_mask(
    query: int, key: int, window: int, device: torch.device | None = None
) -> Bool[Tensor, "query key"]:
    """Query i may see the `window` keys that end at key i."""
    if window < 1:
        raise ValueError(f"window: got {window}, expected at least 1")
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
    """softmax(QKᵀ·scale + mask) V [1, eq. 1].

    Tensors are (..., heads, length, head_dim); key and value may have fewer
    heads, a divisor of query's [2, 3]. `mask` broadcasts to (..., heads,
    query, key): bool, True where a query may attend, or float, added to the
    scores. `causal` lets query i see keys 0..i. `scale` defaults to
    1/√head_dim. A query that may see no key gets zeros.

    Raises `ValueError` naming the argument that does not fit the others.
    """
    if query.ndim > 2:
        key = repeat_kv(key, query.shape[-3])
        value = repeat_kv(value, query.shape[-3])
    scores = apply_mask(scaled_scores(query, key, scale), mask)
    if causal:
        scores = apply_mask(
            scores, causal_mask(*scores.shape[-2:], key.device)
        )
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
    """The paper's multi-head attention, one matrix per head [1, §3.2.2].

    `context` is x itself in self-attention, another sequence in
    cross-attention. `options` go to `attention`.
    """
    project = "batch t d_model, h d_model width -> batch h t width"
    query = einsum(x, w_q, project)
    key, value = einsum(context, w_k, project), einsum(context, w_v, project)
    heads = attention(query, key, value, **options)
    merge = "batch h t width, h width d_model -> batch t d_model"
    return einsum(heads, w_o, merge)


class MultiHeadAttention(nn.Module):
    """`heads` attentions side by side on learned projections [1, §3.2.2].

    The per-head matrices are stored as four `nn.Linear` layers, head after
    head along the output axis. `kv_heads` (default: heads) makes it grouped
    [3] or, at 1, multi-query [2].

    Raises `ValueError` if heads does not divide d_model or kv_heads heads.
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
        check_heads(d_model, heads, kv_heads)
        kv_width = d_model // heads * kv_heads
        self.heads, self.kv_heads = heads, kv_heads
        self.q_proj = nn.Linear(d_model, d_model, bias)
        self.k_proj = nn.Linear(d_model, kv_width, bias)
        self.v_proj = nn.Linear(d_model, kv_width, bias)
        self.o_proj = nn.Linear(d_model, d_model, bias)

    def forward(
        self,
        x: Float[Tensor, "batch query d_model"],
        context: Float[Tensor, "batch key d_model"] | None = None,
        **options,
    ) -> Float[Tensor, "batch query d_model"]:
        """Attend from x to context (default: to x); see `attention`."""
        context = x if context is None else context
        split = "batch t (h width) -> batch h t width"
        query = rearrange(self.q_proj(x), split, h=self.heads)
        key = rearrange(self.k_proj(context), split, h=self.kv_heads)
        value = rearrange(self.v_proj(context), split, h=self.kv_heads)
        out = attention(query, key, value, **options)
        return self.o_proj(
            rearrange(out, "batch h t width -> batch t (h width)")
        )


def check_heads(d_model: int, heads: int, kv_heads: int) -> None:
    """Raise `ValueError` unless heads fit d_model and kv_heads heads."""
    if heads < 1 or d_model % heads:
        raise ValueError(
            f"heads: got {heads}, expected a divisor of {d_model}"
        )
    if kv_heads < 1 or heads % kv_heads:
        raise ValueError(
            f"kv_heads: got {kv_heads}, expected a divisor of heads = {heads}"
        )
