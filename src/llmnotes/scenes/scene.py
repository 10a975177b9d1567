"""What a picture of the shapes shows: one or two things and a relation.

thing   = size, colour and shape: "a small red circle"
scene   = one thing, or two and where the first lies seen from the second
meaning = what stays when a scene is told from the other side: "A left of B"
          and "B right of A" are two scenes and one meaning
HELD_OUT = pairs of colour and shape that are never trained on

Sources
- Johnson et al. 2017, arXiv:1612.06890 (CLEVR): things with attributes and
  relations, drawn by a program; pairs of attributes are held out (CoGenT).
"""

import functools
import itertools
from dataclasses import dataclass

SIZES = ("small", "large")
COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "triangle")
OPPOSITE = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
}
RELATIONS = tuple(OPPOSITE)
CANONICAL = ("left of", "above")
# Each colour keeps two of its shapes at least, each shape three colours.
HELD_OUT = (("red", "triangle"), ("green", "circle"), ("blue", "square"))


@dataclass(frozen=True)
class Thing:
    """One thing; `ValueError` for a word that is not on its list."""

    size: str
    colour: str
    shape: str

    def __post_init__(self):
        check_word("size", self.size, SIZES)
        check_word("colour", self.colour, COLOURS)
        check_word("shape", self.shape, SHAPES)

    @property
    def held_out(self) -> bool:
        """Whether its pair of colour and shape is never trained on."""
        return (self.colour, self.shape) in HELD_OUT


@dataclass(frozen=True)
class Scene:
    """One thing, or two and the place of the first seen from the second.

    Raises `ValueError` for another number of things, and for a relation
    that is missing, unknown or too much.
    """

    things: tuple[Thing, ...]
    relation: str | None = None

    def __post_init__(self):
        if len(self.things) not in (1, 2):
            raise ValueError(
                f"things: got {len(self.things)} of them, expected 1 or 2"
            )
        if len(self.things) == 2:
            check_word("relation", self.relation, RELATIONS)
        elif self.relation is not None:
            raise ValueError(
                f"relation: got {self.relation!r}, expected None for one thing"
            )

    @property
    def held_out(self) -> bool:
        """Whether it shows a pair that is never trained on."""
        return any(thing.held_out for thing in self.things)


def check_word(name: str, word: str | None, known: tuple[str, ...]) -> None:
    """Raise `ValueError` unless a word is one of those known."""
    if word not in known:
        raise ValueError(
            f"{name}: got {word!r}, expected one of {', '.join(known)}"
        )


def turned(scene: Scene) -> Scene:
    """The same meaning told from the other side; one thing stays as it is."""
    if scene.relation is None:
        return scene
    return Scene(scene.things[::-1], OPPOSITE[scene.relation])


def canonical(scene: Scene) -> Scene:
    """The one of the two ways to tell it that says `left of` or `above`."""
    told = scene.relation is None or scene.relation in CANONICAL
    return scene if told else turned(scene)


def same(one: Scene, other: Scene) -> bool:
    """Whether two scenes mean the same."""
    return canonical(one) == canonical(other)


def things(held_out: bool | None = False) -> tuple[Thing, ...]:
    """All things: 18 to train on, the 6 held out, or with None the 24."""
    every = itertools.product(SIZES, COLOURS, SHAPES)
    found = (Thing(*words) for words in every)
    return tuple(t for t in found if held_out in (None, t.held_out))


@functools.cache
def scenes(
    objects: int = 2, held_out: bool | None = False
) -> tuple[Scene, ...]:
    """All scenes of one or two things, each two told from both sides.

    Of two things 1,296 to train on, 1,008 that show a held-out pair, or
    with None the 2,304. Raises `ValueError` for another number of objects.
    """
    if objects not in (1, 2):
        raise ValueError(f"objects: got {objects}, expected 1 or 2")
    if objects == 1:
        return tuple(Scene((thing,)) for thing in things(held_out))
    both = itertools.product(things(None), things(None), RELATIONS)
    found = (Scene((a, b), relation) for a, b, relation in both)
    return tuple(s for s in found if held_out in (None, s.held_out))
