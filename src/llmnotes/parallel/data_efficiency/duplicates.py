"""Texts that say the same: equal ones by a digest, similar ones by MinHash.

    shingles   = a text as the set of its runs of n words, as numbers below p
    J          = Jaccard similarity, |A ∩ B| / |A ∪ B|
    x → ax + b = modulo the prime p and with a ≠ 0: a permutation of 0..p-1
    signature  = the least number of a set under each of b·r permutations
    b, r       = `bands` of `rows`; texts that agree in all rows of a band are
                 a candidate, which happens with chance 1 - (1 - J^r)^b

Beware of Lee et al.: they call the rows b and the bands r.

Sources
- Broder 1997, "On the resemblance and containment of documents".
- Leskovec, Rajaraman and Ullman 2014, "Mining of Massive Datasets", §3.3-3.4.
- Lee et al. 2021, "Deduplicating Training Data Makes Language Models
  Better", arXiv 2107.06499, §4.2 and appendix A.
"""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from llmnotes.checks import check_sizes

PRIME = 2**31 - 1  # a·x + b stays below 2^63: nothing wraps
WORD = re.compile(r"\w+")
WIDE = 5  # words in a shingle
Pair = tuple[int, int]  # numbers of two texts, the lower first


def normalised(text: str) -> str:
    """Its words in lower case, one blank between them; no punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(WORD.findall(folded))


def digest(text: str, size: int = 16) -> bytes:
    """What equal texts have in common, in every process; not so `hash`."""
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


def first_of_each(texts: Sequence[str]) -> list[int]:
    """The number of the first among texts of the same words.

    A text without words counts as written: a row of dashes is no duplicate
    of a row of dots.
    """
    first = {}
    for i, text in enumerate(texts):
        first.setdefault(digest(normalised(text) or text), i)
    return list(first.values())


def shingles(text: str, wide: int = WIDE) -> np.ndarray:
    """Sorted numbers below p, one for each run of so many words.

    A text of fewer words is one run, a text without words none.
    """
    check_sizes(wide=wide)
    words = normalised(text).split()
    runs = range(max(1, len(words) - wide + 1)) if words else ()
    said = {" ".join(words[i : i + wide]) for i in runs}
    found = {int.from_bytes(digest(one, 8)) % PRIME for one in said}
    return np.array(sorted(found), np.uint64)


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """|A ∩ B| / |A ∪ B|; 0 where both are empty."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)


def chance(similarity: float, *, bands: int, rows: int) -> float:
    """That two texts agree in all rows of at least one band.

    Source: Leskovec et al. 2014, §3.4.2.
    """
    check_sizes(bands=bands, rows=rows)
    return 1 - (1 - similarity**rows) ** bands


def threshold(*, bands: int, rows: int) -> float:
    """Roughly the similarity at which that chance climbs: (1/b)^{1/r}."""
    check_sizes(bands=bands, rows=rows)
    return (1 / bands) ** (1 / rows)


@dataclass(frozen=True)
class MinHash:
    """Signatures of sets, a function of the seed.

    Raises `ValueError` for less than one band or row.
    """

    bands: int
    rows: int
    seed: int = 0

    def __post_init__(self):
        check_sizes(bands=self.bands, rows=self.rows)

    def permutations(self) -> tuple[np.ndarray, np.ndarray]:
        """The numbers a, from 1 to p-1, and b, from 0 to p-1."""
        count = self.bands * self.rows
        bits = np.random.Philox(key=[self.seed, 0]).random_raw(2 * count)
        a, b = bits[:count], bits[count:]
        return a % np.uint64(PRIME - 1) + np.uint64(1), b % np.uint64(PRIME)

    def signature(self, numbers: np.ndarray) -> np.ndarray:
        """(bands, rows) of the least numbers; the set must not be empty."""
        a, b = (x.reshape(self.bands, -1, 1) for x in self.permutations())
        bands = zip(a, b, strict=True)  # one at a time: a set may be large
        return np.stack([
            ((a * numbers + b) % np.uint64(PRIME)).min(axis=1)
            for a, b in bands
        ])  # fmt: skip

    def candidates(self, sets: Sequence[np.ndarray]) -> set[Pair]:
        """Pairs that agree in a band. Empty sets agree with nobody."""
        buckets = defaultdict(list)
        for i, numbers in enumerate(sets):
            if len(numbers):
                for band, least in enumerate(self.signature(numbers)):
                    buckets[band, least.tobytes()].append(i)
        return {p for b in buckets.values() for p in combinations(b, 2)}


def verified(
    sets: Sequence[np.ndarray], candidates: set[Pair], least: float
) -> dict[Pair, float]:
    """Candidates whose true similarity is at least so much.

    A shared bucket is a hint, not a similarity.
    """
    if not 0 < least <= 1:
        raise ValueError(f"least: got {least}, expected above 0, at most 1")
    found = {(i, j): jaccard(sets[i], sets[j]) for i, j in sorted(candidates)}
    return {pair: j for pair, j in found.items() if j >= least}


def joined(count: int, pairs: set[Pair]) -> list[int]:
    """One text of each cluster, the first: union-find.

    A chain of neighbours is one cluster, however far apart its ends are.
    """
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for i, j in pairs:
        low, high = sorted((root(i), root(j)))
        parent[high] = low
    return [i for i in range(count) if parent[i] == i]


def greedy(count: int, pairs: set[Pair]) -> list[int]:
    """Texts in order, without those that are similar to a kept one."""
    earlier = defaultdict(set)
    for i, j in pairs:
        earlier[max(i, j)].add(min(i, j))
    kept: set[int] = set()
    for i in range(count):
        if not earlier[i] & kept:
            kept.add(i)
    return sorted(kept)
