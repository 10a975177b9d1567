"""Tiny Mistrals of random numbers, theirs and ours."""

from copy import deepcopy

import torch
import transformers as hf

from llmnotes.models.mistral import Mistral, MistralConfig
from tests.models.llama.tiny import scatter

VOCAB, LONGEST, WINDOW = 23, 40, 4
SHAPE = dict(
    vocab_size=VOCAB,
    hidden_size=24,
    intermediate_size=20,
    num_hidden_layers=3,
    num_attention_heads=6,
    num_key_value_heads=2,
    max_position_embeddings=LONGEST,
    rms_norm_eps=1e-5,
)
FAMILY = {
    "window 4": dict(sliding_window=4),
    "window 5, wide heads": dict(
        sliding_window=5, num_key_value_heads=1, head_dim=10
    ),
    "window longer than the text": dict(sliding_window=30),
    "no window": dict(sliding_window=None, rope_theta=1e6),
    "tied head": dict(sliding_window=3, tie_word_embeddings=True),
}


def theirs(change):
    """Hugging Face's model of this shape."""
    torch.manual_seed(0)
    options = deepcopy(SHAPE | change)  # they write into what they are given
    config = hf.MistralConfig(**options, bos_token_id=None, eos_token_id=None)
    return scatter(hf.MistralForCausalLM(config))


def tiny(window=WINDOW, **options):
    """A model of ours in float64, every weight of which matters."""
    config = MistralConfig(**SHAPE | options, sliding_window=window)
    return scatter(Mistral(config).double())


def some_ids(length=9, batch=3, seed=1):
    torch.manual_seed(seed)
    return torch.randint(VOCAB, (batch, length))
