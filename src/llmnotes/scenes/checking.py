"""Reads a picture back into a scene, and says what of a caption is right.

verdict = one yes or no for each attribute, and for all of them together

Two things are matched with the two of the caption in the way that makes most
of it right. A picture with another number of things has nothing right.

Sources
- The idea, a program that reads attributes and relations back from generated
  pictures: Gokhale et al. 2022, arXiv:2212.10015 (VISOR), with a detector in
  place of our rules.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.scenes.looking import Seen, look
from llmnotes.scenes.scene import (
    COLOURS,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    canonical,
)
from llmnotes.scenes.telling import parse

WORDS = ("size", "colour", "shape")
CHUNK = 256  # pictures looked at together: they stay in the cache
DIAGONAL = 0.8  # short way per long way; drawn scenes stay below 0.65


@dataclass(frozen=True)
class Found:
    """One thing of a picture; a word is None where that is not clear."""

    size: str | None
    colour: str | None
    shape: str | None
    centre: tuple[float, float]

    @property
    def thing(self) -> Thing | None:
        """The thing, if all of it is clear."""
        words = self.size, self.colour, self.shape
        return None if None in words else Thing(*words)


@dataclass(frozen=True)
class Verdict:
    """What of a scene a picture shows; `all` is whether nothing is wrong."""

    number: bool
    sizes: bool
    colours: bool
    shapes: bool
    relation: bool

    @property
    def all(self) -> bool:
        """Whether everything is right."""
        return all(asdict(self).values())


WRONG = Verdict(False, False, False, False, False)


def found(
    images: Float[Tensor, "batch channels rows columns"],
) -> list[tuple[Found, ...]]:
    """The things of each picture, the larger blob first.

    Three stand for three or more, the third without words. Raises
    `ValueError` for pictures that `looking.look` refuses.
    """
    return [
        things
        for start in range(0, len(images), CHUNK)
        for things in _named(look(images[start : start + CHUNK]))
    ]


def _named(seen: Seen) -> Iterator[tuple[Found, ...]]:
    """The words of what was seen."""
    rows = zip(
        seen.number.tolist(),
        seen.size.tolist(),
        seen.colour.tolist(),
        seen.shape.tolist(),
        seen.centre.tolist(),
        strict=True,
    )
    unknown = Found(None, None, None, (0.0, 0.0))
    for number, *columns in rows:
        things = [
            Found(
                _word(SIZES, size),
                _word(COLOURS, colour),
                _word(SHAPES, shape),
                (centre[0], centre[1]),
            )
            for size, colour, shape, centre in zip(*columns, strict=True)
        ]
        yield tuple([*things, unknown][: min(number, 3)])


def _word(words: tuple[str, ...], index: int) -> str | None:
    return words[index] if index >= 0 else None


def relation_of(one: Found, other: Found) -> str | None:
    """Where one thing lies seen from another, None on the diagonal.

    The longer of both ways tells; nearly equal ones tell nothing.
    """
    right = one.centre[0] - other.centre[0]
    down = one.centre[1] - other.centre[1]
    short, long = sorted((abs(right), abs(down)))
    if short >= DIAGONAL * long:
        return None
    if abs(right) > abs(down):
        return "right of" if right > 0 else "left of"
    return "below" if down > 0 else "above"


def read(image: Float[Tensor, "channels rows columns"]) -> Scene | None:
    """The scene that a picture shows, canonical; None if that is not clear."""
    return read_all(image[None])[0]


def read_all(
    images: Float[Tensor, "batch channels rows columns"],
) -> list[Scene | None]:
    """The scene of each picture, see `read`."""
    return [_scene(things) for things in found(images)]


def _scene(things: tuple[Found, ...]) -> Scene | None:
    clear = tuple(one.thing for one in things)
    if len(things) not in (1, 2) or None in clear:
        return None
    if len(things) == 1:
        return Scene(clear)
    relation = relation_of(*things)
    return relation and canonical(Scene(clear, relation))


def verdict(
    image: Float[Tensor, "channels rows columns"], scene: Scene | str
) -> Verdict:
    """What of a scene, or of its caption, a picture shows."""
    return verdicts(image[None], [scene])[0]


def verdicts(
    images: Float[Tensor, "batch channels rows columns"],
    scenes: Sequence[Scene | str],
) -> list[Verdict]:
    """The verdict on each picture by its scene or caption.

    Raises `ValueError` for unequally many, and for captions that `parse`
    refuses.
    """
    check_pairs("scenes", scenes, images)
    wanted = [parse(s) if isinstance(s, str) else s for s in scenes]
    return list(map(_verdict, found(images), wanted))


def check_pairs(name: str, given: Sequence | Tensor, images: Tensor) -> None:
    """Raise `ValueError` unless there is one for each picture."""
    if len(given) != len(images):
        raise ValueError(
            f"{name}: got {len(given)}, expected {len(images)}, one for each "
            "picture"
        )


def _verdict(things: tuple[Found, ...], scene: Scene) -> Verdict:
    """The best verdict over both ways to match two things."""
    if len(things) != len(scene.things):
        return WRONG
    ways = itertools.permutations(things)
    return max((_matched(way, scene) for way in ways), key=_score)[1]


def _matched(things: tuple[Found, ...], scene: Scene) -> tuple[int, Verdict]:
    """How many words are right in one matching, and its verdict."""
    right = [
        [getattr(one, word) == getattr(wanted, word) for word in WORDS]
        for one, wanted in zip(things, scene.things, strict=True)
    ]
    lies = scene.relation is None or relation_of(*things) == scene.relation
    sizes, colours, shapes = map(all, zip(*right, strict=True))
    count = sum(map(sum, right)) + lies
    return count, Verdict(True, sizes, colours, shapes, lies)


def _score(matched: tuple[int, Verdict]) -> int:
    return matched[0]


def shifts(
    images: Float[Tensor, "batch channels rows columns"],
    others: Float[Tensor, "examples channels rows columns"],
) -> Float[Tensor, "batch"]:
    """How far the things of pictures lie from those of others, in pixels.

    The mean distance of centres of mass, matched so that it is smallest,
    whatever the things look like; nan where their number differs or is not
    1 or 2. Raises `ValueError` for unequally many pictures.
    """
    check_pairs("others", others, images)
    pairs = zip(found(images), found(others), strict=True)
    return torch.tensor([_shift(one, other) for one, other in pairs])


def _shift(things: tuple[Found, ...], others: tuple[Found, ...]) -> float:
    if len(things) != len(others) or len(things) not in (1, 2):
        return math.nan
    ways = itertools.permutations([one.centre for one in others])
    here = [one.centre for one in things]
    return min(sum(map(math.dist, here, way)) for way in ways) / len(here)


def share_right(
    images: Float[Tensor, "batch channels rows columns"],
    scenes: Sequence[Scene | str],
) -> dict[str, float]:
    """Share of pictures that show each attribute of their scene, and all.

    Raises `ValueError` as `verdicts` does, and for no picture at all.
    """
    if not len(images):
        raise ValueError("images: got none, expected at least one")
    said = verdicts(images, scenes)
    names = [*asdict(said[0]), "all"]
    return {
        name: sum(getattr(one, name) for one in said) / len(said)
        for name in names
    }
