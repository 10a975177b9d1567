"""Captions of scenes, and back: every paraphrase is read again.

caption  = [opening] thing [phrase thing], as in
           "there is a small red circle to the left of a large blue square"
opening  = words in front that mean nothing
phrase   = one of three ways to say a relation; the canonical one is first

Sources
- Own grammar, in the manner of Johnson et al. 2017, arXiv:1612.06890: words
  from templates, so that a program knows what each sentence means.
"""

import difflib

import torch

from llmnotes.scenes.scene import (
    COLOURS,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    turned,
)

OPENINGS = ("", "there is", "we see")
PHRASES = {
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over", "higher than"),
    "below": ("below", "under", "lower than"),
}
WORDS = tuple(
    dict.fromkeys(
        word
        for text in (
            "a",
            *(SIZES + COLOURS + SHAPES),
            *(phrase for phrases in PHRASES.values() for phrase in phrases),
            *OPENINGS,
        )
        for word in text.split()
    )
)


def captions(scene: Scene) -> list[str]:
    """Every way to tell a scene, the canonical caption first.

    Three of one thing, eighteen of two: openings × phrases × sides.
    """
    bodies = [f"{opening} ".lstrip() for opening in OPENINGS]
    sides = [scene] if scene.relation is None else [scene, turned(scene)]
    told = [body for side in sides for body in _bodies(side)]
    return [opening + body for opening in bodies for body in told]


def _bodies(scene: Scene) -> list[str]:
    named = [f"a {t.size} {t.colour} {t.shape}" for t in scene.things]
    if scene.relation is None:
        return named
    return [f" {p} ".join(named) for p in PHRASES[scene.relation]]


def caption(scene: Scene, generator: torch.Generator | None = None) -> str:
    """One caption: the canonical one, or one drawn from all of them."""
    if generator is None:
        return _bodies(scene)[0]
    found = captions(scene)
    drawn = torch.randint(len(found), (), generator=generator)
    return found[int(drawn)]


def words(caption: str) -> list[str]:
    """The words of a caption; capitals and a full stop do not count.

    Raises `ValueError` that names a word which no caption has, its place
    from 0 and the nearest known word.
    """
    found = caption.lower().strip().rstrip(".").split()
    for at, word in enumerate(found):
        if word not in WORDS:
            near = difflib.get_close_matches(word, WORDS, 1, 0.0)[0]
            raise ValueError(
                f"caption: got the unknown word {word!r} at position {at}, "
                f"expected a known one; the nearest is {near!r}"
            )
    return found


def parse(caption: str) -> Scene:
    """The scene that a caption tells, in the order in which it tells it.

    Raises `ValueError` for an unknown word, and for known ones in a wrong
    order: it names the place, what came and what was expected.
    """
    reader = _Reader(words(caption))
    reader.opening()
    first = reader.thing()
    if reader.rest() == []:
        return Scene((first,))
    relation = reader.relation()
    scene = Scene((first, reader.thing()), relation)
    if reader.rest():
        reader.complain("the end")
    return scene


class _Reader:
    """Reads words from left to right."""

    def __init__(self, words: list[str]):
        self.words, self.at = words, 0

    def rest(self) -> list[str]:
        """The words that were not read."""
        return self.words[self.at :]

    def complain(self, expected: str) -> None:
        """Raise `ValueError` about the word that comes next."""
        rest = self.rest()
        got = repr(rest[0]) if rest else "the end"
        raise ValueError(
            f"caption: got {got} at position {self.at}, expected {expected}"
        )

    def skip(self, text: str) -> bool:
        """Read some words if they come next."""
        wanted = text.split()
        found = self.rest()[: len(wanted)] == wanted
        self.at += found * len(wanted)
        return found

    def opening(self) -> None:
        """Read words that mean nothing."""
        any(self.skip(opening) for opening in OPENINGS if opening)

    def one_of(self, known: tuple[str, ...]) -> str:
        """Read one word of a list."""
        for word in known:
            if self.skip(word):
                return word
        return self.complain(" or ".join(map(repr, known)))

    def thing(self) -> Thing:
        """Read "a small red circle"."""
        self.one_of(("a",))
        return Thing(*map(self.one_of, (SIZES, COLOURS, SHAPES)))

    def relation(self) -> str:
        """Read one of a relation's phrases."""
        for relation, phrases in PHRASES.items():
            if any(map(self.skip, phrases)):
                return relation
        return self.complain("where it lies, such as 'left of' or 'above'")
