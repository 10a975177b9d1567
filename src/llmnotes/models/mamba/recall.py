"""Recall of k pairs: names get values, and then each name is asked for.

    NAMES, VALUES = how many of each there are
    a = 3         = one token, name · VALUES + value
    a ?           = one token, NAMES · VALUES + name
    pairs         = k: how many names got a value

A pair is one token, so nothing has to be put together from two: all that is
asked is how much is still there.

Source: the task is that of Arora et al. 2023, "Zoology", arXiv 2312.04927,
§3 (multi-query associative recall), with a pair in one token instead of two.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Generator, Tensor, nn

from llmnotes import task as training
from llmnotes.checks import check_within
from llmnotes.modes import evaluating

NAMES, VALUES = 16, 8
VOCAB = NAMES * VALUES + NAMES
EXAMPLES = 32  # of a step
HELD_OUT = 2**31  # no run of training begins at such a seed

Texts = tuple[Int[Tensor, "batch length"], Int[Tensor, "batch pairs"]]


def assignments(pairs: int, batch: int, generator: Generator) -> Texts:
    """Texts of 2 · pairs tokens, and the value asked for in the last half.

    Raises `ValueError` for less than 1 pair and more pairs than names.
    """
    check_within(1, NAMES, pairs=torch.tensor(pairs))
    name = shuffled(NAMES, batch, generator)[:, :pairs]
    value = torch.randint(VALUES, (batch, pairs), generator=generator)
    order = shuffled(pairs, batch, generator)
    asked = NAMES * VALUES + name.gather(1, order)
    ids = torch.cat([name * VALUES + value, asked], dim=1)
    return ids, value.gather(1, order)


def shuffled(
    count: int, batch: int, generator: Generator
) -> Int[Tensor, "batch count"]:
    """0 to count - 1 in an order of its own for each text."""
    return torch.rand(batch, count, generator=generator).argsort(1)


class Assignments(training.Task):
    """Fresh texts at every step, of 1 to NAMES pairs."""

    def __init__(self, seed: int):
        self.seed = seed

    def batch(self, step: int) -> Texts:
        """Texts of a step, whichever steps were drawn before."""
        generator = Generator().manual_seed(self.seed * 2**20 + step)
        pairs = torch.randint(1, NAMES + 1, (), generator=generator)
        return assignments(int(pairs), EXAMPLES, generator)

    def loss(self, model: nn.Module, batch: Texts) -> Tensor:
        """Cross-entropy of the answers, where names are asked for."""
        ids, said = batch
        logits = model(ids)[:, -said.shape[1] :]
        return F.cross_entropy(logits.flatten(0, 1), said.flatten())

    def evaluate(self, model: nn.Module) -> float:
        """Share of wrong answers, as many texts of each number of pairs."""
        shares = [recalled(model, k + 1, 32, seed=1) for k in range(NAMES)]
        return 1 - sum(shares) / NAMES


def recalled(
    model: nn.Module, pairs: int, texts: int = 256, seed: int = 0
) -> float:
    """Share of right answers after so many pairs, never trained on."""
    generator = Generator().manual_seed(HELD_OUT + 64 * pairs + seed)
    ids, said = assignments(pairs, texts, generator)
    with evaluating(model):
        logits = model(ids)[:, -pairs:]
    return (logits.argmax(-1) == said).double().mean().item()
