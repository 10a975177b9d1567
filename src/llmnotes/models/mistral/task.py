"""A task that only sight solves: a word is said once and asked for at last.

    back   = how far before the question the word stands
    NOISE  = letters 0 … 15, WORDS words behind them, and then ASK
    reach  = layers · (window - 1): further back nothing can be known

Sources
- Mohtashami and Jaggi 2023, "Landmark Attention", arXiv 2305.16300, §4.2
  (the passkey among noise, of which this is the smallest).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Generator, Tensor, nn

from llmnotes import task as training
from llmnotes.checks import check_sizes, check_within
from llmnotes.modes import evaluating

NOISE, WORDS = 16, 8
ASK = NOISE + WORDS
VOCAB = ASK + 1
HELD_OUT = 2**31  # no run of training begins at such a seed


def needles(
    length: int, back: Int[Tensor, "batch"], generator: Generator
) -> tuple[Int[Tensor, "batch length"], Int[Tensor, "batch"]]:
    """Texts of noise with one word so far back; and which word it is.

    Raises `ValueError` for a word that would stand outside the text.
    """
    check_sizes(2, length=length)
    check_within(1, length - 1, back=back)
    batch = len(back)
    ids = torch.randint(NOISE, (batch, length), generator=generator)
    word = NOISE + torch.randint(WORDS, (batch,), generator=generator)
    ids[torch.arange(batch), length - 1 - back] = word
    ids[:, -1] = ASK
    return ids, word


class Needle(training.Task):
    """The word anywhere before the question, fresh texts at every step."""

    def __init__(self, length: int, examples: int, seed: int):
        self.length, self.examples, self.seed = length, examples, seed

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Texts of a step, whichever steps were drawn before."""
        generator = Generator().manual_seed(self.seed * 2**20 + step)
        back = torch.randint(
            1, self.length, (self.examples,), generator=generator
        )
        return needles(self.length, back, generator)

    def loss(self, model: nn.Module, batch: tuple) -> Tensor:
        """Cross-entropy of what comes behind the question."""
        ids, word = batch
        return F.cross_entropy(model(ids)[:, -1], word)

    def evaluate(self, model: nn.Module) -> float:
        """Share of wrong answers, over all distances alike."""
        return 1 - right(model, self.length, range(1, self.length), 16)


def right(
    model: nn.Module, length: int, backs: Sequence[int], each: int = 200
) -> float:
    """Share of right answers to words so far back, never trained on."""
    generator = Generator().manual_seed(HELD_OUT + sum(backs))
    back = torch.tensor(backs).repeat_interleave(each)
    ids, word = needles(length, back, generator)
    with evaluating(model):
        said = model(ids)[:, -1].argmax(-1)
    return (said == word).float().mean().item()
