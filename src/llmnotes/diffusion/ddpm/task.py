"""Digits to learn to draw, and what a denoiser is asked about them.

x0     = a digit of 8 × 8 in 17 grey levels, from -1 to 1
batch  = a function of (seed, step): pictures, classes, t and noise
drop   = share of pictures whose class is hidden, so that the network learns
         to do without (for guidance)
split  = 1,500 to learn from and 297 to be judged by, each with its share of
         every class; in the file's order the writers of the test would be
         others than those of the training

Sources
- Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv
  2006.11239 (algorithm 1; §3.3: pictures from -1 to 1).
- Ho & Salimans 2022, "Classifier-Free Diffusion Guidance", arXiv 2207.12598,
  algorithm 1 (hidden classes).
"""

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmnotes import data
from llmnotes.diffusion.ddpm.model import Denoiser, denoising_loss
from llmnotes.task import Task

CLASSES, LEVELS, HELD_OUT = 10, 17, 297
SHAPE = 8, 8
JUDGED = 2**62  # draws from here on are never trained on
Pictures = tuple[Tensor, Tensor]  # with their classes


@functools.cache
def digits() -> tuple[Pictures, Pictures]:
    """Pictures and classes: to learn from, and to be judged by.

    No seed changes which are held out.
    """
    images, labels = data.images("digits")
    pictures = torch.from_numpy(images) * 2 - 1
    classes = torch.from_numpy(labels).long()
    order = torch.randperm(len(classes), generator=generator(0))
    order = order[classes[order].argsort(stable=True)]  # class by class
    held = torch.arange(HELD_OUT) * len(order) // HELD_OUT
    kept = torch.ones(len(order), dtype=bool).index_fill(0, held, False)
    learn, judge = order[kept], order[held]
    return (
        (pictures[learn], classes[learn]),
        (pictures[judge], classes[judge]),
    )


def generator(*numbers: int) -> torch.Generator:
    """Draws that are a function of a few numbers."""
    seed = np.random.default_rng(numbers).integers(2**63)
    return torch.Generator().manual_seed(int(seed))


class Denoising(Task):
    """Say what is under the noise, at a t that is drawn for each picture."""

    unit, measure = "pictures", "loss"

    def __init__(
        self, learn: Pictures, judge: Pictures, *, steps: int, size: int = 128,
        seed: int = 0, drop: float = 0.0, error=F.mse_loss,
    ):  # fmt: skip
        check_drop(drop)
        self.learn, self.judge = learn, judge
        self.steps, self.size, self.seed = steps, size, seed
        self.drop, self.error = drop, error
        draw = generator(seed, JUDGED)
        self.judged = *judge, *self.noise(len(judge[0]), draw)

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pictures, classes, t from 1 to T, and noise."""
        draw = generator(self.seed, step)
        pictures, classes = self.learn
        some = torch.randint(len(pictures), (self.size,), generator=draw)
        hide = torch.rand(self.size, generator=draw) < self.drop
        classes = classes[some].masked_fill(hide, CLASSES)
        return pictures[some], classes, *self.noise(self.size, draw)

    def noise(self, size: int, draw: torch.Generator) -> tuple:
        """Each picture's t, all alike, and its noise."""
        t = torch.randint(1, self.steps + 1, (size,), generator=draw)
        return t, torch.randn(size, *self.learn[0].shape[1:], generator=draw)

    def loss(self, model: nn.Module, batch: tuple) -> Tensor:
        """How far off the network is."""
        return noise_loss(model, batch, self.error)

    def evaluate(self, model: nn.Module) -> float:
        """The same on pictures held out, always with the same noise."""
        return float(noise_loss(model, self.judged, self.error))


def noise_loss(model: Denoiser, batch: tuple, error) -> Tensor:
    """The simple loss of a batch as `Denoising` makes it."""
    x0, classes, t, noise = batch
    return denoising_loss(model, x0, t, noise, classes, error)


def check_drop(drop: float) -> None:
    """Raise `ValueError` for what is no share."""
    if not 0 <= drop <= 1:
        raise ValueError(f"drop: got {drop}, expected a share from 0 to 1")
