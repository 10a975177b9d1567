r"""A decoder that predicts the next token: GPT-2, and GPT-1 as a variant.

    vocab_size  = V        n_embd = d_model = C
    n_positions = T_max, the longest input
    n_layer     = L        n_head = number of heads
    ids         = tokens as integers, (batch, length)
    mask        = which of them are real; without it, all
    visible     = who may see whom; without it, the present and the past
    past        = what was read before: `past.length` tokens, whose keys and
                  values `past.extend(layer, key, value)` puts in front
    logits      = scores of every next token, before the softmax

Names of classes' attributes follow GPT-2's checkpoints, as Hugging Face
writes them: `transformer.h.0.attn.c_attn.weight` and so on.

Sources
- Radford et al. 2018, "Improving Language Understanding by Generative
  Pre-Training" (GPT-1), §3.1 and §4.1.
- Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"
  (GPT-2), §2.3 and table 2.
- Hendrycks and Gimpel 2016, "GELU", arXiv 1606.08415, §2.
- Press and Wolf 2016, "Using the Output Embedding to Improve Language
  Models", arXiv 1608.05859 (weight tying).
"""

import math
from dataclasses import dataclass, fields
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes.checks import (
    check_divides,
    check_length,
    check_within,
    checked,
)
from llmnotes.transformer.attention import (
    attention_weights,
    causal_mask,
    merge_heads,
    sliding_window_mask,
    split_heads,
)
from llmnotes.transformer.gpt.sampling import generate as generate


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT, under the names of Hugging Face's GPT-2 config.

    Raises `ValueError` naming the field that cannot be.
    """

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    dropout: float = 0.0  # on embeddings, weights and each sublayer
    layer_norm_epsilon: float = 1e-5

    def __post_init__(self):
        for field in fields(self)[:5]:
            got = getattr(self, field.name)
            if not isinstance(got, int) or got < 1:
                raise ValueError(
                    f"{field.name}: got {got}, expected an integer above 0"
                )
        check_divides("n_embd", self.n_embd, n_head=self.n_head)
        if not 0 <= self.dropout < 1:
            raise ValueError(
                f"dropout: got {self.dropout}, expected 0 <= dropout < 1"
            )


GPT_1 = GPTConfig(vocab_size=40478, n_positions=512)
GPT_2_SMALL = GPTConfig()
GPT_2_MEDIUM = GPTConfig(n_embd=1024, n_layer=24, n_head=16)
GPT_2_LARGE = GPTConfig(n_embd=1280, n_layer=36, n_head=20)
GPT_2_XL = GPTConfig(n_embd=1600, n_layer=48, n_head=25)
# Characters of tiny Shakespeare: 65 symbols.
MINIGPT = GPTConfig(65, n_positions=32, n_embd=128, n_layer=4, n_head=4)
NANOGPT_CPU = GPTConfig(65, n_positions=64, n_embd=128, n_layer=4, n_head=4)


class Conv1D(nn.Module):
    """y = xW + b with W stored (inputs, outputs), as GPT-2's files have it.

    The name is OpenAI's: a convolution of width 1 is a linear layer. Beware:
    `nn.Linear` stores the transpose, and a square matrix that was not
    transposed loads without complaint.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(
        self, x: Float[Tensor, "batch length input"]
    ) -> Float[Tensor, "batch length output"]:
        """Return xW + b."""
        return F.linear(x, self.weight.T, self.bias)


class Attention(nn.Module):
    """Causal self-attention of all heads; c_attn makes q, k and v at once."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.heads, self.dropout = config.n_head, config.dropout
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)

    def split(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> list[Float[Tensor, "batch heads length head_dim"]]:
        """Return query, key and value, head by head."""
        parts = self.c_attn(x).chunk(3, dim=-1)
        return [split_heads(part, self.heads) for part in parts]

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        visible: Bool[Tensor, "... length total"] | None = None,
        extend=None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Attend to the present and the past."""
        query, key, value = self.split(x)
        if extend is not None:
            key, value = extend(key, value)
        out = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=visible,
            is_causal=visible is None and x.shape[1] > 1,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.c_proj(merge_heads(out))

    def weights(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> Float[Tensor, "batch heads length length"]:
        """Who looks at whom: the weights `forward` does not hand out."""
        query, key, _ = self.split(x)
        return attention_weights(query, key, causal=True)


def gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """½x(1 + tanh(√(2/π)(x + 0.044715x³))), GPT-2's approximation.

    The exact x·Φ(x) differs by at most 4.73e-4, at |x| = 2.70: little, but
    not the function that the published weights were trained with.

    Source: Hendrycks & Gimpel 2016.
    """
    return F.gelu(x, approximate="tanh")


class MLP(nn.Module):
    """Each position on its own: widen fourfold, bend, narrow again."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.c_fc = Conv1D(config.n_embd, 4 * config.n_embd)
        self.c_proj = Conv1D(4 * config.n_embd, config.n_embd)

    def forward(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> Float[Tensor, "batch length d_model"]:
        """Return gelu(xW + b)W' + b'."""
        return self.c_proj(gelu(self.c_fc(x)))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): GPT-2's order.

    Source: Radford et al. 2019.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        width, eps = config.n_embd, config.layer_norm_epsilon
        self.ln_1 = nn.LayerNorm(width, eps)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(width, eps)
        self.mlp = MLP(config)
        self.drop = nn.Dropout(config.dropout)  # on a sublayer's output

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        visible: Bool[Tensor, "... length total"] | None = None,
        extend=None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Read the residual stream twice, add to it twice."""
        x = x + self.drop(self.attn(self.ln_1(x), visible, extend))
        return x + self.drop(self.mlp(self.ln_2(x)))


class PostNormBlock(Block):
    """norm(x + sublayer(x)), twice: GPT-1's order, and that of 2017.

    Source: Radford et al. 2018.
    """

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        visible: Bool[Tensor, "... length total"] | None = None,
        extend=None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Normalise the sum, not the input."""
        x = self.ln_1(x + self.drop(self.attn(x, visible, extend)))
        return self.ln_2(x + self.drop(self.mlp(x)))


class GPT(nn.Module):
    """Token and position embeddings, L blocks, a norm, and a tied head.

    `model(ids)` are the logits of every next token. The head is the token
    embedding again (Press & Wolf 2016), so it has no entry of its own in the
    state dict.

    With a `mask`, positions count real tokens only and padding is seen by
    nobody: a padded row has the logits that it has alone. With a `past`, the
    mask covers past and new tokens.

    Raises `ValueError` for ids that are not integers (batch, length) below
    vocab_size, or that are longer than n_positions with their past.

    Source: Radford et al. 2019.
    """

    block = Block

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(config.vocab_size, config.n_embd),
                "wpe": nn.Embedding(config.n_positions, config.n_embd),
                "drop": nn.Dropout(config.dropout),
                "h": nn.ModuleList(
                    self.block(config) for _ in range(config.n_layer)
                ),
                "ln_f": self.last_norm(),
            }
        )
        initialise(self, residuals=2 * config.n_layer)

    @property
    def n_positions(self) -> int:
        """The longest input."""
        return self.config.n_positions

    def last_norm(self) -> nn.Module:
        """Return the norm between the last block and the head."""
        return nn.LayerNorm(self.config.n_embd, self.config.layer_norm_epsilon)

    @checked
    def forward(
        self,
        ids: Int[Tensor, "batch length"],
        mask: Bool[Tensor, "batch total"] | None = None,
        past=None,
    ) -> Float[Tensor, "batch length vocab"]:
        """Return logits; those at position t see ids 0..t only."""
        before = 0 if past is None else past.length
        check_past(ids, before, self.n_positions)
        check_within(0, self.config.vocab_size - 1, ids=ids)
        model, position, visible = self.transformer, *places(ids, mask, before)
        x = model.drop(model.wte(ids) + model.wpe(position))
        for layer, block in enumerate(model.h):
            extend = None if past is None else partial(past.extend, layer)
            x = block(x, *visible, extend=extend)
        return F.linear(model.ln_f(x), model.wte.weight)


def check_past(ids: Tensor, before: int, longest: int) -> None:
    """Raise `ValueError` unless the past and the new ids fit the model."""
    if not before:
        check_length("n_positions", longest, ids=ids)
    elif before + ids.shape[1] > longest:
        raise ValueError(
            f"ids: got length {ids.shape[1]} behind {before} tokens, expected "
            f"at most n_positions = {longest} in all"
        )


def places(
    ids: Int[Tensor, "batch length"],
    mask: Bool[Tensor, "batch total"] | None,
    before: int = 0,
) -> tuple[Int[Tensor, "... length"], list[Tensor]]:
    """Where each token stands, and who may see whom unless all is real.

    Padding sees itself: a row that sees nobody is NaN in some of PyTorch's
    kernels, and 0·NaN would reach those who do not look at it.
    """
    length, total = ids.shape[1], before + ids.shape[1]
    position = torch.arange(before, total, device=ids.device)
    if mask is None and (not before or length == 1):
        return position, []
    visible = causal_mask(length, total, ids.device)
    if mask is None:
        return position, [visible]
    check_mask(mask, total, before)
    itself = sliding_window_mask(length, total, 1, ids.device)
    visible = (visible & mask[:, None]) | itself
    position = (mask.cumsum(1) - 1).clamp(min=0)[:, before:]
    return position, [visible[:, None]]


def check_mask(mask: Tensor, total: int, before: int) -> None:
    """Raise `ValueError` unless the mask covers the past and the new ids."""
    if mask.shape[1] != total:
        whose = "the past's and ids'" if before else "ids'"
        raise ValueError(
            f"mask: got length {mask.shape[1]}, expected {whose} {total}"
        )


class GPT1(GPT):
    """GPT-1: post-norm blocks, hence no norm before the head.

    Source: Radford et al. 2018.
    """

    block = PostNormBlock

    def last_norm(self) -> nn.Module:
        """Return nothing to do: the last block ends in a norm."""
        return nn.Identity()


def initialise(model: nn.Module, residuals: int) -> None:
    """Matrices from N(0, 0.02²), biases 0, norms 1.

    A layer that adds to the residual stream (`c_proj`) starts smaller by
    1/√residuals, so that the sum of all of them starts at the size of one.

    Source: Radford et al. 2019, §2.3.
    """
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 1:
            nn.init.ones_(parameter)
        elif name.endswith("c_proj.weight"):
            nn.init.normal_(parameter, std=0.02 / math.sqrt(residuals))
        else:
            nn.init.normal_(parameter, std=0.02)


def parameters(model: nn.Module) -> int:
    """Return how many numbers a model learns; a tied head counts once."""
    return sum(parameter.numel() for parameter in model.parameters())
