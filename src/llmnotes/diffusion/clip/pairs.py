"""What a CLIP of shapes learns from: pictures, captions, and who fits whom.

told   = the scenes of a batch, each with a caption of its own
copies = pictures that are drawn of each
same   = which caption says what is in which picture
block  = scenes that agree in all but one attribute, and in the relation
kept   = the attributes that the captions of a batch tell

Sources
- Radford et al. 2021, "Learning Transferable Visual Models From Natural
  Language Supervision", arXiv 2103.00020, figure 3.
- Robinson et al. 2021, "Contrastive Learning with Hard Negative Samples",
  arXiv 2010.04592 (negatives that are hard to tell apart).
- Yuksekgonul et al. 2022, "When and why vision-language models behave like
  bags-of-words", arXiv 2210.01936, §4 (negatives with words exchanged).
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes import scenes
from llmnotes.diffusion.clip.losses import clamp_scale, multi_positive_loss
from llmnotes.diffusion.clip.task import pixels, swapped
from llmnotes.scenes import (
    COLOURS,
    RELATIONS,
    SHAPES,
    SIZES,
    VOCABULARY,
    Scene,
    Thing,
    canonical,
)
from llmnotes.scenes.batches import generator_of
from llmnotes.task import Task

WORDS = {"size": SIZES, "colour": COLOURS, "shape": SHAPES}
JUDGED = 256  # pictures that the curve of a run looks at


class Pairs(Task):
    """Random scenes: find the caption of a picture, the picture of a caption.

    `objective` is a loss of logits and `same`, such as `sigmoid_loss`.
    """

    unit, measure = "pairs", "loss"

    def __init__(
        self, size: int = 64, seed: int = 0,
        objective: Callable[..., Tensor] = multi_positive_loss,
    ):  # fmt: skip
        self.size, self.seed, self.objective = size, seed, objective
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
        drawn = told * max(1, self.size // len(told))
        captions = [scenes.caption(scene, draw) for scene in told]
        same = alike([*map(canonical, drawn)], [*map(canonical, told)])
        return pixels(scenes.draw_all(drawn, draw)), encoded(captions), same

    def loss(self, model: nn.Module, batch: tuple) -> Float[Tensor, ""]:
        """The objective; before it, the scale is held at most at 100."""
        images, ids, same = batch
        clamp_scale(model.logit_scale)
        return self.objective(model(images, ids), same)

    def evaluate(self, model: nn.Module) -> float:
        """The same on other pictures."""
        return self.loss(model, self.judged).item()


class Contrasts(Pairs):
    """Blocks of scenes that differ in little, each with its exchanged twin.

    Until `first` only colours differ, which are easily seen: where they lie
    is learned by them.
    """

    first = 150
    shares = {
        ("colour",): 0.2,
        ("shape",): 0.3,
        ("size",): 0.1,
        tuple(WORDS): 0.4,
    }
    told_once = 32

    def told(self, step: int, draw: torch.Generator) -> list[Scene]:
        """Scenes of two blocks, or of one in which everything may differ."""
        words = ("colour",)
        if step >= self.first:
            words = one_of(self.shares, draw)
        return blocks(words, self.told_once, draw)


class Parts(Pairs):
    """Captions that leave out: all of a batch tell the same attributes.

    Until `first` they tell colours alone, which are easily seen.
    """

    first = 150
    shares = Contrasts.shares

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """As `Pairs`, and what is not told does not count."""
        draw = generator_of(self.seed, step)
        kept = ("colour",)
        if step >= self.first:
            kept = one_of(self.shares, draw)
        told = self.shown(kept, draw)
        drawn = told * max(1, self.size // len(told))
        captions = [
            left_out(scenes.caption(scene, draw), kept) for scene in told
        ]
        images = pixels(scenes.draw_all(drawn, draw))
        keys = [[known(one, kept) for one in part] for part in (drawn, told)]
        return images, encoded(captions), alike(*keys)

    def shown(self, kept: Sequence[str], draw: torch.Generator) -> list[Scene]:
        """The scenes of a batch."""
        return several(scenes.scenes(2), self.size, draw)


class PartsAndContrasts(Parts):
    """Captions that leave out, and blocks for those that do not."""

    told_once = Contrasts.told_once

    def shown(self, kept: Sequence[str], draw: torch.Generator) -> list[Scene]:
        """Half as many scenes, twice each; alike where all is told."""
        if len(kept) < len(WORDS):
            return several(scenes.scenes(2), self.told_once, draw)
        words = one_of(Contrasts.shares, draw)
        return blocks(words, self.told_once, draw)


class Singles(Contrasts):
    """Every fourth batch shows one thing alone."""

    def told(self, step: int, draw: torch.Generator) -> list[Scene]:
        """Scenes of one thing now and then."""
        if step % 4 == 3:
            return list(scenes.scenes(1))
        return super().told(step, draw)


def several(among: Sequence, count: int, draw: torch.Generator) -> list:
    """Some of a list, with repetition."""
    found = torch.randint(len(among), (count,), generator=draw)
    return [among[i] for i in found.tolist()]


def one_of(
    shares: dict[tuple[str, ...], float], draw: torch.Generator
) -> tuple[str, ...]:
    """One key, as often as its share says."""
    at = torch.multinomial(torch.tensor([*shares.values()]), 1, generator=draw)
    return [*shares][int(at)]


def blocks(
    words: Sequence[str], count: int, draw: torch.Generator
) -> list[Scene]:
    """Two blocks, or one in which everything may differ."""
    parts = 1 if len(words) > 1 else 2
    found = [block(words, count // parts, draw) for _ in range(parts)]
    return [*dict.fromkeys(sum(found, []))]


def block(
    words: Sequence[str], count: int, draw: torch.Generator
) -> list[Scene]:
    """Scenes that agree in all but `words` and the relation, and their twins.

    No two mean the same, none shows a held-out pair; at most `count`.
    """
    base, found = several(scenes.scenes(2), 1, draw)[0], {}
    for _ in range(6 * count):
        things = (varied(thing, words, draw) for thing in base.things)
        scene = Scene(tuple(things), several(RELATIONS, 1, draw)[0])
        if not scene.held_out:
            for one in (scene, swapped(scene)):
                found.setdefault(canonical(one), one)
        if len(found) >= count:
            break
    return [*found.values()][:count]


def varied(thing: Thing, words: Sequence[str], draw: torch.Generator) -> Thing:
    """A thing with some attributes drawn anew."""
    new = {word: several(WORDS[word], 1, draw)[0] for word in words}
    return replace(thing, **new)


def left_out(caption: str, kept: Sequence[str]) -> str:
    """A caption without the words of all other attributes."""
    gone = {w for word in WORDS if word not in kept for w in WORDS[word]}
    return " ".join(w for w in caption.split() if w not in gone)


def known(scene: Scene, kept: Sequence[str]) -> Hashable:
    """What a caption that leaves out says of a scene, from either side."""
    one = canonical(scene)
    told = (tuple(getattr(t, w) for w in kept) for t in one.things)
    return (*told, one.relation)


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
