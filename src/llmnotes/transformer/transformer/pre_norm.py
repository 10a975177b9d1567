r"""Pre-norm: the Transformer with its norms moved to where sublayers read.

    x = the residual stream: what layers read from and add to

Names and parameters are those of the post-norm layers, and the encoder and
the decoder each get one norm more, at their end: `norm`.

Source
- Xiong et al. 2020, "On Layer Normalization in the Transformer
  Architecture", arXiv 2002.04745.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from llmnotes.transformer.transformer.model import (
    DecoderLayer,
    EncoderLayer,
    Transformer,
)


class PreNormEncoderLayer(EncoderLayer):
    """x + sublayer(norm(x)): nothing stands between x and the end."""

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        mask: Bool[Tensor, "batch 1 1 length"] | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Normalise what a sublayer reads, not the sum."""
        x = x + self.dropout(self.self_attn(self.norm1(x), mask=mask))
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class PreNormDecoderLayer(DecoderLayer):
    """The decoder's three sublayers, each reading a normalised x."""

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        memory: Float[Tensor, "batch source d_model"],
        mask: Bool[Tensor, "batch 1 1 source"] | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Normalise x; the memory has been normalised by the encoder."""
        x = x + self.dropout(self.self_attn(self.norm1(x), causal=True))
        read = self.multihead_attn(self.norm2(x), memory, mask=mask)
        x = x + self.dropout(read)
        return x + self.dropout(self.feed_forward(self.norm3(x)))


class PreNormTransformer(Transformer):
    """Pre-norm layers, whose sums nobody normalises: so a norm at the end."""

    encoder_layer, decoder_layer = PreNormEncoderLayer, PreNormDecoderLayer

    def last_norm(self) -> nn.Module:
        """The norm that pre-norm needs after the last layer."""
        return nn.LayerNorm(self.config.d_model)
