"""Tables of pieces and of pairs, found by a hash, for compiled loops.

    key   = the bytes of a piece in one number, or a hash of them
    slot  = the first row to look into; if it is taken, the next, and so on
    body  = all pieces one behind the other, and where each of them ends
    rank  = how early a pair is joined; NEVER, if it is none

A table has a power of two of rows, and at least half of them are free.
"""

import numpy as np

from llmnotes.compiled import jit

NEVER = 2**31 - 1  # the rank of a pair that is not joined
SPREAD = 0x1E3779B97F4A7C15  # odd; multiplies the bits of a key apart


@jit
def doubled(size, enough):
    """A size that was doubled until it is enough."""
    while size < enough:
        size *= 2
    return size


@jit
def key_of(s, start, end):
    """Up to eight bytes are their own key; of more it is a hash."""
    key = np.int64(0)
    if end - start <= 8:
        for k in range(start, end):
            key = key << 8 | s[k]
        return key
    for k in range(start, end):
        key = (key ^ s[k]) * SPREAD
    return key


@jit
def slot(key, length, mask):
    """The first row of a table to look into."""
    return ((key + length) * SPREAD >> 30) & mask


@jit
def equal(s, i, t, j, length):
    """Whether as many bytes are the same in two places."""
    for k in range(length):  # noqa: SIM110
        if s[i + k] != t[j + k]:
            return False
    return True


@jit
def piece_table(body, ends):
    """Rows (key, length, number) of pieces that lie one behind the other."""
    size = doubled(1, 2 * len(ends))
    table, start = np.zeros((size, 3), np.int64), 0
    for number in range(len(ends)):
        length = ends[number] - start
        key = key_of(body, start, ends[number])
        p = slot(key, length, size - 1)
        while table[p, 1]:
            p = (p + 1) & (size - 1)
        table[p, 0], table[p, 1], table[p, 2] = key, length, number
        start = ends[number]
    return table


@jit
def number_of(s, i, length, key, table, body, ends):
    """The number of the piece that stands at a place; -1 if none does."""
    mask = len(table) - 1
    p = slot(key, length, mask)
    while table[p, 1]:
        if table[p, 0] == key and table[p, 1] == length:
            number = table[p, 2]
            start = ends[number] - length
            if length <= 8 or equal(s, i, body, start, length):
                return number
        p = (p + 1) & mask
    return -1


@jit
def row_of(s, i, length, key, table):
    """The row of a word of s that was met before, or a free one for it.

    Rows begin with key, length and a place in s where the word stands.
    """
    mask = len(table) - 1
    p = slot(key, length, mask)
    while table[p, 1]:
        if table[p, 0] == key and table[p, 1] == length:
            if length <= 8 or equal(s, table[p, 2], s, i, length):
                break
        p = (p + 1) & mask
    return p


@jit
def splits(body, ends, table, ids):
    """All (left, right, id) of pieces that are two others in a row."""
    found = np.empty((len(body), 3), np.int64)
    count = start = 0
    for number in range(len(ends)):
        end = ends[number]
        for cut in range(start + 1, end):
            key = key_of(body, start, cut)
            a = number_of(body, start, cut - start, key, table, body, ends)
            if a < 0:
                continue
            key = key_of(body, cut, end)
            b = number_of(body, cut, end - cut, key, table, body, ends)
            if b >= 0:
                found[count, 0], found[count, 1] = ids[a], ids[b]
                found[count, 2] = ids[number]
                count += 1
        start = end
    return found[:count]


@jit
def pair_table(pairs):
    """Rows (left and right in one number, and 1; rank)."""
    size = doubled(1, 2 * len(pairs) + 1)
    table = np.zeros((size, 2), np.int64)
    for k in range(len(pairs)):
        key = (pairs[k, 0] << 32 | pairs[k, 1]) + 1
        p = slot(key, 0, size - 1)
        while table[p, 0]:
            p = (p + 1) & (size - 1)
        table[p, 0], table[p, 1] = key, pairs[k, 2]
    return table


@jit
def rank_of(left, right, table):
    """How early two ids are joined."""
    key = (np.int64(left) << 32 | right) + 1
    mask = len(table) - 1
    p = slot(key, 0, mask)
    while table[p, 0]:
        if table[p, 0] == key:
            return table[p, 1]
        p = (p + 1) & mask
    return NEVER
