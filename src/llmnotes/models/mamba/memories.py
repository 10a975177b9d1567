"""One recurrence, many memories: they differ in how a state is written.

    state    = S, (head_dim, value_dim): what is known
    key, value = k and v, what a token wants to have known
    decay    = α, what is left of the state; one for each token
    strength = β, how much of an error is put right; one for each token
    place    = b, where a memory writes that lets no token choose

A query q reads Sᵀq. Whoever writes k and v and asks for k at once gets v
back, if nothing else is in the way.

Sources
- Hochreiter and Schmidhuber 1997, "Long Short-Term Memory"; Gers et al. 2000
  (the forget gate).
- Katharopoulos et al. 2020, "Transformers are RNNs", arXiv 2006.16236, §3.4.
- Schlag et al. 2021, "Linear Transformers Are Secretly Fast Weight
  Programmers", arXiv 2102.11174, eq. 24 (the delta rule).
- Sun et al. 2023, "Retentive Network", arXiv 2307.08621, eq. 3.
- Gu et al. 2022, "On the Parameterization and Initialization of Diagonal
  State Space Models", arXiv 2206.11893 (S4D).
- Gu and Dao 2023, arXiv 2312.00752, algorithm 2; Dao and Gu 2024,
  arXiv 2405.21060, §5.
- Yang et al. 2024, "Gated Delta Networks", arXiv 2412.06464, eq. 10.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import checked


def outer(key: Tensor, value: Tensor) -> Tensor:
    """KᵀV of one token: asked for this key, it says this value."""
    return key[..., :, None] * value[..., None, :]


def invariant(state, key, value, decay, place):
    """S4D: all tokens fade and write alike, and a key has no say.

    Decay has a number for each row of the state, place as well.
    """
    return decay * state + outer(place, value)


def linear(state, key, value):
    """Linear attention: add, and forget nothing."""
    return state + outer(key, value)


def fading(state, key, value, decay):
    """RetNet, with one decay; Mamba-2, where each token says its own."""
    return decay * state + outer(key, value)


def selective(state, key, value, delta, A):
    """Mamba: every number of a state has a decay of its own.

    Δ is a number for each channel of the value, A for each of the state.
    """
    return torch.exp(delta * A) * state + outer(key, delta[..., 0, :] * value)


def delta_rule(state, key, value, strength):
    """Write only what the state does not say already."""
    error = value - read(state, key)
    return state + strength * outer(key, error)


def gated_delta(state, key, value, decay, strength):
    """Fade first, then put right."""
    return delta_rule(decay * state, key, value, strength)


def lstm(state, key, value):
    """An LSTM's cell whose gates were set by hand, for comparison.

    c = f∘c + i∘tanh(v): number (i, j) has its input gate from key number i,
    its candidate from value number j, and its forget gate open. A gate is
    never negative, so part of each value is written under every key.
    """
    gate = torch.sigmoid(key.shape[-1] ** 0.5 * key)
    return state + outer(gate, torch.tanh(value))


def read(state: Tensor, query: Tensor) -> Tensor:
    """Sᵀq."""
    return (query[..., None, :] @ state)[..., 0, :]


@checked
def recurrence(
    write: Callable[..., Tensor],
    query: Float[Tensor, "*batch length head_dim"],
    key: Float[Tensor, "*batch length head_dim"],
    value: Float[Tensor, "*batch length value_dim"],
    *gates: Float[Tensor, "*batch length"],
) -> tuple[
    Float[Tensor, "*batch length value_dim"],
    Float[Tensor, "*batch head_dim value_dim"],
]:
    """Return what each query reads, and the last state; it starts empty.

    `gates` are what `write` takes behind the value, one for each token.
    Raises `ValueError` for shapes that do not fit each other.
    """
    state = key.new_zeros(*key.shape[:-2], key.shape[-1], value.shape[-1])
    out = []
    for t in range(key.shape[-2]):
        now = (gate[..., t, None, None] for gate in gates)
        state = write(state, key[..., t, :], value[..., t, :], *now)
        out.append(read(state, query[..., t, :]))
    return torch.stack(out, -2), state
