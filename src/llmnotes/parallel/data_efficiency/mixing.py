"""Several sources in one stream: how often each is drawn, and when to stop.

    weights = p, the share of the draws that each source gets
    epochs  = n·p/size: how often each of its rows is seen after n draws
    sources = numbers of sources, one a draw
    rule    = "first_exhausted": stop when a source has been read to its end;
              "all_exhausted": when all have, while short ones begin anew

Names of rules are those of `datasets.interleave_datasets`.

Sources
- Xie et al. 2023, "DoReMi: Optimizing Data Mixtures Speeds Up Language Model
  Pretraining", arXiv 2305.10429, §1 (weights as the thing to choose).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle

import numpy as np

RULES = "first_exhausted", "all_exhausted"
CHUNK = 1024  # draws that are made at once


def shares(weights: Sequence[float]) -> np.ndarray:
    """Weights that add up to 1; `ValueError` unless all are above 0."""
    found = np.asarray(weights, float)
    fine = (found > 0) & np.isfinite(found)
    if found.ndim != 1 or not len(found) or not fine.all():
        raise ValueError(f"weights: got {weights}, expected numbers above 0")
    return found / found.sum()


def epochs(
    weights: Sequence[float], sizes: Sequence[int], draws: int
) -> list[float]:
    """How often each source is read, on average, in so many draws."""
    check_sources(sizes, weights)
    read = draws * shares(weights) / np.asarray(sizes)
    return read.tolist()


def check_sources(sizes: Sequence[int], weights: Sequence[float]) -> None:
    """Raise `ValueError` unless every source has a size and a weight."""
    if len(sizes) != len(weights) or not len(sizes):
        raise ValueError(
            f"weights: got {len(weights)}, expected one for each of "
            f"{len(sizes)} sources"
        )
    if min(sizes) < 1:
        raise ValueError(
            f"sizes: got {list(sizes)}, expected at least 1 row in each"
        )


def drawn(weights: Sequence[float], seed: int) -> Iterator[int]:
    """Numbers of sources, for ever; a function of the seed."""
    edges = shares(weights).cumsum()[:-1]
    for chunk in range(2**63):
        bits = np.random.Philox(key=[seed, chunk]).random_raw(CHUNK)
        where = (bits >> np.uint64(11)) * 2.0**-53  # in [0, 1)
        yield from np.searchsorted(edges, where, side="right").tolist()


def in_turn(count: int) -> Iterator[int]:
    """Numbers of sources, one after the other, for ever."""
    return cycle(range(count))


def interleaved(
    sizes: Sequence[int],
    sources: Iterable[int],
    rule: str = "first_exhausted",
) -> list[tuple[int, int]]:
    """(source, row) of each draw, until the rule says stop.

    Raises `ValueError` for another rule, a source without rows, a number
    that is no source's, and sources that end before the rule says stop.
    """
    if rule not in RULES:
        raise ValueError(
            f"rule: got {rule!r}, expected one of {', '.join(RULES)}"
        )
    check_sources(sizes, sizes)
    stop = any if rule == "first_exhausted" else all
    read, found = [0] * len(sizes), []
    for source in sources:
        if not 0 <= source < len(sizes):
            raise ValueError(
                f"sources: got {source}, expected 0 to {len(sizes) - 1}"
            )
        found.append((source, read[source] % sizes[source]))
        read[source] += 1
        if stop(r >= size for r, size in zip(read, sizes, strict=True)):
            return found
    raise ValueError(
        f"sources: got {len(found)}, expected more: {rule} is not reached"
    )
