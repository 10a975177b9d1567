"""Phi-3: Llama's block with its matrices stacked, and a window.

    qkv_proj     = q_proj, k_proj and v_proj, one on top of the other
    gate_up_proj = gate_proj and up_proj, likewise
    window       = how many tokens a token sees, itself among them

Names of attributes are those of Hugging Face's `Phi3ForCausalLM`.

Sources
- Abdin et al. 2024, "Phi-3 Technical Report", arXiv 2404.14219, §2.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from llmnotes.models.llama import Attention, Block
from llmnotes.models.phi.config import Phi3Config
from llmnotes.models.phi.model import PartlyTurned
from llmnotes.transformer.attention import (
    Heads,
    sliding_window_mask,
    split_heads,
)


class FusedAttention(Attention):
    """Llama's attention; one product makes queries, keys and values."""

    def __init__(self, config: Phi3Config, layer: int):
        super().__init__(config, layer)
        parts = self.q_proj, self.k_proj, self.v_proj
        self.rows = [part.out_features for part in parts]
        del self.q_proj, self.k_proj, self.v_proj
        self.qkv_proj = nn.Linear(
            config.hidden_size, sum(self.rows), bias=False
        )

    def split(self, x: Float[Tensor, "batch length d_model"]) -> Heads:
        """Return query, key and value, head by head."""
        query, key, value = self.qkv_proj(x).split(self.rows, dim=-1)
        return (
            split_heads(query, self.heads),
            split_heads(key, self.kv_heads),
            split_heads(value, self.kv_heads),
        )


class FusedSwiGLU(nn.Module):
    """Llama's MLP; one product makes the gate and what goes through it."""

    def __init__(self, config: Phi3Config):
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.gate_up_proj = nn.Linear(width, 2 * inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(
        self, x: Float[Tensor, "... d_model"]
    ) -> Float[Tensor, "... d_model"]:
        """Each position on its own."""
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


class Phi3Block(Block):
    """Llama's block, one part behind the other."""

    attention, feed_forward = FusedAttention, FusedSwiGLU


class Phi3(PartlyTurned):
    """Phi-3 and Phi-4. Arguments, result and errors are those of `Llama`.

    Source: Abdin et al. 2024.
    """

    block = Phi3Block

    def reach(
        self, query: int, key: int, device: torch.device
    ) -> Bool[Tensor, "query key"] | None:
        """As Llama's, but not beyond the window."""
        window = self.config.sliding_window
        if window is None or key <= window:
            return super().reach(query, key, device)
        return sliding_window_mask(query, key, window, device)


def unfused(model: Phi3) -> dict[str, Tensor]:
    """The same weights under Llama's names, each matrix for itself."""
    config = model.config
    rows = [
        h * config.head_dim
        for h in (
            config.num_attention_heads,
            *2 * [config.num_key_value_heads],
        )
    ]
    apart = {
        "qkv_proj": (("q_proj", "k_proj", "v_proj"), rows),
        "gate_up_proj": (("gate_proj", "up_proj"), config.intermediate_size),
    }
    found = {}
    for name, weight in model.state_dict().items():
        part = name.split(".")[-2]
        names, rows = apart.get(part, ((part,), len(weight)))
        for own, piece in zip(names, weight.split(rows), strict=True):
            found[name.replace(part, own)] = piece
    return found
