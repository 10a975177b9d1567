"""What priors and decoders learn from: captioned shapes as CLIP sees them.

Known = embeddings of many pairs, made once: CLIP is frozen, and a prior
        that had to wait for it at every step would learn ten times slower
batch = a function of (seed, step)
drop  = share of embeddings hidden from a decoder

Sources
- Ramesh et al. 2022, "DALL·E 2", arXiv 2204.06125, §2 (both are trained on
  pairs, CLIP stays as it is), §2.1 (a tenth hidden).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes import scenes
from llmnotes.diffusion.clip import CLIP
from llmnotes.diffusion.dalle2.decoding import told
from llmnotes.diffusion.dalle2.embeddings import scaled
from llmnotes.diffusion.dalle2.priors import Prior
from llmnotes.diffusion.ddpm import Denoiser
from llmnotes.diffusion.ddpm.task import check_drop, generator
from llmnotes.diffusion.glide.task import (
    JUDGED,
    emphasised_loss,
    pixels,
    spread,
)
from llmnotes.diffusion.guidance import dropped
from llmnotes.modes import evaluating
from llmnotes.scenes import VOCABULARY, Scene
from llmnotes.task import Task

PIECE = 256  # pictures that CLIP looks at together


@dataclass(frozen=True)
class Known:
    """Scaled embeddings of captions and of their pictures, and the scenes."""

    texts: Float[Tensor, "examples features"]
    images: Float[Tensor, "examples features"]
    scenes: list[Scene]

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.images)


def known(
    clip: CLIP, count: int, *, among: Sequence[Scene] | None = None,
    seed: int = 0, split: str = "train",
) -> Known:  # fmt: skip
    """Draw pairs, and look at each once."""
    texts, images, shown = [], [], []
    for first in range(0, count, PIECE):
        drawn = scenes.batch(
            seed, first, min(PIECE, count - first), among, split=split
        )
        texts.append(of_captions(clip, drawn.captions))
        images.append(of_pictures(clip, drawn.images))
        shown += drawn.scenes
    return Known(torch.cat(texts), torch.cat(images), shown)


def of_captions(
    clip: CLIP, captions: Sequence[str]
) -> Float[Tensor, "batch features"]:
    """Scaled embeddings of captions."""
    with evaluating(clip):
        return scaled(clip.embed_texts(VOCABULARY.encode(captions)))


def of_pictures(
    clip: CLIP, pictures: Float[Tensor, "batch channels rows columns"]
) -> Float[Tensor, "batch features"]:
    """Scaled embeddings of pictures, which go from 0 to 1."""
    with evaluating(clip):
        return scaled(clip.embed_images(pixels(pictures)))


class Guessing(Task):
    """Say a picture's embedding, given its caption's."""

    unit, measure = "pairs", "loss"

    def __init__(
        self, learned: Known, judged: Known, *, size: int = 256, seed: int = 0
    ):
        self.learned, self.judged = learned, judged
        self.size, self.seed = size, seed

    def batch(self, step: int) -> tuple[Tensor, Tensor, torch.Generator]:
        """Captions, pictures, and what all other draws come from."""
        draw = generator(self.seed, step)
        some = torch.randint(len(self.learned), (self.size,), generator=draw)
        return self.learned.texts[some], self.learned.images[some], draw

    def loss(self, model: Prior, batch: tuple) -> Tensor:
        """The prior's own."""
        return model.loss(*batch)

    def evaluate(self, model: Prior) -> float:
        """The same on other pairs, always with the same draws."""
        judged = self.judged.texts, self.judged.images, generator(0)
        return self.loss(model, judged).item()


class Decoding(Task):
    """Say what is under the noise, told what CLIP saw in it."""

    unit, measure = "pictures", "loss"

    def __init__(
        self, clip: CLIP, *, steps: int, among: Sequence[Scene] | None = None,
        size: int = 32, seed: int = 0, drop: float = 0.1,
    ):  # fmt: skip
        check_drop(drop)
        self.clip, self.among, self.steps = clip, among, steps
        self.size, self.seed, self.drop = size, seed, drop
        drawn = scenes.batch(0, 0, JUDGED, among, split="test")
        self.judged = self.noised(drawn, generator(0))

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pictures, embeddings, t from 1 to T, and noise."""
        drawn = scenes.batch(self.seed, step, self.size, self.among)
        draw = generator(self.seed, step)
        x0, images, t, noise = self.noised(drawn, draw)
        nothing = torch.zeros_like(images)
        seen = dropped(images, nothing, self.drop, generator=draw)
        return x0, seen, t, noise

    def noised(self, drawn: scenes.Batch, draw: torch.Generator) -> tuple:
        """A batch, with a t for each picture and its noise."""
        x0, images = pixels(drawn.images), of_pictures(self.clip, drawn.images)
        t = spread(len(x0), self.steps, draw)
        return x0, told(images), t, torch.randn(x0.shape, generator=draw)

    def loss(self, model: Denoiser, batch: tuple) -> Tensor:
        """How far off the network is."""
        x0, images, t, noise = batch
        return emphasised_loss(model, x0, t, noise, images)

    def evaluate(self, model: nn.Module) -> float:
        """The same on other pictures, always with the same noise."""
        return self.loss(model, self.judged).item()
