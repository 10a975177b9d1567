"""Attention and norms of a patch transformer, in their plainest form.

x         = tokens, d_model wide
context   = vectors of the caption's tokens, which every patch may look at
visible   = which of them there are; the rest is padding
shift, scale = β, γ of adaLN

Sources
- Peebles & Xie 2023, "Scalable Diffusion Models with Transformers" (DiT),
  arXiv 2212.09748, §3.2 (adaLN).
- Chen et al. 2023, "PixArt-α", arXiv 2310.00426, §2.3 (cross-attention that
  begins at zero).
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from llmnotes.transformer.attention import merge_heads, split_heads


def normal(x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
    """Layer norm without weights of its own: `about` brings them."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def modulated(
    x: Float[Tensor, "batch patches d_model"],
    shift: Float[Tensor, "batch 1 d_model"],
    scale: Float[Tensor, "batch 1 d_model"],
) -> Float[Tensor, "batch patches d_model"]:
    """adaLN: normalised, stretched and shifted by what `about` says."""
    return normal(x) * (1 + scale) + shift


class SelfAttention(nn.Module):
    """Every patch looks at every patch; nothing is hidden."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        visible: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Mix the tokens of x, those that are visible."""
        parts = self.qkv(x).chunk(3, dim=-1)
        found = attended(*parts, self.heads, visible)
        return self.out(found)


class CrossAttention(nn.Module):
    """Every patch looks at the caption; begins by adding nothing."""

    def __init__(self, width: int, context: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context, 2 * width)
        self.out = zeros(nn.Linear(width, width))

    def forward(
        self,
        x: Float[Tensor, "batch query d_model"],
        context: Float[Tensor, "batch key context"],
        visible: Bool[Tensor, "batch key"] | None = None,
    ) -> Float[Tensor, "batch query d_model"]:
        """Take from the caption what each patch asks for."""
        parts = self.query(x), *self.key_value(context).chunk(2, dim=-1)
        return self.out(attended(*parts, self.heads, visible))


def attended(query, key, value, heads: int, visible: Tensor | None) -> Tensor:
    """Attention in heads, by PyTorch's kernel."""
    split = (split_heads(part, heads) for part in (query, key, value))
    mask = None if visible is None else visible[:, None, None]
    found = F.scaled_dot_product_attention(*split, attn_mask=mask)
    return merge_heads(found)


def zeros(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """A layer that says nothing until it has learned to."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
