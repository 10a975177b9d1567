r"""The Transformer of 2017: an encoder reads, a decoder writes what it read.

    source         = token ids of the text to read
    target_in      = START and the text to write, as far as it is known
    vocab_size     = V, one vocabulary for both
    d_model, heads = d_model, h
    layers         = N, in the encoder and again in the decoder
    d_ff           = d_ff, inner width of the feed-forward network
    dropout        = P_drop
    memory         = what the encoder hands to the decoder

Names of the layers' attributes follow `nn.Transformer`: `self_attn`,
`multihead_attn` (the cross-attention), `linear1`, `linear2`, `norm1` ….

Sources
- Vaswani et al. 2017, "Attention Is All You Need", arXiv 1706.03762, §3-§5.
- Press and Wolf 2016, "Using the Output Embedding to Improve Language
  Models", arXiv 1608.05859 (weight tying).
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_divides, check_within, checked
from llmnotes.lengths import Lengths, read_lengths
from llmnotes.transformer.attention import MultiHeadAttention, padding_mask
from llmnotes.transformer.positions import add_positions, sinusoidal


@dataclass(frozen=True)
class TransformerConfig:
    """The shape of a Transformer; the defaults are the paper's base model.

    `attention_bias` adds biases to the four projections of each attention,
    which the paper's formula does not have and PyTorch has.

    Raises `ValueError` naming the field that cannot be.
    """

    vocab_size: int = 37000
    d_model: int = 512
    heads: int = 8
    layers: int = 6
    d_ff: int = 2048
    dropout: float = 0.1
    attention_bias: bool = False

    def __post_init__(self):
        for field in fields(self)[:5]:
            got = getattr(self, field.name)
            if not isinstance(got, int) or got < 1:
                raise ValueError(
                    f"{field.name}: got {got}, expected an integer above 0"
                )
        if self.d_model % 2:
            raise ValueError(
                f"d_model: got {self.d_model}, expected an even number: "
                "positions come as pairs of sine and cosine"
            )
        check_divides("d_model", self.d_model, heads=self.heads)
        if not 0 <= self.dropout < 1:
            raise ValueError(
                f"dropout: got {self.dropout}, expected 0 <= dropout < 1"
            )


BASE = TransformerConfig()
BIG = TransformerConfig(d_model=1024, heads=16, d_ff=4096, dropout=0.3)


def attention_of(config: TransformerConfig) -> MultiHeadAttention:
    """One multi-head attention of the configured shape."""
    bias = config.attention_bias
    return MultiHeadAttention(config.d_model, config.heads, bias=bias)


class Layer(nn.Module):
    """What both kinds of layer have: a feed-forward network, and dropout."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.linear1 = nn.Linear(config.d_model, config.d_ff)
        self.linear2 = nn.Linear(config.d_ff, config.d_model)
        self.dropout = nn.Dropout(config.dropout)  # on a sublayer's output

    def feed_forward(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> Float[Tensor, "batch length d_model"]:
        """max(0, xW₁ + b₁)W₂ + b₂, each position on its own.

        Source: Vaswani et al. 2017, eq. 2.
        """
        return self.linear2(self.linear1(x).relu())


class EncoderLayer(Layer):
    """norm(x + sublayer(x)) for self-attention, then for feed-forward.

    Source: Vaswani et al. 2017.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        self.self_attn = attention_of(config)
        self.norm1 = nn.LayerNorm(config.d_model)
        self.norm2 = nn.LayerNorm(config.d_model)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        mask: Bool[Tensor, "batch 1 1 length"] | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Look at the whole source; `mask` hides its padding."""
        x = self.norm1(x + self.dropout(self.self_attn(x, mask=mask)))
        return self.norm2(x + self.dropout(self.feed_forward(x)))


class DecoderLayer(Layer):
    """As the encoder's, with attention to the memory in between.

    Source: Vaswani et al. 2017.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        self.self_attn = attention_of(config)
        self.multihead_attn = attention_of(config)
        self.norm1 = nn.LayerNorm(config.d_model)
        self.norm2 = nn.LayerNorm(config.d_model)
        self.norm3 = nn.LayerNorm(config.d_model)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        memory: Float[Tensor, "batch source d_model"],
        mask: Bool[Tensor, "batch 1 1 source"] | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Look back, look at the memory, think; `mask` hides its padding."""
        x = self.norm1(x + self.dropout(self.self_attn(x, causal=True)))
        read = self.multihead_attn(x, memory, mask=mask)
        x = self.norm2(x + self.dropout(read))
        return self.norm3(x + self.dropout(self.feed_forward(x)))


class Stack(nn.Module):
    """Layers one after the other, and whatever comes after the last."""

    def __init__(self, layers: list[nn.Module], norm: nn.Module):
        super().__init__()
        self.layers, self.norm = nn.ModuleList(layers), norm

    def forward(
        self, x: Float[Tensor, "batch length d_model"], *context: Tensor | None
    ) -> Float[Tensor, "batch length d_model"]:
        """Pass x through; every layer gets the same `context`."""
        for layer in self.layers:
            x = layer(x, *context)
        return self.norm(x)


class Memory(NamedTuple):
    """What the encoder leaves for the decoder."""

    values: Tensor  # (batch, source, d_model)
    mask: Tensor | None  # (batch, 1, 1, source), False at padding


class Transformer(nn.Module):
    """Encoder and decoder; one matrix embeds both texts and predicts.

    `model(source, target_in, source_lengths)` are the logits of the token
    after each of target_in's. Padding stands at the end of a row. The
    source's is hidden by its lengths; the target's needs no mask, because
    nobody looks forward, but the loss must leave it out.

    Raises `ValueError` for ids that are no batch of numbers below vocab_size,
    batches that differ, and lengths outside the source.

    Source: Vaswani et al. 2017; Press & Wolf 2016.
    """

    encoder_layer, decoder_layer = EncoderLayer, DecoderLayer

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.dropout = nn.Dropout(config.dropout)  # on embedding + position
        self.encoder = self.stack(self.encoder_layer)
        self.decoder = self.stack(self.decoder_layer)
        initialise(self)

    def stack(self, layer: type[Layer]) -> Stack:
        """N layers, and what comes after the last."""
        layers = [layer(self.config) for _ in range(self.config.layers)]
        return Stack(layers, self.last_norm())

    def last_norm(self) -> nn.Module:
        """Nothing to do: a post-norm layer ends in a norm."""
        return nn.Identity()

    def embed(
        self, ids: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length d_model"]:
        """Embedding·√d_model + position, then dropout.

        Source: Vaswani et al. 2017, §3.4, §5.4.
        """
        x = self.embedding(ids)
        encoding = sinusoidal(*x.shape[1:], dtype=x.dtype).to(x.device)
        return self.dropout(add_positions(x, encoding))

    @checked
    def encode(
        self,
        source: Int[Tensor, "batch source"],
        source_lengths: Lengths | None = None,
    ) -> Memory:
        """Read the source, all positions at once."""
        check_within(0, self.config.vocab_size - 1, source=source)
        mask = None
        if source_lengths is not None:
            lengths = read_lengths(
                source=source, source_lengths=source_lengths
            )
            mask = padding_mask(lengths, source.shape[1])
        return Memory(self.encoder(self.embed(source), mask), mask)

    @checked
    def decode(
        self, target_in: Int[Tensor, "batch length"], memory: Memory
    ) -> Float[Tensor, "batch length vocab"]:
        """Logits; those at position t see target_in's ids 0..t only."""
        check_within(0, self.config.vocab_size - 1, target_in=target_in)
        if len(target_in) != len(memory.values):
            raise ValueError(
                f"target_in: got batch {len(target_in)}, expected memory's "
                f"{len(memory.values)}"
            )
        x = self.decoder(self.embed(target_in), *memory)
        return F.linear(x, self.embedding.weight)

    @checked
    def forward(
        self,
        source: Int[Tensor, "batch source"],
        target_in: Int[Tensor, "batch length"],
        source_lengths: Lengths | None = None,
    ) -> Float[Tensor, "batch length vocab"]:
        """Logits at every position of a target that is given."""
        return self.decode(target_in, self.encode(source, source_lengths))


def initialise(model: Transformer) -> None:
    """Xavier's uniform for matrices, N(0, 1/d_model) for the embedding.

    The paper does not say. Times √d_model the embedding's entries then have
    variance 1, and so have the logits of a normalised x.
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    nn.init.normal_(model.embedding.weight, std=model.config.d_model**-0.5)
