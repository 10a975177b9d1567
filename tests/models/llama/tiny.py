"""Tiny Llamas of random numbers, theirs and ours."""

from copy import deepcopy

import torch
import transformers as hf

VOCAB, LONGEST = 23, 40
SHAPE = dict(
    vocab_size=VOCAB,
    hidden_size=24,
    intermediate_size=20,
    num_hidden_layers=3,
    num_attention_heads=6,
    max_position_embeddings=LONGEST,
    rms_norm_eps=1e-5,
)
LLAMA3 = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=16,
)
FAMILY = {
    "MHA": {},
    "GQA": dict(num_key_value_heads=2),
    "MQA, wide heads": dict(num_key_value_heads=1, head_dim=10),
    "llama3 scaling": dict(
        num_key_value_heads=3, rope_scaling=LLAMA3, rope_theta=500.0
    ),
    "tied head": dict(num_key_value_heads=2, tie_word_embeddings=True),
}


def scatter(model, seed=0):
    """Random numbers everywhere: fresh gains are 1 and hide mistakes."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return model.eval()


def theirs(change):
    """Hugging Face's model of this shape."""
    torch.manual_seed(0)
    options = deepcopy(change)  # they write into what they are given
    config = hf.LlamaConfig(
        **SHAPE | options, bos_token_id=None, eos_token_id=None
    )
    return scatter(hf.LlamaForCausalLM(config))


def some_ids(length=9, seed=1):
    torch.manual_seed(seed)
    return torch.randint(VOCAB, (3, length))
