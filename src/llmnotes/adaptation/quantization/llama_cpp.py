"""Our models as llama.cpp has them: architecture, names of tensors, facts.

    family = what one of our models is called there, and how its parts are
    inner  = the parts of a block; {ours: theirs}
    outer  = the other parts
    facts  = the model's shape, under their names

Three things are not only called otherwise. A matrix of GPT-2's `Conv1D`
lies (inputs, outputs) and is transposed, so that a row belongs to an output
and a block of weights to neighbouring inputs. Llama's queries and keys lie
there so that the two numbers of a pair that RoPE turns are neighbours. And
Mixtral's gate and up are two tensors. Numbers and results are the same.

What our files do not tell llama.cpp: words of a model that reads characters
(its tokenizer is "none"), Mistral's window, which its `llama` does not have,
and RoPE that is scaled. We have not run llama.cpp; `gguf` and `transformers`
read the files.

Sources
- ggml, its page on GGUF, "Standardized key-value pairs", "tensor names".
- llama.cpp, `convert_hf_to_gguf.py` (the order of rows: `permute`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from einops import rearrange
from torch import Tensor, cat

TURN = "(heads two half) columns -> (heads half two) columns"
UNTURN = "(heads half two) columns -> (heads two half) columns"


@dataclass(frozen=True)
class Family:
    """How one kind of our models is written down there."""

    architecture: str
    blocks: str  # what our names of blocks begin with
    outer: Mapping[str, str]
    inner: Mapping[str, str]
    facts: Callable[[Any], dict]
    turned: tuple[str, ...] = ()
    transposed: tuple[str, ...] = ()
    stacked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def place(self, name: str) -> tuple[str, str, str]:
        """Our name of a tensor in three: "blk.3.", part, ".weight"."""
        part, dot, last = name.rpartition(".")
        if last not in ("weight", "bias"):
            part, dot, last = name, ".", "weight"
        if not part.startswith(self.blocks):
            return "", part, dot + last
        number, part = part.removeprefix(self.blocks).split(".", 1)
        return f"blk.{number}.", part, dot + last

    def names(self, name: str) -> list[str]:
        """Their names of one of our tensors; of a stacked one several."""
        front, part, end = self.place(name)
        known = self.inner if front else self.outer
        parts = self.stacked.get(part) or (known[part],)
        return [front + theirs + end for theirs in parts]

    def theirs(self, name: str, x: Tensor, config) -> dict[str, Tensor]:
        """One of our tensors under their names, laid out as there."""
        part, names = self.place(name)[1], self.names(name)
        if part in self.transposed and x.dim() == 2:
            x = x.T
        elif part in self.turned:
            heads = len(x) // config.head_dim
            x = rearrange(x, TURN, heads=heads, two=2)
        pieces = x.chunk(len(names), dim=-2) if len(names) > 1 else [x]
        return dict(zip(names, pieces, strict=True))

    def ours(self, name: str, found: Mapping[str, Tensor], config) -> Tensor:
        """One of our tensors from theirs; `KeyError` if one is missing."""
        part, names = self.place(name)[1], self.names(name)
        pieces = [found[theirs] for theirs in names]
        x = cat(pieces, dim=-2) if len(pieces) > 1 else pieces[0]
        if part in self.transposed and x.dim() == 2:
            return x.T
        if part in self.turned:
            heads = len(x) // config.head_dim
            return rearrange(x, UNTURN, heads=heads, two=2)
        return x


def gpt2(config) -> dict:
    """The shape of a GPT."""
    return {
        "context_length": config.n_positions,
        "embedding_length": config.n_embd,
        "feed_forward_length": 4 * config.n_embd,
        "block_count": config.n_layer,
        "attention.head_count": config.n_head,
        "attention.layer_norm_epsilon": config.layer_norm_epsilon,
    }


def common(config) -> dict:
    """What the shapes of all Llamas say."""
    return {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "block_count": config.num_hidden_layers,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "rope.freq_base": float(config.rope_theta),
    }


def llama(config) -> dict:
    """The shape of a Llama, a Mistral or a Mixtral."""
    more = {
        "attention.sliding_window": "sliding_window",
        "expert_count": "num_local_experts",
        "expert_used_count": "num_experts_per_tok",
    }
    more = {theirs: getattr(config, k, None) for theirs, k in more.items()}
    return {
        **common(config),
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.dimension_count": config.head_dim,
        **{name: value for name, value in more.items() if value is not None},
    }


def phi2(config) -> dict:
    """The shape of a Phi, which turns heads in part."""
    return {
        **common(config),
        "attention.layer_norm_epsilon": config.rms_norm_eps,
        "rope.dimension_count": config.rotary_dim,
    }


OUTER = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
ATTENTION = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}
LLAMA = Family(
    "llama",
    "model.layers.",
    OUTER,
    {
        **ATTENTION,
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "mlp.gate": "ffn_gate_inp",
        "mlp.experts.down_proj": "ffn_down_exps",
    },
    llama,
    turned=("self_attn.q_proj", "self_attn.k_proj"),
    stacked={"mlp.experts.gate_up_proj": ("ffn_gate_exps", "ffn_up_exps")},
)
GPT2 = Family(
    "gpt2",
    "transformer.h.",
    {
        "transformer.wte": "token_embd",
        "transformer.wpe": "position_embd",
        "transformer.ln_f": "output_norm",
    },
    {
        "ln_1": "attn_norm",
        "attn.c_attn": "attn_qkv",
        "attn.c_proj": "attn_output",
        "ln_2": "ffn_norm",
        "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down",
    },
    gpt2,
    transposed=("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
)
PHI2 = Family(
    "phi2",
    "model.layers.",
    OUTER,
    {**ATTENTION, "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down"},
    phi2,
)
FAMILIES = {
    "gpt": GPT2,
    "llama": LLAMA,
    "mistral": LLAMA,
    "mixtral": LLAMA,
    "phi": PHI2,
}
