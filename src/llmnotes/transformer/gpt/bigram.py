"""The baseline that only counts: which character follows which.

    counts[a, b] = how often b follows a in the training text
    add          = what is added to every count, so that no chance is zero
    follower[a]  = argmax_b counts[a, b], what greedy decoding says after a

A count is the maximum-likelihood estimate, so no trained model that sees
one character only can do better on the text the counts come from.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_within, checked


@checked
def pair_counts(
    ids: Int[Tensor, "tokens"], vocab_size: int
) -> Int[Tensor, "vocab vocab"]:
    """Return how often each id (row) is followed by each id (column)."""
    check_within(0, vocab_size - 1, ids=ids)
    pairs = ids[:-1] * vocab_size + ids[1:]
    counts = torch.bincount(pairs, minlength=vocab_size**2)
    return counts.reshape(vocab_size, vocab_size)


def log_chances(
    counts: Int[Tensor, "*rows vocab"], add: float = 0.001
) -> Float[Tensor, "*rows vocab"]:
    """Return the logarithm of (count + add) / sum, row by row."""
    smoothed = counts.double() + add
    return (smoothed / smoothed.sum(-1, keepdim=True)).log()


@checked
def unigram_loss(
    train: Int[Tensor, "train"],
    ids: Int[Tensor, "tokens"],
    vocab_size: int,
    add: float = 0.001,
) -> float:
    """Nats per character of `ids` when every character is drawn alone."""
    check_within(0, vocab_size - 1, train=train, ids=ids)
    counts = torch.bincount(train, minlength=vocab_size)
    return -log_chances(counts, add)[ids].mean().item()


@checked
def bigram_loss(
    train: Int[Tensor, "train"],
    ids: Int[Tensor, "tokens"],
    vocab_size: int,
    add: float = 0.001,
) -> float:
    """Nats per character of `ids` when each is drawn after its previous."""
    check_within(0, vocab_size - 1, train=train, ids=ids)
    table = log_chances(pair_counts(train, vocab_size), add)
    return -table[ids[:-1], ids[1:]].mean().item()


class Bigram(nn.Module):
    """The counts as a language model: `model(ids)` are log-chances."""

    def __init__(self, counts: Int[Tensor, "vocab vocab"], add: float = 0.001):
        super().__init__()
        self.register_buffer("table", log_chances(counts, add).float())

    @checked
    def forward(
        self, ids: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length vocab"]:
        """Return the log-chances of what follows each id."""
        check_within(0, len(self.table) - 1, ids=ids)
        return self.table[ids]


@checked
def cycles(follower: Int[Tensor, "vocab"]) -> list[list[int]]:
    """Return the cycles of a map of ids to ids, smallest id first.

    A walk on V states repeats one after at most V steps, and from then on
    repeats forever: these are the only endings greedy decoding has.
    """
    check_within(0, len(follower) - 1, follower=follower)
    found = []
    for start in range(len(follower)):
        at = start
        for _ in range(len(follower)):  # now certainly on a cycle
            at = int(follower[at])
        cycle = [at]
        while (after := int(follower[cycle[-1]])) != at:
            cycle.append(after)
        low = cycle.index(min(cycle))
        cycle = cycle[low:] + cycle[:low]
        if cycle not in found:
            found.append(cycle)
    return sorted(found)
