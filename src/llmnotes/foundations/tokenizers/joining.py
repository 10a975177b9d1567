"""Byte pair encoding's one loop: the pair of lowest rank is joined first.

    parts = neighbours in a row, at first single bytes or characters
    rank  = how early a pair is joined; the lowest first, of equals the left

A queue holds the ranks of all pairs, so that a row of n parts takes n log n
steps and not n²: 100,000 letters without a space are no attack.

Source: Sennrich et al. 2015, "Neural Machine Translation of Rare Words with
Subword Units", arXiv 1508.07909, §3.2 (algorithm 1).
"""

import heapq
from collections.abc import Callable, Iterable


def join(parts: Iterable, rank: Callable) -> list:
    """Join neighbours until no pair has a rank.

    `rank(left, right)` says how early a pair is joined, None for never.
    """
    parts = list(parts)
    end = len(parts)
    after = [*range(1, end + 1)]  # of each part the next one
    before = [*range(-1, end)]
    waiting: list[tuple[float, int]] = []
    fresh = list(range(end - 1))  # where pairs have come about
    while fresh or waiting:
        for i in fresh:
            found = rank(parts[i], parts[after[i]])
            if found is not None:
                heapq.heappush(waiting, (found, i))
        fresh = []
        if not waiting:
            break
        lowest, i = heapq.heappop(waiting)
        j = after[i]
        gone = not parts[i] or j == end
        if gone or rank(parts[i], parts[j]) != lowest:
            continue  # one of the two has been joined meanwhile
        parts[i], parts[j] = parts[i] + parts[j], parts[j][:0]
        after[i] = after[j]
        before[after[j]] = i
        fresh = [k for k in (before[i], i) if k >= 0 and after[k] < end]
    return [part for part in parts if part]
