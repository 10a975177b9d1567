"""A better recipe for the same number of parameters.

    mix    = λ, how much of the row before joins a row, per channel
    bigram = log-chances of pairs, counted before training, then trained
    turn   = angles of RoPE

A block reads RMSNorm(x) plus λ times that of the position before (token
shift), normalises and rotates queries and keys, and bends with ReLU². Layers
that write to the residual stream start at zero, and so does the head: the
untrained model is exactly the bigram model.

Sources
- Peng et al. 2023, "RWKV", arXiv 2305.13048, §3 (token shift); So et al.
  2021, "Primer", arXiv 2109.08668 (squared ReLU, short convolutions).
- Henry et al. 2020, "Query-Key Normalization for Transformers", arXiv
  2010.04245.
- Zhang et al. 2019, "Fixup Initialization", arXiv 1901.09321 (residual
  branches that start at zero).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_length, check_within, checked
from llmnotes.transformer.attention import Heads, merge_heads, split_heads
from llmnotes.transformer.gpt.bigram import log_chances, pair_counts
from llmnotes.transformer.rope import Rotary, angles

EPS = 1e-6  # in every RMSNorm


@dataclass(frozen=True)
class RecipeConfig:
    """A shape that stays within the parameters of MINIGPT: see n_inner."""

    vocab_size: int = 65
    n_positions: int = 32
    n_embd: int = 128
    n_layer: int = 4
    n_head: int = 4
    n_inner: int = 508  # four less than 4·n_embd pay for the pair table


def shifted_norm(
    x: Float[Tensor, "batch length d_model"], mix: Float[Tensor, "d_model"]
) -> Float[Tensor, "batch length d_model"]:
    """RMSNorm(x), plus mix times that of the position before."""
    n = F.rms_norm(x, x.shape[-1:], eps=EPS)
    return n + mix * F.pad(n, (0, 0, 1, 0))[:, :-1]


def unit_heads(query: Tensor, key: Tensor, value: Tensor) -> Heads:
    """QK-norm: queries and keys of length √head_dim, the value as it is."""
    query, key = (F.rms_norm(x, x.shape[-1:], eps=EPS) for x in (query, key))
    return query, key, value


class RecipeBlock(nn.Module):
    """Attention and MLP, each reading the stream and the step before it."""

    unit = True  # queries and keys of length √head_dim

    def __init__(self, config: RecipeConfig):
        super().__init__()
        width = config.n_embd
        self.heads = config.n_head
        self.mix_1 = nn.Parameter(torch.zeros(width))
        self.mix_2 = nn.Parameter(torch.zeros(width))
        self.c_attn = nn.Linear(width, 3 * width, bias=False)
        self.c_proj = nn.Linear(width, width, bias=False)
        self.c_fc = nn.Linear(width, config.n_inner, bias=False)
        self.c_out = nn.Linear(config.n_inner, width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        turn: Float[Tensor, "length half"],
    ) -> Float[Tensor, "batch length d_model"]:
        """Read the residual stream twice, add to it twice."""
        x = x + self.c_proj(self.attend(shifted_norm(x, self.mix_1), turn))
        return x + self.c_out(
            self.bend(self.c_fc(shifted_norm(x, self.mix_2)))
        )

    def attend(
        self,
        x: Float[Tensor, "batch length d_model"],
        turn: Float[Tensor, "length half"],
    ) -> Float[Tensor, "batch length d_model"]:
        """Causal attention with QK-norm and RoPE."""
        parts = self.c_attn(x).chunk(3, dim=-1)
        heads = [split_heads(part, self.heads) for part in parts]
        if self.unit:
            heads = unit_heads(*heads)
        heads = Rotary(turn)(*heads)
        out = F.scaled_dot_product_attention(*heads, is_causal=True)
        return merge_heads(out)

    def bend(self, h: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """ReLU²."""
        return F.relu(h).square()


class Recipe(nn.Module):
    """The model of the recipe; `train_ids` are counted for its pair table."""

    block = RecipeBlock

    def __init__(self, config: RecipeConfig, train_ids: Int[Tensor, "tokens"]):
        super().__init__()
        self.config, self.n_positions = config, config.n_positions
        vocab, width = config.vocab_size, config.n_embd
        pairs = log_chances(pair_counts(train_ids, vocab), add=0.1).float()
        self.bigram = nn.Embedding.from_pretrained(pairs, freeze=False)
        self.wte = nn.Embedding(vocab, width)
        self.h = nn.ModuleList(
            self.block(config) for _ in range(config.n_layer)
        )
        self.lm_head = nn.Linear(width, vocab, bias=False)
        self.initialise()

    def initialise(self) -> None:
        """What reads starts at half of 1/√inputs, what writes at zero."""
        for name, p in self.h.named_parameters():
            if name.endswith(("c_attn.weight", "c_fc.weight")):
                nn.init.normal_(p, std=0.5 * p.shape[1] ** -0.5)
            elif name.endswith(("c_proj.weight", "c_out.weight")):
                nn.init.zeros_(p)
        nn.init.zeros_(self.lm_head.weight)

    def turn(self, ids: Tensor) -> Float[Tensor, "length half"]:
        """Angles of RoPE."""
        head_dim = self.config.n_embd // self.config.n_head
        return angles(torch.arange(ids.shape[1], device=ids.device), head_dim)

    @checked
    def forward(
        self, ids: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length vocab"]:
        """Return logits: what the pairs say, plus what the blocks add."""
        check_length("n_positions", self.n_positions, ids=ids)
        check_within(0, self.config.vocab_size - 1, ids=ids)
        width = (self.config.n_embd,)
        x, turn = F.rms_norm(self.wte(ids), width, eps=EPS), self.turn(ids)
        for block in self.h:
            x = block(x, turn)
        x = F.rms_norm(x, width, eps=EPS)
        return self.bigram(ids) + self.lm_head(x)
