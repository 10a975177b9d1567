"""What a CLIP of shapes learns from: pictures, captions, and who fits whom.

told   = the scenes of a batch, each with a picture and a caption
same   = which caption says what is in which picture
family = a scene and what comes of it when its things exchange attributes

Sources
- Radford et al. 2021, "Learning Transferable Visual Models From Natural
  Language Supervision", arXiv 2103.00020, figure 3.
- Robinson et al. 2021, "Contrastive Learning with Hard Negative Samples",
  arXiv 2010.04592 (negatives that are hard to tell apart).
- Yuksekgonul et al. 2022, "When and why vision-language models behave like
  bags-of-words", arXiv 2210.01936, §4 (negatives with words exchanged).
"""

import functools
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, combinations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes import scenes
from llmnotes.diffusion.clip.losses import clamp_scale, multi_positive_loss
from llmnotes.diffusion.clip.task import pixels
from llmnotes.scenes import VOCABULARY, Scene, canonical
from llmnotes.scenes.batches import generator_of
from llmnotes.task import Task

WORDS = "size", "colour", "shape"
JUDGED = 256  # pictures that the curve of a run looks at


class Pairs(Task):
    """Random scenes: find a picture's caption, and a caption's picture."""

    unit, measure = "pairs", "loss"

    def __init__(self, size: int = 64, seed: int = 0):
        self.size, self.seed = size, seed
        drawn = scenes.batch(0, 0, JUDGED, split="test")
        keys = [*map(canonical, drawn.scenes)]
        self.judged = (
            pixels(drawn.images), encoded(drawn.captions), alike(keys, keys)
        )  # fmt: skip

    def told(self, step: int, draw: torch.Generator) -> list[Scene]:
        """The scenes of a batch."""
        return several(scenes.scenes(2), self.size, draw)

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures, ids of captions, and who fits whom."""
        draw = generator_of(self.seed, step)
        told = self.told(step, draw)
        captions = [scenes.caption(scene, draw) for scene in told]
        keys = [*map(canonical, told)]
        images = pixels(scenes.draw_all(told, draw))
        return images, encoded(captions), alike(keys, keys)

    def loss(self, model: nn.Module, batch: tuple) -> Float[Tensor, ""]:
        """The loss; before it, the scale is held at most at 100."""
        images, ids, same = batch
        clamp_scale(model.logit_scale)
        return multi_positive_loss(model(images, ids), same)

    def evaluate(self, model: nn.Module) -> float:
        """The same on other pictures."""
        return self.loss(model, self.judged).item()


class Exchanges(Pairs):
    """Scenes beside those in which their two things exchanged something."""

    def told(self, step: int, draw: torch.Generator) -> list[Scene]:
        """Families, until the batch is full; the last may be cut."""
        found = []
        while len(found) < self.size:
            found += family(several(scenes.scenes(2), 1, draw)[0])
        return found[: self.size]


def several(among: Sequence, count: int, draw: torch.Generator) -> list:
    """Some of a list, with repetition."""
    found = torch.randint(len(among), (count,), generator=draw)
    return [among[i] for i in found.tolist()]


@functools.cache
def family(scene: Scene) -> tuple[Scene, ...]:
    """A scene and all that come of it when its things exchange attributes.

    Up to eight: each of size, colour and shape stays or is exchanged. None
    shows a held-out pair, no two mean the same.
    """
    found: dict[Scene, Scene] = {}
    for words in subsets(WORDS):
        one = exchanged(scene, words)
        if not one.held_out:
            found.setdefault(canonical(one), one)
    return tuple(found.values())


def exchanged(scene: Scene, words: Sequence[str]) -> Scene:
    """The same scene, but both things have exchanged these attributes."""
    a, b = scene.things
    first = replace(a, **{word: getattr(b, word) for word in words})
    second = replace(b, **{word: getattr(a, word) for word in words})
    return Scene((first, second), scene.relation)


def subsets(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """None of them, each, each two, all."""
    sizes = range(len(words) + 1)
    return chain.from_iterable(combinations(words, n) for n in sizes)


def alike(
    images: Sequence[Hashable], texts: Sequence[Hashable]
) -> Bool[Tensor, "images texts"]:
    """Which of them are equal."""
    numbers = {key: i for i, key in enumerate(dict.fromkeys(texts))}
    a, b = (torch.tensor([numbers[k] for k in keys])
            for keys in (images, texts))  # fmt: skip
    return a[:, None] == b


def encoded(captions: Sequence[str]) -> Int[Tensor, "texts length"]:
    """Ids, cut behind the end of the longest caption."""
    ids = VOCABULARY.encode(captions)
    return ids[:, : int(ids.argmax(1).max()) + 1]
