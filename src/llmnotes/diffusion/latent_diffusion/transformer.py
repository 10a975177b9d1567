"""How a picture reads a text: a transformer between two convolutions.

    places       = pixels of the latents as tokens, (batch, length, d_model)
    context      = tokens of the caption, as a text encoder wrote them
    GEGLU        = a half of the neurons, opened or shut by the other half
    inner        = 4 · d_model, width between the two matrices

Names of attributes are those of diffusers' `Transformer2DModel`.

Sources
- Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion
  Models", arXiv 2112.10752, §3.3 and appendix E.2.1.
- Shazeer 2020, "GLU Variants Improve Transformer", arXiv 2002.05202, §2.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.diffusion.latent_diffusion.blocks import (
    EPS,
    Attention,
    as_picture,
    as_tokens,
)
from llmnotes.diffusion.latent_diffusion.config import UNetConfig


class GEGLU(nn.Module):
    """xW ∘ gelu(xV), W and V in one matrix.

    Source: Shazeer 2020, §2.
    """

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> Float[Tensor, "batch length inner"]:
        """The exact gelu, on the second half."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Each place on its own: wider by four, gated, and back."""

    def __init__(self, width: int):
        super().__init__()
        inner = 4 * width
        unused = nn.Identity()  # their dropout, which is 0
        last = nn.Linear(inner, width)
        self.net = nn.Sequential(GEGLU(width, inner), unused, last)

    def forward(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> Float[Tensor, "batch length d_model"]:
        """One after the other."""
        return self.net(x)


class TransformerBlock(nn.Module):
    """Places read each other, then the context, then think it over.

    Source: Rombach et al. 2022, appendix E.2.1.
    """

    def __init__(self, width: int, config: UNetConfig):
        super().__init__()
        heads, context = config.attention_head_dim, config.cross_attention_dim
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn1 = Attention(width, heads, width)
        self.attn2 = Attention(width, heads, context)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        context: Float[Tensor, "batch key context_width"],
    ) -> Float[Tensor, "batch length d_model"]:
        """Three branches, each added to what was there."""
        normed = self.norm1(x)
        x = x + self.attn1(normed, normed)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class Transformer2D(nn.Module):
    """A picture, and what a transformer over its places adds to it."""

    def __init__(self, channels: int, config: UNetConfig):
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_num_groups, channels, EPS)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        block = TransformerBlock(channels, config)
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(
        self,
        x: Float[Tensor, "batch channels rows columns"],
        context: Float[Tensor, "batch key context_width"],
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Positions are known from the convolutions around it."""
        places = as_tokens(self.proj_in(self.norm(x)))
        for block in self.transformer_blocks:
            places = block(places, context)
        return x + self.proj_out(as_picture(places, x.shape[-1]))


class NoAttention(nn.Module):
    """Stands where a resolution does not read the context."""

    def __init__(self, channels: int, config: UNetConfig):
        super().__init__()

    def forward(
        self,
        x: Float[Tensor, "batch channels rows columns"],
        context: Float[Tensor, "batch key context_width"],
    ) -> Float[Tensor, "batch channels rows columns"]:
        """The picture as it is."""
        return x
