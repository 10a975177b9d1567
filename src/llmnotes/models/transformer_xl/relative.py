r"""Scores that know distances only: Transformer-XL's four terms.

    query     = q = W_q x          key = W_kE x, what a token holds
    places    = W_kR R, one key for every lag, the farthest first
    u, v      = what every query asks for besides, of contents and of places
    content   = (q + u)·key        the terms (a) and (c)
    position  = (q + v)·place      the terms (b) and (d)
    visible   = who may see whom
    lag       = position of the query - position of the key

The places are the same for all queries, so one product gives all position
scores, but each row of it begins at the farthest lag, and a query's own row
begins elsewhere. `shift` moves the rows.

Sources
- Dai et al. 2019, "Transformer-XL: Attentive Language Models Beyond a
  Fixed-Length Context", arXiv 1901.02860, §3.3 and appendix B.
- Vaswani et al. 2017, "Attention Is All You Need", arXiv 1706.03762, §3.5
  (the sinusoids).
"""

import math

import torch
import torch.nn.functional as F
from einops import einsum
from jaxtyping import Bool, Float
from torch import Tensor

from llmnotes.checks import check_sizes, checked
from llmnotes.precision import as_written, wide
from llmnotes.transformer.attention import attention
from llmnotes.transformer.positions import lags, sinusoidal


def lag_codes(
    keys: int,
    d_model: int,
    *,
    clamp_len: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "key d_model"]:
    """R: a sinusoid for each lag from keys - 1 down to 0.

    With `clamp_len` all lags beyond it share its row.

    Raises `ValueError` for sizes that cannot be, or whole numbers as dtype.

    Source: Dai et al. 2019, §3.3.
    """
    check_sizes(keys=keys)
    if not dtype.is_floating_point:
        raise ValueError(f"dtype: got {dtype}, expected a float dtype")
    lag = torch.arange(keys - 1, -1, -1)
    if clamp_len is not None:
        check_sizes(clamp_len=clamp_len)
        lag = lag.clamp(max=clamp_len)
    return sinusoidal(keys, d_model, dtype=dtype)[lag]


@checked
def shift(
    x: Float[Tensor, "... query key"],
) -> Float[Tensor, "... query key"]:
    """Move each row so that its last lag, 0, comes to stand at the query.

    In: column c holds lag key - 1 - c. Out: column j holds the lag of query
    i to key j, the last query standing at the last key. What stands behind
    a query's own column is left over from the next row: hide it.

    Raises `ValueError` for more queries than keys.

    Source: Dai et al. 2019, appendix B.
    """
    query, key = x.shape[-2:]
    if query > key:
        raise ValueError(
            f"x: got {query} queries, expected at most its {key} keys"
        )
    padded = F.pad(x, (1, 0))
    moved = padded.reshape(*x.shape[:-2], key + 1, query)[..., 1:, :]
    return moved.reshape(x.shape)


@checked
def position_scores(
    query: Float[Tensor, "batch heads query head_dim"],
    places: Float[Tensor, "heads key head_dim"],
    v: Float[Tensor, "heads head_dim"],
) -> Float[Tensor, "batch heads query key"]:
    """The terms (b) and (d), scaled: (q + v)·place/√d_k, then shifted."""
    scaled = (query + v[:, None]) / math.sqrt(query.shape[-1])
    return shift(scaled @ places.mT)


@checked
def relative_attention(
    query: Float[Tensor, "batch heads query head_dim"],
    key: Float[Tensor, "batch heads key head_dim"],
    value: Float[Tensor, "batch heads key value_dim"],
    places: Float[Tensor, "heads key head_dim"],
    u: Float[Tensor, "heads head_dim"],
    v: Float[Tensor, "heads head_dim"],
    visible: Bool[Tensor, "... query key"],
) -> Float[Tensor, "batch heads query value_dim"]:
    """Attention whose scores are the four terms.

    Position scores go into `attention` as a float mask, and where a query
    may not see they are -inf, which hides what `shift` left over, too.
    float16 and bfloat16 are computed in float32 and rounded at the end.

    Raises `ValueError` naming the argument that does not fit.

    Source: Dai et al. 2019, §3.3.
    """
    check_visible(visible, query)
    with as_written(query) as dtype:
        query, key, value = wide(query), wide(key), wide(value)
        places, u, v = wide(places), wide(u), wide(v)
        bias = position_scores(query, places, v)
        bias = bias.masked_fill(~visible, -torch.inf)
        return attention(query + u[:, None], key, value, mask=bias).to(dtype)


def check_visible(visible: Tensor, query: Tensor) -> None:
    """Raise `ValueError` unless its axes before the last two fit query's."""
    given, wanted = visible.shape[:-2], query.shape[:2]
    pairs = zip(given[::-1], wanted[::-1], strict=False)
    if len(given) > 2 or any(got not in (1, size) for got, size in pairs):
        raise ValueError(
            f"visible: got shape {tuple(visible.shape)}, expected axes that "
            f"fit batch {wanted[0]} and heads {wanted[1]} before its last two"
        )


@checked
def four_terms(
    query: Float[Tensor, "batch heads query head_dim"],
    key: Float[Tensor, "batch heads key head_dim"],
    places: Float[Tensor, "heads key head_dim"],
    u: Float[Tensor, "heads head_dim"],
    v: Float[Tensor, "heads head_dim"],
) -> Float[Tensor, "4 batch heads query key"]:
    """The terms (a) to (d) one by one, every pair's lag looked up.

    No trick, and a vector for every pair of query and key: to look at, and
    to hold `shift` against. The future has the place of lag 0 here; hide it.
    """
    lag = lags(query.shape[-2], key.shape[-2], key.device).clamp(min=0)
    place = places.flip(-2)[:, lag]
    a = query @ key.mT
    b = einsum(query, place, "n h i width, h i j width -> n h i j")
    c = einsum(u, key, "h width, n h j width -> n h j")[:, :, None]
    d = einsum(v, place, "h width, h i j width -> h i j")
    return torch.stack([a, b, c.expand_as(a), d.expand_as(a)])
