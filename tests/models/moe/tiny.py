"""Tiny Mixtrals of random numbers, as Hugging Face makes them."""

from copy import deepcopy

import torch
import transformers as hf

from tests.models.llama.tiny import VOCAB, scatter

SHAPE = dict(
    vocab_size=VOCAB,
    hidden_size=24,
    intermediate_size=20,
    num_hidden_layers=3,
    num_attention_heads=6,
    num_key_value_heads=2,
    max_position_embeddings=40,
    num_local_experts=5,
    num_experts_per_tok=2,
)
FAMILY = {
    "2 of 5": {},
    "1 of 3, MHA": dict(
        num_local_experts=3, num_experts_per_tok=1, num_key_value_heads=6
    ),
    "all 4": dict(num_local_experts=4, num_experts_per_tok=4),
    "3 of 7, wide heads, tied head": dict(
        num_local_experts=7,
        num_experts_per_tok=3,
        head_dim=10,
        tie_word_embeddings=True,
    ),
}


def theirs(change):
    """Hugging Face's model of this shape."""
    torch.manual_seed(0)
    options = deepcopy(SHAPE | change)  # they write into what they are given
    config = hf.MixtralConfig(**options, bos_token_id=None, eos_token_id=None)
    return scatter(hf.MixtralForCausalLM(config))
