"""Other programs for the same attention, written or compiled in torch.

    query, key, value = Q, K, V, with the same number of heads here
    ahead             = keys that stand before the first query, in a cache say

Sources
- Dong et al. 2024, "Flex Attention", arXiv 2412.05496, §3.
"""

import functools
import inspect
import types

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention.flex_attention import (
    BlockMask,
    create_block_mask,
    flex_attention,
)

from llmnotes.checks import checked
from llmnotes.transformer.attention import causal_mask, check_heads


def five_lines(
    query: Float[Tensor, "batch heads query head_dim"],
    key: Float[Tensor, "batch heads key head_dim"],
    value: Float[Tensor, "batch heads key value_dim"],
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "batch heads query value_dim"]:
    """The formula as anybody writes it: no guards, a new matrix per step."""
    if scale is None:
        scale = query.shape[-1] ** -0.5
    scores = query @ key.mT * scale
    if causal:
        shape, ahead = scores.shape[-2:], key.shape[-2] - query.shape[-2]
        past = torch.ones(shape, dtype=torch.bool, device=key.device)
        scores = scores.masked_fill(~past.tril(ahead), -torch.inf)
    return scores.softmax(-1) @ value


def in_place(
    query: Float[Tensor, "batch heads query head_dim"],
    key: Float[Tensor, "batch heads key head_dim"],
    value: Float[Tensor, "batch heads key value_dim"],
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "batch heads query value_dim"]:
    """One matrix, overwritten by each step; only the output is divided."""
    if scale is None:
        scale = query.shape[-1] ** -0.5
    scores = query * scale @ key.mT
    if causal:
        past = causal_mask(query.shape[-2], key.shape[-2], key.device)
        scores.masked_fill_(~past, -torch.inf)
    scores.sub_(scores.detach().amax(-1, keepdim=True)).exp_()
    return (scores @ value) / scores.sum(-1, keepdim=True)


@functools.cache
def compiled_for(function, *_):
    """A function compiled for one kind of call, which is the rest.

    Each kind gets a copy: of one function torch.compile keeps a list of
    versions, searched at each call, and gives up silently after the eighth.
    """
    plain = inspect.unwrap(function)
    copy = types.FunctionType(plain.__code__.replace(), plain.__globals__)
    copy.__kwdefaults__ = plain.__kwdefaults__
    return torch.compile(copy, dynamic=False)


def kind(query: Tensor, key: Tensor, value: Tensor) -> tuple:
    """What a compiled program depends on."""
    shapes = query.shape, key.shape, value.shape
    return *shapes, query.dtype, query.device, torch.is_grad_enabled()


@checked
def compiled(
    query: Float[Tensor, "batch heads query head_dim"],
    key: Float[Tensor, "batch heads key head_dim"],
    value: Float[Tensor, "batch heads key value_dim"],
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "batch heads query value_dim"]:
    """`five_lines` through torch.compile, compiled anew for each shape."""
    call = compiled_for(five_lines, causal, *kind(query, key, value))
    return call(query, key, value, causal=causal, scale=scale)


def flex_lines(query, key, value, *, mask=None, scale=None):
    """What is compiled for `flex`."""
    return flex_attention(query, key, value, block_mask=mask, scale=scale)


@functools.cache
def causal_blocks(query: int, key: int, device: torch.device) -> BlockMask:
    """Which blocks of 128 × 128 scores are full, mixed and left out."""
    ahead = key - query
    return create_block_mask(
        lambda batch, head, i, j: i + ahead >= j,
        *(None, None, query, key),
        device=device,
    )


@checked
def flex(
    query: Float[Tensor, "batch heads query head_dim"],
    key: Float[Tensor, "batch heads key head_dim"],
    value: Float[Tensor, "batch heads key value_dim"],
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "batch heads query value_dim"]:
    """FlexAttention, compiled for each shape; on a CPU it has no gradient.

    Source: Dong et al. 2024.
    """
    call = compiled_for(flex_lines, causal, *kind(query, key, value))
    lengths = query.shape[-2], key.shape[-2]
    mask = causal_blocks(*lengths, query.device) if causal else None
    return call(query, key, value, mask=mask, scale=scale)


@functools.cache
def compiler_missing() -> str:
    """Why torch.compile has no compiler here, or nothing where it has."""
    try:
        torch.compile(lambda x: x.exp() + 1)(torch.zeros(8))
    except RuntimeError as error:
        return str(error).strip().splitlines()[0]
    return ""


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

    Its `is_causal` starts at the first key. Where the others end at the
    last it needs a mask, and one query, which sees all, needs none.
    """
    check_heads(query, key, value)
    square = query.shape[-2] == key.shape[-2]
    mask = None
    if causal and not square and query.shape[-2] > 1:
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
