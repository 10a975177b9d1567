"""A tiny GPT-2 with random numbers everywhere, and its twin in torch."""

import numpy as np
import torch

from llmnotes.transformer.gpt import GPT, GPTConfig
from llmnotes.transformer.gpt2_by_hand import GPT2, from_gpt, reference

TINY = GPTConfig(11, n_positions=7, n_embd=12, n_layer=2, n_head=3)
B, T, ROWS = 2, 5, 13


def scattered(config=TINY, seed=0):
    """A GPT in float64; fresh biases are 0 and would hide mistakes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPT(config).double()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.3 * torch.randn_like(p))
    return model


def ids(config=TINY, batch=B, length=T, seed=1):
    """Tokens and what comes after each; some come twice."""
    draw = np.random.default_rng(seed)
    both = draw.integers(0, config.vocab_size, (2, batch, length))
    both[:, 0, :2] = both[0, 0, 0]
    return both.astype(np.int32)


def by_hand(model=None, kernels=reference, rows=ROWS, dtype=np.float64):
    """The same model by hand, its table padded."""
    model = model or scattered()
    weights = from_gpt(model, rows, dtype)
    return GPT2(model.config, weights, kernels)


def stepped(kernels=reference, dtype=np.float64, model=None):
    """One that has gone forward and back."""
    ours = by_hand(model, kernels, dtype=dtype)
    ours.forward(*ids(ours.config))
    ours.zero_grad()
    ours.backward()
    return ours
