r"""Llama: GPT-2's block with a norm, an MLP, positions and heads changed.

    vocab_size              = V       hidden_size = d_model
    intermediate_size       = d_ff    num_hidden_layers = L
    num_attention_heads     = h       num_key_value_heads = kv_heads
    max_position_embeddings = the longest input
    rope_theta              = base of RoPE's frequencies
    ids     = tokens as integers, (batch, length)
    mask    = which of past and ids are real; without it, all
    past    = what was read before: `past.length` tokens, whose keys and
              values `past.extend(layer, key, value)` puts in front of new ones
    visible = who may see whom; None: the present and the past
    turn    = turns queries and keys by the angles of their positions

Names of fields and attributes are those of Hugging Face's checkpoints:
`model.layers.0.self_attn.q_proj.weight` and so on.

Sources
- Touvron et al. 2023, "LLaMA", arXiv 2302.13971, §2.2 and table 2.
- Touvron et al. 2023, "Llama 2", arXiv 2307.09288, §2.2 and A.2.1 (GQA).
- Grattafiori et al. 2024, "The Llama 3 Herd of Models", arXiv 2407.21783,
  §3.2 and table 3.
- Ainslie et al. 2023, "GQA", arXiv 2305.13245, §2.2.
- Zhang and Sennrich 2019, "RMSNorm", arXiv 1910.07467, eq. 4.
- Shazeer 2020, "GLU Variants Improve Transformer", arXiv 2002.05202, §2.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_within, checked, seen
from llmnotes.models.llama.config import LlamaConfig
from llmnotes.precision import wide
from llmnotes.transformer.attention import (
    Heads,
    causal_mask,
    merge_heads,
    sliding_window_mask,
    split_heads,
)
from llmnotes.transformer.gpt import initialise
from llmnotes.transformer.gpt.sampling import check_left
from llmnotes.transformer.rope import Rotary, angles_at

Turn = Callable[..., Heads]  # such as `Rotary`


@checked
def rms_norm(
    x: Float[Tensor, "... d_model"], gain: Float[Tensor, "d_model"], eps: float
) -> Float[Tensor, "... d_model"]:
    """X / √(mean(x²) + eps) · gain, row by row; no mean is subtracted.

    The squares are summed in float32 at least: float16 ends at 65,504.

    Source: Zhang & Sennrich 2019, eq. 4.
    """
    row = wide(x)
    size = (row.square().mean(-1, keepdim=True) + eps).rsqrt()
    return gain * (row * size).to(x.dtype)


class RMSNorm(nn.Module):
    """A gain per channel on rows of mean square 1."""

    def __init__(self, width: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(
        self, x: Float[Tensor, "... d_model"]
    ) -> Float[Tensor, "... d_model"]:
        """See `rms_norm`."""
        return rms_norm(x, self.weight, self.eps)


class SwiGLU(nn.Module):
    """(silu(xW_gate) ∘ xW_up) W_down: one product opens or shuts another.

    Source: Shazeer 2020, eq. 6.
    """

    def __init__(self, config: LlamaConfig):
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(
        self, x: Float[Tensor, "... d_model"]
    ) -> Float[Tensor, "... d_model"]:
        """Each position on its own."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Attention(nn.Module):
    """Grouped causal attention: heads/kv_heads queries share each key.

    Source: Ainslie et al. 2023, §2.2.
    """

    def __init__(self, config: LlamaConfig, layer: int):
        super().__init__()
        self.layer = layer  # which part of a past is its own
        self.heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        width, head = config.hidden_size, config.head_dim
        self.q_proj = nn.Linear(width, self.heads * head, bias=False)
        self.k_proj = nn.Linear(width, self.kv_heads * head, bias=False)
        self.v_proj = nn.Linear(width, self.kv_heads * head, bias=False)
        self.o_proj = nn.Linear(self.heads * head, width, bias=False)

    def split(self, x: Float[Tensor, "batch length d_model"]):
        """Return query, key and value, head by head."""
        return (
            split_heads(self.q_proj(x), self.heads),
            split_heads(self.k_proj(x), self.kv_heads),
            split_heads(self.v_proj(x), self.kv_heads),
        )

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        turn: Turn,
        visible: Bool[Tensor, "... length key"] | None = None,
        past=None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Attend to what is visible, in this input and in the past."""
        query, key, value = turn(*self.split(x))
        if past is not None:
            key, value = past.extend(self.layer, key, value)
        out = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=visible,
            is_causal=visible is None and x.shape[1] > 1,
            enable_gqa=self.kv_heads < self.heads,
        )
        return self.o_proj(merge_heads(out))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): GPT-2's order.

    A variant is a subclass with another norm, attention or feed_forward.
    """

    norm, attention, feed_forward = RMSNorm, Attention, SwiGLU

    def __init__(self, config: LlamaConfig, layer: int):
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        self.input_layernorm = self.norm(width, eps)
        self.self_attn = self.attention(config, layer)
        self.post_attention_layernorm = self.norm(width, eps)
        self.mlp = self.feed_forward(config)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        turn: Turn,
        visible: Bool[Tensor, "... length key"] | None = None,
        past=None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Read the residual stream twice, add to it twice."""
        normed = self.input_layernorm(x)
        x = x + self.self_attn(normed, turn, visible, past)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    """Embeddings without positions, L blocks, a norm, and a head.

    `model(ids)` are the logits of every next token. A tied head is the
    embedding again and has no entry of its own in the state dict, as in the
    files.

    With a `mask`, padding stands on the left, positions count real tokens
    only, and padding is seen by nobody but itself: a padded row has the
    logits that it has alone. With a `past`, the mask covers past and new
    tokens.

    Raises `ValueError` for ids that are not integers (batch, length) below
    vocab_size, for more tokens than max_position_embeddings, and for a mask
    of another length or with padding elsewhere.

    Source: Touvron et al. 2023.
    """

    block = Block

    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.config = config
        vocab, width = config.vocab_size, config.hidden_size
        layers = range(config.num_hidden_layers)
        self.model = nn.ModuleDict(
            {
                "embed_tokens": nn.Embedding(vocab, width),
                "layers": nn.ModuleList(self.block(config, i) for i in layers),
                "norm": self.block.norm(width, config.rms_norm_eps),
            }
        )
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(width, vocab, bias=False)
        initialise(self, residuals=1)

    @property
    def n_positions(self) -> int:
        """The longest input."""
        return self.config.max_position_embeddings

    def head(self) -> Float[Tensor, "vocab d_model"]:
        """One row per token, to be compared with the last state."""
        if self.config.tie_word_embeddings:
            return self.model.embed_tokens.weight
        return self.lm_head.weight

    @checked
    def forward(
        self,
        ids: Int[Tensor, "batch length"],
        mask: Bool[Tensor, "batch total"] | None = None,
        past=None,
    ) -> Float[Tensor, "batch length vocab"]:
        """Return logits; those at position t see tokens 0..t only."""
        check_within(0, self.config.vocab_size - 1, ids=ids)
        total = ids.shape[1] + (0 if past is None else past.length)
        check_total(total, self.n_positions, mask)
        x = self.model.embed_tokens(ids)
        turn = self.turn(places(ids, total, mask), x.dtype)
        visible = self.visible(ids.shape[1], total, mask, ids.device)
        return self.through(x, turn, visible, past)

    def through(
        self,
        x: Float[Tensor, "batch length d_model"],
        turn: Turn,
        visible: Bool[Tensor, "... length key"] | None = None,
        past=None,
    ) -> Float[Tensor, "batch length vocab"]:
        """Logits of what was embedded: all blocks, the norm, the head."""
        for block in self.model.layers:
            x = block(x, turn, visible, past)
        return F.linear(self.model.norm(x), self.head())

    def turn(
        self, positions: Int[Tensor, "... length"], dtype: torch.dtype
    ) -> Turn:
        """RoPE at these positions, in float32 at least."""
        finest = torch.promote_types(dtype, torch.float32)
        return Rotary(angles_at(positions, self.config.frequencies(), finest))

    def visible(
        self,
        query: int,
        key: int,
        mask: Bool[Tensor, "batch key"] | None,
        device: torch.device,
    ) -> Bool[Tensor, "... query key"] | None:
        """Who may see whom; None where that is everything up to oneself.

        Padding sees itself: a row that sees nobody is NaN in some kernels,
        and 0·NaN would reach those who do not look at it.
        """
        back = self.reach(query, key, device)
        if mask is None:
            return back
        if back is None:
            back = causal_mask(query, key, device)
        itself = sliding_window_mask(query, key, 1, device)
        return ((back & mask[:, None]) | itself)[:, None]

    def reach(
        self, query: int, key: int, device: torch.device
    ) -> Bool[Tensor, "query key"] | None:
        """How far back the last `query` of `key` tokens may look.

        None where SDPA needs no mask: all tokens, or the newest one only.
        """
        if query in (1, key):
            return None
        return causal_mask(query, key, device)


def check_total(total: int, longest: int, mask: Tensor | None) -> None:
    """Raise `ValueError` unless past and new tokens fit model and mask."""
    if total > longest:
        raise ValueError(
            f"ids: got {total} tokens with the past, expected at most "
            f"max_position_embeddings = {longest}"
        )
    if mask is None:
        return
    if mask.shape[1] != total:
        raise ValueError(
            f"mask: got length {mask.shape[1]}, expected {total}: the past "
            "and the new tokens"
        )
    if seen(mask):
        check_left(mask[mask.any(-1)])  # a row may still be all padding


def places(
    ids: Int[Tensor, "batch length"],
    total: int,
    mask: Bool[Tensor, "batch total"] | None,
) -> Int[Tensor, "... length"]:
    """Where each new token stands, counted over real tokens."""
    length = ids.shape[1]
    if mask is None:
        return torch.arange(total - length, total, device=ids.device)
    return (mask.cumsum(1) - 1).clamp(min=0)[:, total - length :]
