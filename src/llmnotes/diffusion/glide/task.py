"""Captioned shapes to draw, and a program that says what was drawn right.

x0    = a picture of 16 × 16 in three colours, from -1 to 1
among = scenes of one or of two things; those that show a held-out pair of
        colour and shape are never learned from
batch = a function of (seed, step): pictures, ids of captions, t and noise
drop  = share of captions replaced by the empty one
right = share of pictures that show an attribute of their captions; "all"
        if nothing is wrong

Sources
- Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv
  2006.11239 (algorithm 1).
- Nichol et al. 2022, "GLIDE", arXiv 2112.10741, §4.2 (a fifth of the
  captions empty).
- Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting
  Strategy", arXiv 2303.09556, eq. 6 (at most 5).
- Salimans & Ho 2022, "Progressive Distillation", arXiv 2202.00512, §4 (at
  least 1).
- Kingma et al. 2021, "Variational Diffusion Models", arXiv 2107.00630,
  appendix I.1 (t spread evenly over a batch).
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes import scenes
from llmnotes.diffusion.ddpm import Denoiser
from llmnotes.diffusion.ddpm.task import check_drop, generator
from llmnotes.diffusion.guidance import dropped
from llmnotes.scenes import VOCABULARY, Scene
from llmnotes.task import Task

JUDGED = 256  # pictures that the curve of a run looks at
MOST = 5.0  # what an error weighs at most, where there is little noise
EMPTY = tuple(VOCABULARY.encode([""])[0].tolist())


def pixels(
    images: Float[Tensor, "batch channels rows columns"],
) -> Float[Tensor, "batch channels rows columns"]:
    """Pictures as the network takes them: from -1 to 1."""
    return 2 * images - 1


def shown(
    x: Float[Tensor, "batch channels rows columns"],
) -> Float[Tensor, "batch channels rows columns"]:
    """What the network drew, as pictures from 0 to 1."""
    return ((x + 1) / 2).clamp(0, 1)


class Drawing(Task):
    """Say what is under the noise, having read a caption."""

    unit, measure = "pictures", "loss"

    def __init__(
        self, among: Sequence[Scene], *, steps: int, size: int = 64,
        seed: int = 0, drop: float = 0.1,
    ):  # fmt: skip
        check_drop(drop)
        self.among, self.steps, self.size = among, steps, size
        self.seed, self.drop = seed, drop
        self.judged = self.noised(
            scenes.batch(0, 0, JUDGED, among, split="test"), generator(0)
        )

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pictures, ids, t from 1 to T, and noise."""
        drawn = scenes.batch(self.seed, step, self.size, self.among)
        draw = generator(self.seed, step)
        x0, ids, t, noise = self.noised(drawn, draw)
        empty = torch.tensor(EMPTY).expand_as(ids)
        return x0, dropped(ids, empty, self.drop, generator=draw), t, noise

    def noised(self, drawn: scenes.Batch, draw: torch.Generator) -> tuple:
        """A batch, with a t for each picture and its noise."""
        x0, ids = pixels(drawn.images), VOCABULARY.encode(drawn.captions)
        t = spread(len(x0), self.steps, draw)
        return x0, ids, t, torch.randn(x0.shape, generator=draw)

    def loss(self, model: Denoiser, batch: tuple) -> Tensor:
        """How far off the network's picture is, more where it is clear."""
        x0, ids, t, noise = batch
        return emphasised_loss(model, x0, t, noise, ids)

    def evaluate(self, model: nn.Module) -> float:
        """The same on other pictures, always with the same noise."""
        return self.loss(model, self.judged).item()


def emphasised_loss(
    model: Denoiser,
    x0: Float[Tensor, "batch *shape"],
    t: Int[Tensor, "batch"],
    noise: Float[Tensor, "batch *shape"],
    condition: Any = None,
) -> Float[Tensor, ""]:
    """Squared error of x_0, times SNR between 1 and `MOST`.

    Where much noise lies, the layout is learned; where little, the edges,
    whose errors are small and would count for nothing.

    Source: Hang et al. 2023, eq. 6; Salimans & Ho 2022, §4.
    """
    schedule = model.schedule
    alpha, sigma = schedule.alpha(t, x0), schedule.sigma(t, x0)
    weight = (alpha / sigma).square().clamp(1, MOST)
    guess = model.data(schedule.noisy(x0, t, noise), t, condition)
    return (weight * (guess - x0).square()).mean()


def spread(
    size: int, steps: int, draw: torch.Generator
) -> Int[Tensor, "batch"]:
    """A t for each picture, from 1 to T: one draw, then even gaps.

    Each alone is uniform; together they cover all noise levels in every
    batch, and the loss is less noisy. Source: Kingma et al. 2021, I.1.
    """
    first = torch.rand((), generator=draw, dtype=torch.float64)
    places = (first + torch.arange(size) / size) % 1
    return (places * steps).long() + 1
