"""Sets of an exact similarity, and graphs to cluster."""

import random
from itertools import combinations

import numpy as np

from llmnotes.parallel.data_efficiency.duplicates import PRIME, MinHash

CHAIN = range(50)


def similar_sets(similarity, rng, size=40):
    """Two sets of random numbers whose Jaccard similarity is exact.

    Of `size` numbers in both together, so many are shared.
    """
    numbers = rng.sample(range(PRIME), size)
    shared = round(similarity * size)
    assert shared == similarity * size and (size - shared) % 2 == 0
    half = (size - shared) // 2
    one, other = numbers[: shared + half], numbers[:shared]
    other += numbers[shared + half :]
    return np.array(one, np.uint64), np.array(other, np.uint64)


def hits(similarity, *, bands, rows, count, seed=0):
    """The share of pairs of that similarity that are candidates."""
    rng, minhash = random.Random(seed), MinHash(bands, rows, seed)
    found = 0
    for _ in range(count):
        one, other = map(minhash.signature, similar_sets(similarity, rng))
        found += bool((one == other).all(axis=1).any())
    return found / count


def pairs_of(count, rng):
    """A random graph of few edges."""
    every = list(combinations(range(count), 2))
    return set(rng.sample(every, min(len(every), count // 2)))


def squares(count, pairs):
    """The least member of each cluster, by a search from every text."""
    beside = {i: {i} for i in range(count)}
    for i, j in pairs:
        beside[i].add(j)
        beside[j].add(i)
    for _ in range(count):
        beside = {
            i: set().union(*(beside[j] for j in near))
            for i, near in beside.items()
        }
    return sorted({min(near) for near in beside.values()})
