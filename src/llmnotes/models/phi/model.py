"""Phi: attention and MLP side by side, and heads that are turned in part.

    hidden_size = d_model     intermediate_size = d_ff
    rotary_dim  = r, the first numbers of each head; the rest has no position
    turn        = turns queries and keys by the angles of their positions
    visible     = who may see whom; None: the present and the past
    past        = what was read before, as for Llama

What is not said here is Llama's: the embedding, grouped heads, masks, the
past. Names of attributes are those of Hugging Face's `PhiForCausalLM`, but
for two that are Llama's: `o_proj` is their `dense`, `norm` their
`final_layernorm`.

Sources
- Gunasekar et al. 2023, "Textbooks Are All You Need", arXiv 2306.11644, §2.3.
- Wang and Komatsuzaki 2021, "GPT-J-6B" (the parallel block).
- Black et al. 2022, "GPT-NeoX-20B", arXiv 2204.06745, §2.1 (both changes).
- Chowdhery et al. 2022, "PaLM", arXiv 2204.02311, §2 (parallel layers).
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes.checks import checked
from llmnotes.models.llama import Attention, Llama
from llmnotes.models.llama.model import Turn
from llmnotes.models.phi.config import PhiConfig
from llmnotes.transformer.attention import Heads
from llmnotes.transformer.gpt import gelu
from llmnotes.transformer.rope import Rotary, rotate_partial


class PartlyRotary(Rotary):
    """Turns the first 2·half numbers of queries and keys, and no others."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Heads:
        """Return query and key turned in part, and the value."""
        turned = (rotate_partial(x, self.angles) for x in (query, key))
        return *turned, value


class PartlyTurned(Llama):
    """A Llama whose heads keep some numbers that know no position."""

    def turn(
        self, positions: Int[Tensor, "... length"], dtype: torch.dtype
    ) -> Turn:
        """RoPE at these positions, for the first rotary_dim numbers."""
        return PartlyRotary(super().turn(positions, dtype).angles)


class BiasedAttention(Attention):
    """Llama's attention; each of the four products adds a bias."""

    def __init__(self, config: PhiConfig, layer: int):
        super().__init__(config, layer)
        for part in self.children():
            part.bias = nn.Parameter(torch.zeros(part.out_features))


class MLP(nn.Module):
    """GPT-2's: gelu(xW + b)W' + b', with its approximation of the GELU."""

    def __init__(self, config: PhiConfig):
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(
        self, x: Float[Tensor, "... d_model"]
    ) -> Float[Tensor, "... d_model"]:
        """Each position on its own."""
        return self.fc2(gelu(self.fc1(x)))


class ParallelBlock(nn.Module):
    """x + attention(norm(x)) + mlp(norm(x)), with one norm for both.

    Source: Wang & Komatsuzaki 2021.
    """

    norm, attention, feed_forward = nn.LayerNorm, BiasedAttention, MLP

    def __init__(self, config: PhiConfig, layer: int):
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        self.input_layernorm = self.norm(width, eps)
        self.self_attn = self.attention(config, layer)
        self.mlp = self.feed_forward(config)
        self.drop = nn.Dropout(config.resid_pdrop)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        turn: Turn,
        visible: Bool[Tensor, "... length key"] | None = None,
        past=None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Read the residual stream once, add to it once."""
        normed = self.input_layernorm(x)
        attended = self.self_attn(normed, turn, visible, past)
        return x + self.drop(attended) + self.drop(self.mlp(normed))


class Phi(PartlyTurned):
    """phi-1, 1.5 and 2: a Llama of parallel blocks, with a biased head.

    Arguments, result and errors are those of `Llama`.

    Source: Gunasekar et al. 2023, §2.3.
    """

    block = ParallelBlock

    def __init__(self, config: PhiConfig):
        super().__init__(config)
        self.lm_head.bias = nn.Parameter(torch.zeros(config.vocab_size))

    @checked
    def forward(
        self,
        ids: Int[Tensor, "batch length"],
        mask: Bool[Tensor, "batch total"] | None = None,
        past=None,
    ) -> Float[Tensor, "batch length vocab"]:
        """Return logits; those at position t see tokens 0..t only."""
        return super().forward(ids, mask, past) + self.lm_head.bias
