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
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_divides, check_sizes, checked
from llmnotes.precision import as_written, wide


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
    """Bool masks set -inf where False; float masks are added.

    -inf in a float mask hides as False does: NaN - inf would be NaN.
    """
    if mask is None:
        return scores
    if mask.dtype == torch.bool:
        return scores.masked_fill(~mask, -torch.inf)
    hidden = mask == -torch.inf
    shifted = scores + mask.masked_fill(hidden, 0)
    return shifted.masked_fill(hidden, -torch.inf)


def masked_softmax(
    scores: Float[Tensor, "... query key"],
) -> Float[Tensor, "... query key"]:
    """Softmax over keys; a row that may see nothing becomes zeros, not NaN.

    Where NaN is seen the whole row is NaN, but for the keys it may not see.
    """
    hidden = scores == -torch.inf
    empty = hidden.all(-1, keepdim=True)
    return scores.masked_fill(empty, 0).softmax(-1).masked_fill(hidden, 0)


def causal_mask(
    query: int, key: int, device: torch.device | None = None
) -> Bool[Tensor, "query key"]:
    """Nobody sees what comes later. The last query stands at the last key.

    So query i may see keys 0..i when both are equally many, and with a cache
    of earlier keys one more for each of them. (FlashAttention from 2.1 on
    aligns alike, PyTorch's `is_causal` at the top left.)
    """
    mask = torch.ones(query, key, dtype=torch.bool, device=device)
    return mask.tril(key - query)


def blind_queries(query: Tensor, key: Tensor, causal: bool) -> int:
    """How many of the first queries stand before the first key."""
    return max(0, query.shape[-2] - key.shape[-2]) if causal else 0


def with_blind(out: Tensor, blind: int) -> Tensor:
    """The output behind zeros for queries that see nobody; no copy for 0."""
    return F.pad(out, (0, 0, blind, 0)) if blind else out


def sliding_window_mask(
    query: int, key: int, window: int, device: torch.device | None = None
) -> Bool[Tensor, "query key"]:
    """A query may see the `window` keys that end at its own."""
    check_sizes(window=window)
    causal = causal_mask(query, key, device)
    return causal & ~torch.ones_like(causal).tril(key - query - window)


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


def visible_keys(
    query: Float[Tensor, "... query head_dim"],
    key: Float[Tensor, "... key head_dim"],
    mask: Tensor | None,
    causal: bool,
) -> Bool[Tensor, "..."] | None:
    """Who may see whom, or None where everybody sees everything."""
    seen = None
    if mask is not None:
        check_mask(mask, query, key)
        seen = mask if mask.dtype == torch.bool else mask != -torch.inf
    if causal:
        past = causal_mask(query.shape[-2], key.shape[-2], key.device)
        seen = past if seen is None else seen & past
    return seen


def guarded_scores(
    query: Float[Tensor, "... query head_dim"],
    key: Float[Tensor, "... key head_dim"],
    scale: float | None = None,
) -> Float[Tensor, "... query key"]:
    """`scaled_scores` that hand no NaN back from behind a mask.

    The gradient of a hidden score is 0, yet 0 · NaN is NaN. So what is not
    finite is taken out of the product, and its scores stand in the result
    as constants: they are NaN where seen, and pass no gradient.
    """
    bad_query, bad_key = ~query.isfinite(), ~key.isfinite()
    if not (bad_query.any() or bad_key.any()):
        return scaled_scores(query, key, scale)
    clean = query.masked_fill(bad_query, 0), key.masked_fill(bad_key, 0)
    bad = bad_query.any(-1)[..., :, None] | bad_key.any(-1)[..., None, :]
    plain = scaled_scores(query.detach(), key.detach(), scale)
    return torch.where(bad, plain, scaled_scores(*clean, scale))


def masked_scores(
    query: Float[Tensor, "... query head_dim"],
    key: Float[Tensor, "... key head_dim"],
    mask: Tensor | None,
    seen: Bool[Tensor, "..."] | None,
    scale: float | None,
) -> Float[Tensor, "... query key"]:
    """QKᵀ·scale + mask, with -inf where a query may not see a key."""
    if query.ndim > 2:
        key = repeat_kv(key, query.shape[-3])
    if seen is None:
        return scaled_scores(query, key, scale)
    scores = guarded_scores(query, key, scale)
    if mask is not None and mask.dtype != torch.bool:
        scores = apply_mask(scores, mask)
    return apply_mask(scores, seen)


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
    check_heads(query, key)
    seen = visible_keys(query, key, mask, causal)
    with as_written(query) as dtype:
        scores = masked_scores(wide(query), wide(key), mask, seen, scale)
        return masked_softmax(scores).to(dtype)


def weighted_sum(
    weights: Float[Tensor, "... query key"],
    value: Float[Tensor, "... key value_dim"],
    seen: Bool[Tensor, "..."] | None,
) -> Float[Tensor, "... query value_dim"]:
    """PV in which a value that a query may not see cannot reach it.

    0 · NaN is NaN, so a plain product would let one bad value through every
    mask. Outputs become NaN only where a non-finite value is seen.
    """
    bad = ~value.isfinite()
    if seen is None or not bad.any():
        return weights @ value
    rows = seen.expand(weights.shape).to(value.dtype)
    poisoned = rows @ bad.to(value.dtype) > 0
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
    attend, or float, added to the scores. `causal` hides what comes later,
    the last query standing at the last key. `scale` defaults to 1/√head_dim.
    A query that may see no key gets zeros. float16 and bfloat16 are computed
    in float32 and rounded once, at the end, also under autocast.

    Raises `ValueError` naming the argument that does not fit the others.
    """
    check_heads(query, key, value)
    seen = visible_keys(query, key, mask, causal)
    with as_written(query) as dtype:
        query, key, value = wide(query), wide(key), wide(value)
        scores = masked_scores(query, key, mask, seen, scale)
        if query.ndim > 2:
            value = repeat_kv(value, query.shape[-3])
        return weighted_sum(masked_softmax(scores), value, seen).to(dtype)


@checked
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


@checked
def split_heads(
    x: Float[Tensor, "batch length d_model"], heads: int
) -> Float[Tensor, "batch heads length head_dim"]:
    """Cut the last axis into heads, for `attention`."""
    check_divides("d_model", x.shape[-1], heads=heads)
    return rearrange(x, "batch t (h width) -> batch h t width", h=heads)


@checked
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

    @checked
    def split(
        self,
        x: Float[Tensor, "batch query d_model"],
        context: Float[Tensor, "batch key d_model"] | None = None,
    ) -> Heads:
        """Return query, key and value, each (batch, heads, length, width)."""
        if x.shape[-1] != self.q_proj.in_features:
            raise ValueError(
                f"x: got d_model {x.shape[-1]}, expected this layer's "
                f"{self.q_proj.in_features}"
            )
        context = x if context is None else context
        return (
            split_heads(self.q_proj(x), self.heads),
            split_heads(self.k_proj(context), self.kv_heads),
            split_heads(self.v_proj(context), self.kv_heads),
        )

    @checked
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

    @checked
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
    if query.ndim == 3 and len(key) != len(query):
        raise ValueError(
            f"key: got {len(key)} in front, expected query's {len(query)} "
            "(heads are grouped only behind a batch axis)"
        )
    if query.ndim > 3 and query.shape[-3] % key.shape[-3]:
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


def check_mask(mask: Tensor, query: Tensor, key: Tensor) -> None:
    """Raise `ValueError` unless `mask` broadcasts to the scores.

    A float mask may be of any type that adding it to the scores keeps.
    """
    finest = torch.promote_types(query.dtype, torch.float32)
    if mask.dtype != torch.bool and (
        not mask.is_floating_point()
        or torch.promote_types(mask.dtype, finest) != finest
    ):
        raise ValueError(
            f"mask: got {mask.dtype}, expected bool (True = may attend) or "
            f"at most {finest} (added to the scores)"
        )
    shape = *query.shape[:-1], key.shape[-2]
    fits = mask.ndim <= len(shape) and all(
        m in (1, s)
        for m, s in zip(mask.shape[::-1], shape[::-1], strict=False)
    )
    if not fits or mask.device != query.device:
        raise ValueError(
            f"mask: got shape {tuple(mask.shape)} on {mask.device}, expected "
            f"one that broadcasts to {shape} on {query.device}"
        )
