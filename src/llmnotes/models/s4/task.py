"""Digits read pixel by pixel, at any length: one answer for all of them.

    scale   = how often a pixel is repeated to the right and downwards; a
              digit of 8 × 8 is then (8 · scale)² places long
    parts   = digits to train on, to choose with, and to report on

Sources
- Le, Jaitly & Hinton 2015, "A Simple Way to Initialize Recurrent Networks of
  Rectified Linear Units", arXiv 1504.00941, §4.2 (pixel by pixel).
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes import data
from llmnotes import task as training
from llmnotes.checks import check_sizes

PARTS = {"train": 1197, "chosen": 300, "reported": 300}
MIXED = 1798  # the seed that shuffles them: writers come one after the other


def digits(
    part: str, scale: int = 1
) -> tuple[Float[Tensor, "examples length 1"], Int[Tensor, "examples"]]:
    """Rows of pixels between -1 and 1, and which digits they are.

    Raises `ValueError` for another part, or a scale below 1.
    """
    if part not in PARTS:
        raise ValueError(
            f"part: got {part!r}, expected one of {', '.join(PARTS)}"
        )
    check_sizes(scale=scale)
    images, labels = data.images("digits")
    order = np.random.default_rng(MIXED).permutation(len(labels))
    begin = sum(list(PARTS.values())[: list(PARTS).index(part)])
    chosen = order[begin : begin + PARTS[part]]
    large = images[chosen].repeat(scale, 1).repeat(scale, 2)
    pixels = torch.from_numpy(large).flatten(1)[..., None]
    return 2 * pixels - 1, torch.from_numpy(labels[chosen]).long()


class Digits(training.Task):
    """Which digit was read: the mean of the answers at all places says."""

    def __init__(self, scale: int, examples: int, seed: int, part: str):
        self.x, self.y = digits("train", scale)
        self.judged = digits(part, scale)
        self.examples, self.seed = examples, seed

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Digits of a step, whichever steps were drawn before."""
        rng = np.random.default_rng((self.seed, step))
        chosen = torch.from_numpy(rng.choice(len(self.y), self.examples))
        return self.x[chosen], self.y[chosen]

    def loss(self, model: nn.Module, batch: tuple) -> Tensor:
        """Cross-entropy of the mean answer."""
        x, y = batch
        return F.cross_entropy(model(x).mean(1), y)

    def evaluate(self, model: nn.Module) -> float:
        """Share of wrong answers."""
        x, y = self.judged
        said = torch.cat(
            [model(part).mean(1).argmax(-1) for part in x.split(50)]
        )
        return 1 - (said == y).double().mean().item()
