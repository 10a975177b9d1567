r"""The layer that the paper counts: attention with its weights in memory.

    hidden, heads = h, a
    core          = softmax(QKᵀ/√d), dropout, times V: what grows with s²

Sources
- Korthikanti et al. 2022, arXiv 2205.05198, figure 2.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.checks import check_divides, check_sizes
from llmnotes.parallel.gradient_checkpointing.region import checkpoint
from llmnotes.transformer.attention import (
    merge_heads,
    scaled_scores,
    split_heads,
)


class Layer(nn.Module):
    """Pre-norm attention and MLP; keeps all that backward needs.

    Raises `ValueError` for heads that do not divide hidden.
    """

    def __init__(self, hidden: int, heads: int, dropout: float = 0.0):
        super().__init__()
        check_sizes(hidden=hidden, heads=heads)
        check_divides("hidden", hidden, heads=heads)
        self.heads, self.dropout = heads, dropout
        self.norm_1, self.norm_2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.projection = nn.Linear(hidden, hidden)
        self.up = nn.Linear(hidden, 4 * hidden)
        self.down = nn.Linear(4 * hidden, hidden)

    def drop(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Dropout while training."""
        return F.dropout(x, self.dropout, self.training)

    def core(
        self,
        query: Float[Tensor, "batch heads length head_dim"],
        key: Float[Tensor, "batch heads length head_dim"],
        value: Float[Tensor, "batch heads length head_dim"],
    ) -> Float[Tensor, "batch heads length head_dim"]:
        """The part that grows with the square of the length."""
        weights = scaled_scores(query, key).softmax(-1)
        return self.drop(weights) @ value

    def attend(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> Float[Tensor, "batch length d_model"]:
        """Attention of all heads, projected."""
        parts = self.qkv(x).chunk(3, dim=-1)
        heads = [split_heads(part, self.heads) for part in parts]
        return self.projection(merge_heads(self.core(*heads)))

    def forward(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> Float[Tensor, "batch length d_model"]:
        """Add attention to x, then the MLP."""
        x = x + self.drop(self.attend(self.norm_1(x)))
        return x + self.drop(self.down(F.gelu(self.up(self.norm_2(x)))))


class Selective(Layer):
    """Recomputes the core: few FLOPs, most of the memory."""

    def core(
        self,
        query: Float[Tensor, "batch heads length head_dim"],
        key: Float[Tensor, "batch heads length head_dim"],
        value: Float[Tensor, "batch heads length head_dim"],
    ) -> Float[Tensor, "batch heads length head_dim"]:
        """The same as one region."""
        return checkpoint(super().core, query, key, value)


class Full(Layer):
    """Recomputes everything: its input is all that it keeps."""

    def forward(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> Float[Tensor, "batch length d_model"]:
        """The same as one region."""
        return checkpoint(super().forward, x)
