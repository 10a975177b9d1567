r"""An encoder that reads a text in both directions at once: BERT.

    vocab_size  = V        hidden_size = H = d_model
    num_hidden_layers = L  num_attention_heads = A
    intermediate_size = width of the feed-forward layer, 4H
    ids    = tokens as integers, (batch, length)
    mask   = which of them are real; the others are padding, seen by nobody
    types  = 0 for a token of the first text, 1 for one of the second

Names of attributes follow BERT's checkpoints, as Hugging Face writes them:
`encoder.layer.0.attention.self.query.weight` and so on.

Sources
- Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers
  for Language Understanding", arXiv 1810.04805, §3 and appendix A.
- Vaswani et al. 2017, "Attention Is All You Need", arXiv 1706.03762, §3.1
  (the encoder, and the norm after the sum).
- Hendrycks and Gimpel 2016, "GELU", arXiv 1606.08415.
"""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes.checks import (
    check_divides,
    check_length,
    check_within,
    checked,
)
from llmnotes.transformer.attention import (
    attention,
    attention_weights,
    merge_heads,
    split_heads,
)


@dataclass(frozen=True)
class BertConfig:
    """The shape of a BERT, under the names of Hugging Face's config.

    Raises `ValueError` naming the field that cannot be.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_dropout_prob: float = 0.1  # on embeddings and each sublayer
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02

    def __post_init__(self):
        for field in fields(self)[:7]:
            got = getattr(self, field.name)
            if not isinstance(got, int) or got < 1:
                raise ValueError(
                    f"{field.name}: got {got}, expected an integer above 0"
                )
        heads = self.num_attention_heads
        check_divides(
            "hidden_size", self.hidden_size, num_attention_heads=heads
        )
        if not 0 <= self.hidden_dropout_prob < 1:
            raise ValueError(
                f"hidden_dropout_prob: got {self.hidden_dropout_prob}, "
                "expected 0 <= hidden_dropout_prob < 1"
            )


BERT_BASE = BertConfig()
BERT_LARGE = BertConfig(
    hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
    intermediate_size=4096,
)  # fmt: skip
MINILM_L6 = BertConfig(
    hidden_size=384, num_hidden_layers=6, intermediate_size=1536
)


class Embeddings(nn.Module):
    """What a token is, where it stands and whose it is: a sum, normalised."""

    def __init__(self, config: BertConfig):
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width)
        self.position_embeddings = nn.Embedding(
            config.max_position_embeddings, width
        )
        self.token_type_embeddings = nn.Embedding(
            config.type_vocab_size, width
        )
        self.LayerNorm = nn.LayerNorm(width, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        ids: Int[Tensor, "batch length"],
        types: Int[Tensor, "batch length"],
    ) -> Float[Tensor, "batch length d_model"]:
        """Return norm(word + position + type)."""
        position = torch.arange(ids.shape[1], device=ids.device)
        x = self.word_embeddings(ids) + self.position_embeddings(position)
        x = x + self.token_type_embeddings(types)
        return self.dropout(self.LayerNorm(x))


class SelfAttention(nn.Module):
    """All heads' queries, keys and values; the output matrix comes after."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.heads, width = config.num_attention_heads, config.hidden_size
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def split(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> list[Float[Tensor, "batch heads length head_dim"]]:
        """Return query, key and value, head by head."""
        projections = self.query, self.key, self.value
        return [split_heads(p(x), self.heads) for p in projections]

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        visible: Bool[Tensor, "#batch 1 #query key"] | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Attend to every visible token, before and after."""
        return merge_heads(attention(*self.split(x), mask=visible))

    def weights(
        self,
        x: Float[Tensor, "batch length d_model"],
        visible: Bool[Tensor, "#batch 1 #query key"] | None = None,
    ) -> Float[Tensor, "batch heads length length"]:
        """Who looks at whom: the weights `forward` does not hand out."""
        query, key, _ = self.split(x)
        return attention_weights(query, key, mask=visible)


class AddNorm(nn.Module):
    """norm(residual + xW + b): the end of each of a layer's two halves."""

    def __init__(self, inputs: int, config: BertConfig):
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(
            config.hidden_size, config.layer_norm_eps
        )
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        x: Float[Tensor, "batch length input"],
        residual: Float[Tensor, "batch length d_model"],
    ) -> Float[Tensor, "batch length d_model"]:
        """Normalise the sum: post-norm, as in 2017 (Vaswani et al. 2017)."""
        return self.LayerNorm(residual + self.dropout(self.dense(x)))


class Layer(nn.Module):
    """Attention, then a small network at each position; each is added."""

    def __init__(self, config: BertConfig):
        super().__init__()
        width, wide = config.hidden_size, config.intermediate_size
        self.attention = nn.ModuleDict(
            {"self": SelfAttention(config), "output": AddNorm(width, config)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, wide)})
        self.output = AddNorm(wide, config)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        visible: Bool[Tensor, "#batch 1 #query key"] | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        """GELU is the exact one, x·Φ(x), not GPT-2's tanh.

        Source: Hendrycks & Gimpel 2016.
        """
        x = self.attention["output"](self.attention["self"](x, visible), x)
        return self.output(F.gelu(self.intermediate["dense"](x)), x)


class Bert(nn.Module):
    """Embeddings and L layers: a vector for each token, in its context.

    `model(ids, mask, types)` is the last layer's output. `mask` is True
    where a token is real; without it, all are. `types` are zeros by default.

    Raises `ValueError` for ids, mask or types that do not fit.

    Source: Devlin et al. 2018.
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = config
        layers = (Layer(config) for _ in range(config.num_hidden_layers))
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})
        initialise(self, config)

    def visible(
        self,
        ids: Int[Tensor, "batch length"],
        mask: Bool[Tensor, "batch length"] | None,
    ) -> Bool[Tensor, "#batch 1 #query key"] | None:
        """Who may see whom: everybody sees every real token."""
        if mask is None:
            return None
        return rearrange(mask, "batch key -> batch 1 1 key")

    @checked
    def hidden_states(
        self,
        ids: Int[Tensor, "batch length"],
        mask: Bool[Tensor, "batch length"] | None = None,
        types: Int[Tensor, "batch length"] | None = None,
    ) -> list[Float[Tensor, "batch length d_model"]]:
        """Return the embeddings' output and that of each layer, L + 1."""
        longest = self.config.max_position_embeddings
        check_length("max_position_embeddings", longest, ids=ids)
        check_within(0, self.config.vocab_size - 1, ids=ids)
        types = torch.zeros_like(ids) if types is None else types
        check_within(0, self.config.type_vocab_size - 1, types=types)
        visible = self.visible(ids, mask)
        states = [self.embeddings(ids, types)]
        for layer in self.encoder["layer"]:
            states.append(layer(states[-1], visible))
        return states

    def forward(
        self, ids: Tensor, mask: Tensor | None = None, types=None
    ) -> Float[Tensor, "batch length d_model"]:
        """Return the last of the hidden states."""
        return self.hidden_states(ids, mask, types)[-1]


class BertModel(Bert):
    """BERT with its pooler: what the published parameter counts count."""

    def __init__(self, config: BertConfig):
        super().__init__(config)
        width = config.hidden_size
        self.pooler = nn.ModuleDict({"dense": nn.Linear(width, width)})
        initialise(self.pooler, config)

    def pool(
        self, hidden: Float[Tensor, "batch length d_model"]
    ) -> Float[Tensor, "batch d_model"]:
        """Return tanh(xW + b) of the first token, [CLS]."""
        return self.pooler["dense"](hidden[:, 0]).tanh()


class Predictions(nn.Module):
    """From a hidden state to the score of each token, by the embedding."""

    def __init__(self, config: BertConfig):
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.transform = nn.ModuleDict(
            {
                "dense": nn.Linear(width, width),
                "LayerNorm": nn.LayerNorm(width, eps),
            }
        )
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        embedding: Float[Tensor, "vocab d_model"],
    ) -> Float[Tensor, "batch length vocab"]:
        """Return norm(gelu(xW + b))Eᵀ + bias, E the token embedding."""
        x = F.gelu(self.transform["dense"](x))
        x = self.transform["LayerNorm"](x)
        return F.linear(x, embedding, self.bias)


class BertForMaskedLM(nn.Module):
    """BERT that fills in hidden tokens; logits of every token.

    The decoder's matrix is the token embedding again, so it has no entry of
    its own in the state dict.

    Source: Devlin et al. 2018, §3.1.
    """

    encoder = Bert

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = config
        self.bert = self.encoder(config)
        self.cls = nn.ModuleDict({"predictions": Predictions(config)})
        initialise(self.cls, config)

    def forward(
        self, ids: Tensor, mask: Tensor | None = None, types=None
    ) -> Float[Tensor, "batch length vocab"]:
        """Return the scores of what could stand at each place."""
        embedding = self.bert.embeddings.word_embeddings.weight
        return self.cls["predictions"](self.bert(ids, mask, types), embedding)


def initialise(model: nn.Module, config: BertConfig) -> None:
    """Matrices from N(0, 0.02²), biases 0, norms 1, as in BERT's code."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 1:
            nn.init.ones_(parameter)
        else:
            nn.init.normal_(parameter, std=config.initializer_range)


def count(config: BertConfig) -> dict[str, int]:
    """Parameters by formula, term by term; their sum is `BertModel`'s."""
    width, wide = config.hidden_size, config.intermediate_size
    tables = (
        config.vocab_size
        + config.max_position_embeddings
        + config.type_vocab_size
    )
    norm, square = 2 * width, width * width + width
    layer = 4 * square + 2 * norm + 2 * width * wide + wide + width
    return {
        "embeddings": tables * width + norm,
        "layers": config.num_hidden_layers * layer,
        "pooler": square,
    }
