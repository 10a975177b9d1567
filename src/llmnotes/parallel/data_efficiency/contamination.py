"""What of a text another text holds as well: runs of n words.

    n    = 13 words, lower case, without punctuation
    Span = where in the validation text, and where in the training text

A text of fewer words than n has no run of n words and is never found.

Sources
- Brown et al. 2020, "GPT-3", arXiv 2005.14165, appendix C (n = 13).
- Radford et al. 2019, "GPT-2", §4 (8-grams, normalised).
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from llmnotes.checks import check_sizes
from llmnotes.parallel.data_efficiency.duplicates import digest

LONG = 13  # words in a run
WORD = re.compile(r"\w[\w\u0300-\u036f]*")  # accents may stand apart


class Span(NamedTuple):
    """Characters start to stop of a text stand, from `at` on, in another."""

    start: int
    stop: int
    at: int


class Words(NamedTuple):
    """The words of a text, and where in it each begins and ends."""

    said: list[str]
    begins: list[int]
    ends: list[int]


def words(text: str) -> Words:
    """Words in lower case, with their places in the text as it is."""
    found = list(WORD.finditer(text))
    said = [unicodedata.normalize("NFKC", m[0]).casefold() for m in found]
    return Words(said, [m.start() for m in found], [m.end() for m in found])


def runs_of(said: list[str], n: int) -> Iterator[bytes]:
    """A digest of every run of n words."""
    for i in range(len(said) - n + 1):
        yield digest(" ".join(said[i : i + n]), 8)


class Index:
    """All runs of n words of a training text, each with its first place.

    Raises `ValueError` for n below 1.
    """

    def __init__(self, training: str, n: int = LONG):
        check_sizes(n=n)
        self.n, known = n, words(training)
        self.places: dict[bytes, int] = {}
        for i, run in enumerate(runs_of(known.said, n)):
            self.places.setdefault(run, known.begins[i])

    def found(self, text: str) -> list[Span]:
        """What of the text is known; runs that overlap are one span."""
        read, spans = words(text), []
        for i, run in enumerate(runs_of(read.said, self.n)):
            if run not in self.places:
                continue
            start, stop = read.begins[i], read.ends[i + self.n - 1]
            if spans and start <= spans[-1].stop:
                spans[-1] = spans[-1]._replace(stop=stop)
            else:
                spans.append(Span(start, stop, self.places[run]))
        return spans

    def share(self, text: str) -> float:
        """The share of the words that lie in a span."""
        read, spans = words(text), self.found(text)
        inside = sum(
            any(span.start <= begin < span.stop for span in spans)
            for begin in read.begins
        )
        return inside / max(1, len(read.said))
