"""A run of the model by hand: steps on random stretches, and what it writes.

    ids    = a text as one row of tokens
    block  = tokens of a sequence, T
    window = what the model may look at: as many tokens as its context

Sources
- Karpathy 2024, llm.c: train_gpt2.c, `main`.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from llmnotes import data
from llmnotes.checks import check_sizes
from llmnotes.transformer.gpt2_by_hand.model import GPT2

Ids = Int[np.ndarray, "tokens"]


def steps(
    model: GPT2,
    ids: Ids,
    count: int,
    *,
    batch_size: int = 4,
    block: int = 64,
    seed: int = 0,
    **options,
) -> Iterator[float]:
    """Train for `count` steps; the loss before each. `options`: of `update`.

    Raises `ValueError` for too short a text and ids that are no tokens.
    """
    check_sizes(0, count=count)
    for step in range(count):
        given = data.batch(
            ids, batch_size=batch_size, block=block, seed=seed, step=step
        )
        yield model.step(*(x.numpy() for x in given), **options)


def mean_loss(
    model: GPT2, ids: Ids, count: int, *, batch_size: int = 4, block: int = 64
) -> float:
    """Mean loss of `count` batches that are not learned from."""
    check_sizes(count=count)
    losses = []
    for step in range(count):
        given = data.batch(
            ids, batch_size=batch_size, block=block, seed=7, step=step
        )
        model.forward(*(x.numpy() for x in given))
        losses.append(model.loss)
    return sum(losses) / count


def sample(
    model: GPT2,
    prompt: Ids,
    count: int,
    *,
    temperature: float = 1.0,
    seed: int = 0,
) -> Int[np.ndarray, "longer"]:
    """The prompt and `count` tokens more, each drawn from the softmax.

    Each token is a whole forward pass over the window. Its empty places hold
    token 0: they stand behind, where causal attention does not look.
    """
    check_sizes(prompt=len(prompt))
    if not temperature > 0:
        raise ValueError(f"temperature: got {temperature}, expected above 0")
    draw, written = np.random.default_rng(seed), list(prompt)
    longest = model.config.n_positions
    for _ in range(count):
        seen = written[-longest:]
        window = np.zeros((1, longest), np.int32)
        window[0, : len(seen)] = seen
        model.forward(window)
        scores = model.acts["logits"][0, len(seen) - 1, : model.tensors["V"]]
        scores = (scores.astype(np.float64) - scores.max()) / temperature
        chance = np.exp(scores)
        written.append(int(draw.choice(scores.size, p=chance / chance.sum())))
    return np.array(written)
