"""What each memory keeps, measured without training.

Keys are random directions of 64 numbers, values are drawn from 256 codes,
random directions as well, and a value counts as kept if the code nearest to
what is read is its own. A state has 64 · 64 = 4,096 numbers, whoever writes.

fresh      = share of values kept after so many pairs, all with other keys
overwritten = of 16 keys that are written twice, the share of new values
"""

from functools import partial

import torch

from llmnotes.models.mamba import memories

WIDTH, CODES, TEXTS, TWICE = 64, 256, 8, 16


def unit(*shape, draws):
    x = torch.randn(shape, generator=draws, dtype=torch.float64)
    return torch.nn.functional.normalize(x, dim=-1)


def constant(*numbers):
    """Gates that are the same for each token."""
    return tuple(
        torch.full((1, 1, 1), float(x), dtype=torch.float64) for x in numbers
    )


def as_it_starts():
    """Mamba's Δ in the middle of where it starts, and its A."""
    delta = torch.full((1, 1, WIDTH), 0.01, dtype=torch.float64)
    rates = -torch.arange(1.0, WIDTH + 1, dtype=torch.float64)
    return delta, rates[:, None]


def for_all_tokens():
    """S4D's decay and place: the same Δ and A, and B = 1."""
    delta, rates = as_it_starts()
    place = delta[0, 0].expand(WIDTH)
    return torch.exp(delta[..., :1] * rates), place


class Matrix:
    """A state that is read by its transpose times the query."""

    def __init__(self, write, *gates):
        self.write, self.gates = write, gates

    def __call__(self, key, value, asked):
        state = key.new_zeros(len(key), WIDTH, WIDTH)
        for t in range(key.shape[1]):
            state = self.write(state, key[:, t], value[:, t], *self.gates)
        return asked @ state


def softmax(key, value, asked):
    """Attention, which keeps all; sharp, as a trained one may be."""
    return (asked @ key.mT * 100).softmax(-1) @ value


def least_squares(key, value, asked):
    """The matrix that is least wrong about all pairs at once."""
    size = key.shape[1] * 1e-9
    eye = torch.eye(WIDTH, dtype=key.dtype)
    return asked @ torch.linalg.solve(
        key.mT @ key + size * eye, key.mT @ value
    )


RULES = {
    "LSTM with gates set by hand": Matrix(memories.lstm),
    "S4D": Matrix(memories.invariant, *for_all_tokens()),
    "linear attention": Matrix(memories.linear),
    "RetNet or Mamba-2 at 0.98": Matrix(memories.fading, *constant(0.98)),
    "Mamba as it starts": Matrix(memories.selective, *as_it_starts()),
    "delta rule at full strength": Matrix(memories.delta_rule, *constant(1)),
    "delta rule at a quarter": Matrix(memories.delta_rule, *constant(0.25)),
    "gated delta at 0.98": Matrix(memories.gated_delta, *constant(0.98, 1)),
    "best matrix": least_squares,
    "attention": softmax,
}

WRITTEN = {  # how a state becomes the next one; k is a row
    "LSTM with gates set by hand": "c + σ(8k)ᵀ ∘ tanh(v)",
    "S4D": "exp(ΔA) ∘ S + bᵀ(Δv), Δ and b fixed",
    "linear attention": "S + kᵀv",
    "RetNet or Mamba-2 at 0.98": "αS + kᵀv",
    "Mamba as it starts": "exp(ΔA) ∘ S + kᵀ(Δv)",
    "delta rule at full strength": "S + kᵀ(v − kS)",
    "delta rule at a quarter": "S + βkᵀ(v − kS)",
    "gated delta at 0.98": "αS + kᵀ(v − kαS)",
    "best matrix": "all pairs at once",
    "attention": "one more row for k and v",
}


def texts(count, again=0, seed=0):
    """Keys, values and codes; the first `again` keys come a second time."""
    draws = torch.Generator().manual_seed(seed)
    codes = unit(CODES, WIDTH, draws=draws)
    key = unit(TEXTS, count, WIDTH, draws=draws)
    key = torch.cat([key, key[:, :again]], 1)
    shape = TEXTS, count + again
    said = torch.randint(CODES, shape, generator=draws)
    return key, codes[said], said, codes


def kept(rule, count, again=0):
    """Share of values that are read back; of the new ones, if any."""
    key, value, said, codes = texts(count, again)
    last = again or count
    read = rule(key, value, key[:, -last:])
    nearest = (read @ codes.T).argmax(-1)
    return (nearest == said[:, -last:]).double().mean().item()


fresh = kept
overwritten = partial(kept, count=TWICE, again=TWICE)
