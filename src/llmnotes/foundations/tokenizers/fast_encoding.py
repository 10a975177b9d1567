"""The compiled loop behind `ByteBPE`.

    s      = bytes of the text
    kinds  = code of each code point's kind; 0: not asked yet
    cache  = words met in this text, and where in `out` their ids stand
    made   = rank -> id of what is joined

A word is cut off, and one that was met before costs one look-up. In a file of
ranks a word that is a piece costs another; only what is left is joined.
Words of 256 bytes and more are joined with a queue, as by `joining.join`.
"""

import heapq

import numpy as np

from llmnotes.compiled import jit
from llmnotes.foundations.tokenizers.splitting import CODES
from llmnotes.foundations.tokenizers.tables import (
    NEVER,
    doubled,
    key_of,
    number_of,
    rank_of,
    row_of,
)

SPACE = CODES["S"]
LONG = 256  # bytes of a word from which on a queue is quicker
QUOTE, BLANK = ord("'"), ord(" ")
D, E, L, M, R, S, T, V = map(ord, "delmrstv")


@jit
def letter(s, i):
    """The code point that begins at a byte, and how many bytes it has."""
    b = np.int64(s[i])
    if b < 0x80:
        return b, 1
    if b < 0xE0:
        return (b & 31) << 6 | s[i + 1] & 63, 2
    if b < 0xF0:
        return (b & 15) << 12 | (s[i + 1] & 63) << 6 | s[i + 2] & 63, 3
    high = (b & 7) << 18 | (s[i + 1] & 63) << 12
    return high | (s[i + 2] & 63) << 6 | s[i + 3] & 63, 4


@jit
def word_end(s, i, kinds):
    """Where the word ends that begins at a byte; see `splitting.split`."""
    n = s.size
    if s[i] == QUOTE and i + 1 < n:
        c = s[i + 1]
        if c == S or c == T or c == M or c == D:
            return i + 2
        if i + 2 < n:
            d = s[i + 2]
            if (c == R or c == V) and d == E or c == L and d == L:
                return i + 3
    code, width = letter(s, i)
    same, j, last = kinds[code], i + width, i
    if s[i] == BLANK and j < n:
        code, width = letter(s, j)
        if kinds[code] != SPACE:
            same, last, j = kinds[code], j, j + width
    while j < n:
        code, width = letter(s, j)
        if kinds[code] != same:
            break
        last, j = j, j + width
    if same == SPACE and j < n and last > i:
        return last  # the last space belongs to what comes next
    return j


@jit
def join_short(row, n, pairs, made, ranks):
    """Join n ids in place, looking at all pairs each time; how many stay."""
    for k in range(n - 1):
        ranks[k] = rank_of(row[k], row[k + 1], pairs)
    while n > 1:
        i = 0
        for k in range(1, n - 1):
            if ranks[k] < ranks[i]:
                i = k
        if ranks[i] == NEVER:
            break
        row[i] = made[ranks[i]]
        n -= 1
        for k in range(i + 1, n):
            row[k] = row[k + 1]
            ranks[k] = ranks[k + 1]
        if i < n - 1:
            ranks[i] = rank_of(row[i], row[i + 1], pairs)
        if i > 0:
            ranks[i - 1] = rank_of(row[i - 1], row[i], pairs)
    return n


@jit
def join_long(row, n, pairs, made):
    """The same with a queue of (rank, place) in one number."""
    after, before = np.arange(1, n + 1), np.arange(-1, n)
    queue = [np.int64(0) for _ in range(0)]
    for k in range(n - 1):
        rank = rank_of(row[k], row[k + 1], pairs)
        if rank != NEVER:
            queue.append(rank << 32 | k)
    heapq.heapify(queue)
    while len(queue):
        lowest = heapq.heappop(queue)
        rank, i = lowest >> 32, lowest & 0xFFFFFFFF
        j = after[i]
        if row[i] < 0 or j == n or rank_of(row[i], row[j], pairs) != rank:
            continue  # one of the two has been joined meanwhile
        row[i], row[j] = made[rank], -1
        after[i] = after[j]
        before[after[j]] = i
        for left in (before[i], i):
            if left >= 0 and after[left] < n:
                rank = rank_of(row[left], row[after[left]], pairs)
                if rank != NEVER:
                    heapq.heappush(queue, rank << 32 | left)
    count = 0
    for k in range(n):
        if row[k] >= 0:
            row[count] = row[k]
            count += 1
    return count


@jit
def encode(s, kinds, alone, pairs, made, pieces, body, ends, ids, out):
    """Write the ids of a text into `out`; how many there are."""
    size = doubled(64, min(len(s), 1 << 16))
    cache = np.zeros((size, 4), np.int64)  # key, length, place in s, in out
    counts = np.zeros(size, np.int32)
    ranks = np.empty(LONG, np.int64)
    i = o = filled = 0
    while i < len(s):
        j = word_end(s, i, kinds)
        length = j - i
        key = key_of(s, i, j)
        p = row_of(s, i, length, key, cache)
        count = counts[p]
        for k in range(count):
            out[o + k] = out[cache[p, 3] + k]
        if count == 0:
            number = number_of(s, i, length, key, pieces, body, ends)
            if number >= 0:
                out[o], count = ids[number], 1
            else:
                for k in range(length):
                    out[o + k] = alone[s[i + k]]
                if length < LONG:
                    count = join_short(out[o:], length, pairs, made, ranks)
                else:
                    count = join_long(out[o:], length, pairs, made)
            if 2 * filled < size:
                cache[p, 0], cache[p, 1] = key, length
                cache[p, 2], cache[p, 3] = i, o
                counts[p] = count
                filled += 1
        i, o = j, o + count
    return o
