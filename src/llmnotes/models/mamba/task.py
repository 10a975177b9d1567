"""Two tasks that ask for selection: copy what matters, and continue a pair.

    SYMBOLS = symbols 0 … 7 that are to be kept
    BLANK   = noise between them;  ASK = "now say one"
    count   = symbols of a text that are to be said again
    length  = tokens before the answers begin

*Selective copying*: `count` symbols stand at places drawn anew among blanks;
behind them follow `count` tokens ASK, and at each the next of them is to be
said. *Induction*: symbols at random, among which a mark stands twice; behind
the second, what followed the first is to be said.

Sources
- Gu and Dao 2023, "Mamba", arXiv 2312.00752, §3.1, figure 2; §4.1.
- Olsson et al. 2022, "In-context Learning and Induction Heads", arXiv
  2209.11895.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from llmnotes import task as training
from llmnotes.checks import check_sizes
from llmnotes.modes import evaluating

SYMBOLS, COUNT = 8, 4
EXAMPLES = 32  # of a step
BLANK, ASK, MARK = SYMBOLS, SYMBOLS + 1, SYMBOLS + 2
VOCAB = SYMBOLS + 3
HELD_OUT = 2**31  # no run of training begins at such a seed

Texts = tuple[Tensor, Tensor]


def copying(length: int, batch: int, generator: Generator) -> Texts:
    """Texts of length + COUNT tokens, and COUNT answers for their ends.

    Raises `ValueError` for a length in which the symbols have no room.
    """
    check_sizes(COUNT, length=length)
    place = torch.rand(batch, length, generator=generator).argsort(1)
    place = place[:, :COUNT].sort(1).values
    said = torch.randint(SYMBOLS, (batch, COUNT), generator=generator)
    ids = torch.full((batch, length + COUNT), BLANK)
    ids[:, length:] = ASK
    return ids.scatter(1, place, said), said


def induction(length: int, batch: int, generator: Generator) -> Texts:
    """Texts of `length` tokens that end in a mark, and one answer each.

    Raises `ValueError` for a length below 4.
    """
    check_sizes(4, length=length)
    ids = torch.randint(SYMBOLS, (batch, length), generator=generator)
    place = torch.randint(length - 2, (batch, 1), generator=generator)
    ids.scatter_(1, place, MARK)
    ids[:, -1] = MARK
    return ids, ids.gather(1, place + 1)


class Recall(training.Task):
    """Fresh texts of one of the two at every step."""

    def __init__(self, draw: Callable[..., Texts], length: int, seed: int):
        self.draw, self.length, self.seed = draw, length, seed

    def batch(self, step: int) -> Texts:
        """Texts of a step, whichever steps were drawn before."""
        generator = Generator().manual_seed(self.seed * 2**20 + step)
        return self.draw(self.length, EXAMPLES, generator)

    def loss(self, model: nn.Module, batch: Texts) -> Tensor:
        """Cross-entropy of the answers, which are at the end."""
        ids, said = batch
        logits = model(ids)[:, -said.shape[1] :]
        return F.cross_entropy(logits.flatten(0, 1), said.flatten())

    def evaluate(self, model: nn.Module) -> float:
        """Share of wrong answers at the length that is trained on."""
        return 1 - right(model, self.draw, self.length, seed=1)


def right(
    model: nn.Module,
    draw: Callable[..., Texts],
    length: int,
    texts: int = 256,
    seed: int = 0,
) -> float:
    """Share of right answers in texts of a length, never trained on."""
    generator = Generator().manual_seed(HELD_OUT + 4 * length + seed)
    ids, said = draw(length, texts, generator)
    with evaluating(model):
        logits = torch.cat([model(part) for part in ids.split(32)])
    answers = logits[:, -said.shape[1] :].argmax(-1)
    return (answers == said).double().mean().item()
