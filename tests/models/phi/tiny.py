"""Tiny Phis of random numbers, theirs and ours."""

from copy import deepcopy

import torch
import transformers as hf

from llmnotes.models.phi import Phi, Phi3, Phi3Config, PhiConfig
from tests.models.llama.tiny import LONGEST, VOCAB, scatter, some_ids

SHAPE = dict(
    vocab_size=VOCAB,
    hidden_size=24,
    intermediate_size=20,
    num_hidden_layers=2,
    num_attention_heads=3,
    max_position_embeddings=LONGEST,
)
PHI = {
    "half turned": {},
    "a quarter turned": dict(partial_rotary_factor=0.25),
    "grouped": dict(num_attention_heads=6, num_key_value_heads=2),
}
PHI3 = {
    "whole turned": {},
    "grouped, in part": dict(
        num_attention_heads=6,
        num_key_value_heads=2,
        partial_rotary_factor=0.5,
    ),
    "window": dict(sliding_window=4),
    "tied": dict(tie_word_embeddings=True),
}
FAMILY = {("phi", name): change for name, change in PHI.items()}
FAMILY |= {("phi3", name): change for name, change in PHI3.items()}
NOBODY = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
THEIRS = {
    "phi": (hf.PhiConfig, hf.PhiForCausalLM),
    "phi3": (hf.Phi3Config, hf.Phi3ForCausalLM),
}
OURS = {"phi": (PhiConfig, Phi), "phi3": (Phi3Config, Phi3)}


def theirs(name, **options):
    """Hugging Face's model of a shape, with numbers everywhere."""
    kind, _ = name
    config, build = THEIRS[kind]
    change = deepcopy(FAMILY[name])
    config = config(**SHAPE | change | options, **NOBODY)
    torch.manual_seed(0)
    return scatter(build(config))


def ours(name, **options):
    """Our model of a shape, in float64."""
    kind, _ = name
    config, build = OURS[kind]
    torch.manual_seed(0)
    return scatter(build(config(**SHAPE | FAMILY[name] | options)).double())


def ids(length=9, seed=1):
    return some_ids(length, seed)
