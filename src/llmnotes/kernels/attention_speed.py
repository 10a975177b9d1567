r"""A fair race of attentions: the contestants, the referee and the counts.

    query, key, value = Q, K, V; causal: the last query sees all keys, one
                        before it one key less, and so on
    peak, total       = largest score of a row so far, its Σ exp(score - peak)
    pairs             = (query, key) pairs that may see each other
    flops             = multiplications and additions in matrix products
    traffic           = bytes that must cross between memory and chip
    intensity         = flops / traffic
    roof              = the most flops per second that an intensity allows

Sources
- Rabe & Staats 2021, "Self-attention Does Not Need O(n²) Memory",
  arXiv 2112.05682, §2-4 and figure 1.
- Dao et al. 2022, "FlashAttention", arXiv 2205.14135, algorithms 0 and 3.
- Williams, Waterman & Patterson 2009, "Roofline", CACM 52(4).
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from llmnotes.checks import check_sizes, checked
from llmnotes.kernels.flash_attention import cpu
from llmnotes.transformer.attention import (
    apply_mask,
    attention,
    blind_queries,
    causal_mask,
    check_heads,
    repeat_kv,
    scaled_scores,
    weighted_sum,
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
    wide = torch.promote_types(query.dtype, torch.float32)
    query, key, value = (x.to(wide) for x in (query, key, value))
    scores = scaled_scores(query, key, scale)
    if not seen.all():
        scores = apply_mask(scores, seen)
    peak = scores.detach().amax(-1, keepdim=True).clamp(min=LOWEST)
    weights = (scores - peak).exp()
    values = weighted_sum(weights, value, seen)
    return values, weights.sum(-1, keepdim=True), peak


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
    return (summary[0] / summary[1]).to(query.dtype)


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
    parts = [
        attend_rows(query, key, value, rows, key_chunk, causal, scale)
        for rows in chunks
    ]
    return F.pad(torch.cat(parts, dim=-2), (0, 0, blind, 0))


@checked
def torch_sdpa(
    query: Float[Tensor, "... query head_dim"],
    key: Float[Tensor, "... key head_dim"],
    value: Float[Tensor, "... key value_dim"],
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "... query value_dim"]:
    """Torch's own fused attention, called the way the others are.

    Its `is_causal` is the others' only where lengths agree.
    """
    check_heads(query, key, value)
    square = query.shape[-2] == key.shape[-2]
    mask = None
    if causal and not square:
        mask = causal_mask(query.shape[-2], key.shape[-2], query.device)
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=causal and square,
        scale=scale,
        enable_gqa=query.ndim > 3,
    )


@checked
def attention_over_heads(
    query: Float[Tensor, "batch heads length head_dim"],
    key: Float[Tensor, "batch heads length head_dim"],
    value: Float[Tensor, "batch heads length head_dim"],
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "batch heads length head_dim"]:
    """A mistake, kept as an exhibit: each token attends over its own heads.

    SDPA attends over the axis before the last. In (batch·length, heads,
    head_dim), the layout that a projection leaves behind, those are heads.
    """
    batch = query.shape[0]
    layout = "batch heads length width -> (batch length) heads width"
    q, k, v = (rearrange(x, layout) for x in (query, key, value))
    out = F.scaled_dot_product_attention(
        q, k, v, is_causal=causal, scale=scale
    )
    back = "(batch length) heads width -> batch heads length width"
    return rearrange(out, back, batch=batch)


CONTESTANTS = {
    "naive": attention,
    "memory_efficient": memory_efficient_attention,
    "sdpa": torch_sdpa,
    "numba_flash": cpu.flash_attention,
}


def forward(function, query, key, value) -> tuple[Tensor]:
    """What is raced: the causal output, without a trace for gradients."""
    with torch.no_grad():
        return (function(query, key, value, causal=True),)


def forward_backward(function, query, key, value) -> tuple[Tensor, ...]:
    """What is raced: output and gradients of its inner product with query.

    The gradient that comes in from above is then the query: as good as
    random, and no time goes into making it.
    """
    inputs = [x.detach().requires_grad_() for x in (query, key, value)]
    out = function(*inputs, causal=True)
    return out.detach(), *torch.autograd.grad(out, inputs, query)


TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 4e-2}


def row_error(got: Tensor, expected: Tensor) -> float:
    """The worst row's ‖got - expected‖ over its own and a typical norm.

    Late rows of causal attention average thousands of values and are small:
    an absolute tolerance that early rows pass would never see them fail.
    """
    norms = expected.norm(dim=-1)
    errors = (got.to(expected.dtype) - expected).norm(dim=-1)
    return float((errors / (norms + norms.square().mean().sqrt())).max())


def same_answers(
    contestants: dict,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    run=forward,
    expected: tuple | None = None,
) -> dict[str, float]:
    """Return each contestant's error, or refuse the race.

    All get the same inputs; their answers are compared with `expected`, by
    default naive attention's on the same numbers in at least float32.

    Raises `ValueError` naming the contestant whose answer is another one.
    """
    if expected is None:
        wide = torch.promote_types(query.dtype, torch.float32)
        expected = run(attention, *(x.to(wide) for x in (query, key, value)))
    limit, errors = TOLERANCE[query.dtype], {}
    for name, function in contestants.items():
        answers = run(function, query, key, value)
        errors[name] = max(map(row_error, answers, expected))
        if not errors[name] <= limit:  # also refuses NaN
            raise ValueError(
                f"contestants[{name!r}]: got an answer {errors[name]:.1g} "
                f"away from naive attention's, expected at most {limit:g}"
            )
    return errors


def pairs(query: int, key: int, causal: bool) -> int:
    """Count the (query, key) pairs of one head that may see each other."""
    if not causal:
        return query * key
    square = min(query, key)  # the last sees all keys, each before it one less
    return square * (square + 1) // 2 + square * (key - square)


def forward_flops(query: int, key: int, head_dim: int, causal: bool) -> int:
    """Count one head's: a score and its share of PV, 2·head_dim each."""
    return 4 * head_dim * pairs(query, key, causal)


def backward_flops(query: int, key: int, head_dim: int, causal: bool) -> int:
    """Count one head's four products: dV, dP, dQ and dK.

    What a method computes again to save memory is its own affair: more
    work for the same answer is not more speed.
    """
    return 8 * head_dim * pairs(query, key, causal)


def fused_forward_traffic(query: int, key: int, head_dim: int) -> int:
    """Count one head's numbers read (Q, K, V) and written (O)."""
    return 2 * (query + key) * head_dim


def fused_backward_traffic(query: int, key: int, head_dim: int) -> int:
    """Count one head's Q, K, V, O, dO in and dQ, dK, dV out."""
    return 4 * (query + key) * head_dim


def unfused_forward_traffic(query: int, key: int, head_dim: int) -> int:
    """Add S and P, each written once and read once.

    Causal or not: a program of whole-matrix steps forms the whole matrix.

    Source: Dao et al. 2022, algorithm 0.
    """
    return fused_forward_traffic(query, key, head_dim) + 4 * query * key


def unfused_backward_traffic(query: int, key: int, head_dim: int) -> int:
    """Add P read twice, dP and dS written, dP once and dS twice read.

    Source: Dao et al. 2022.
    """
    return fused_backward_traffic(query, key, head_dim) + 7 * query * key


def roof(intensity: float, peak: float, bandwidth: float) -> float:
    """Return the flops per second that no program can exceed.

    `intensity` is in flops per byte, `peak` in flops/s, `bandwidth` in
    bytes/s. Left of peak/bandwidth memory is the limit, right of it the
    arithmetic.

    Source: Williams et al. 2009.
    """
    return min(peak, intensity * bandwidth)
