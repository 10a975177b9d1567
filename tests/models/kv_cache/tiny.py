"""The models of these tests: Llamas with every kind of head, and GPTs."""

from itertools import combinations

import torch

from llmnotes.models.llama import Llama, LlamaConfig
from llmnotes.transformer.gpt import GPT, GPT1, GPTConfig

VOCAB, LONGEST = 31, 40
SCALING = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=16,
)
KINDS = {
    "MHA": dict(num_key_value_heads=4),
    "GQA": dict(num_key_value_heads=2),
    "MQA, llama3 scaling": dict(
        num_key_value_heads=1, rope_scaling=SCALING, rope_theta=500.0
    ),
}
PROMPTS = [3, 1, 4], [1], [5, 9, 2, 6, 5]


def scattered(model, seed=0):
    """Weights so large that the next token depends on all before it."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            gain = p.ndim == 1 and not name.endswith("bias")
            size = 0.1 if name.endswith("bias") else 0.4
            p.copy_(size * torch.randn_like(p) + gain)
    return model.double().eval()


def llama(**kind):
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=24,
        intermediate_size=20,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=LONGEST,
        **kind,
    )
    return scattered(Llama(config))


def gpt(cls=GPT):
    config = GPTConfig(VOCAB, LONGEST, n_embd=24, n_layer=3, n_head=4)
    model = scattered(cls(config))
    model.transformer.wpe.weight.data *= 5  # or one token is said for ever
    return model


def models():
    """One of each kind, by name."""
    found = {name: llama(**kind) for name, kind in KINDS.items()}
    return found | {"GPT-2": gpt(), "GPT-1": gpt(GPT1)}


def splits(length):
    """All ways to cut a text of so many tokens into parts: 2^(length - 1)."""
    for count in range(length):
        for cuts in combinations(range(1, length), count):
            ends = [0, *cuts, length]
            yield [b - a for a, b in zip(ends, ends[1:], strict=False)]


def some_ids(batch=2, length=6, seed=1):
    torch.manual_seed(seed)
    return torch.randint(VOCAB, (batch, length))
