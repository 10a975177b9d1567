"""The compiled loops behind `train`: the joints of `plain_train`.

    row    = ids of one word, the words one behind the other
    pairs  = table of (left and right, count, first note, joint that raised it)
    notes  = (word, next note): the words in which a pair has stood
    pieces = (place in the text, length) of what each id stands for

A joint touches its own words only, and there only the neighbours: their pairs
become one rarer, and those with the new id one more common.
"""

import heapq

import numpy as np

from llmnotes.compiled import jit
from llmnotes.foundations.tokenizers.fast_encoding import word_end
from llmnotes.foundations.tokenizers.tables import (
    doubled,
    equal,
    key_of,
    row_of,
    slot,
)

KEY, COUNT, NOTE, RAISED = range(4)
ROWS, NOTES = range(2)  # of what is taken
LOW = 0xFFFFFFFF


@jit
def words(s, kinds):
    """Place, length and count of each different word of a text."""
    size = 1024
    table = np.zeros((size, 4), np.int64)  # key, length, place, count
    i = filled = 0
    while i < len(s):
        if 2 * filled > size:
            old, size = table, 4 * size
            table = np.zeros((size, 4), np.int64)
            for k in range(len(old)):
                if old[k, 1]:
                    p = slot(old[k, 0], old[k, 1], size - 1)
                    while table[p, 1]:
                        p = (p + 1) & (size - 1)
                    table[p] = old[k]
        j = word_end(s, i, kinds)
        length, key = j - i, key_of(s, i, j)
        p = row_of(s, i, length, key, table)
        if not table[p, 1]:
            table[p, 0], table[p, 1], table[p, 2] = key, length, i
            filled += 1
        table[p, 3] += 1
        i = j
    found = table[table[:, 1] > 0]
    return found[:, 2], found[:, 1], found[:, 3]


@jit
def place(pairs, left, right, taken):
    """The row of a pair in the table; a free one becomes its own."""
    key = (np.int64(left) << 32 | right) + 1
    mask = len(pairs) - 1
    p = slot(key, 0, mask)
    while pairs[p, KEY] and pairs[p, KEY] != key:
        p = (p + 1) & mask
    if not pairs[p, KEY]:
        pairs[p, KEY] = key
        taken[ROWS] += 1
    return p


@jit
def with_room(pairs, more, taken):
    """The table, or a larger one, that has room for some more pairs."""
    if 2 * (taken[ROWS] + more) < len(pairs):
        return pairs
    size = doubled(len(pairs), 4 * (taken[ROWS] + more))
    larger = np.zeros((size, 4), np.int64)
    taken[ROWS] = 0
    for k in range(len(pairs)):
        if pairs[k, COUNT]:  # what is gone is forgotten
            key = pairs[k, KEY] - 1
            larger[place(larger, key >> 32, key & LOW, taken)] = pairs[k]
    return larger


@jit
def count_up(pairs, p, count, notes, word, taken):
    """A pair is more common, and stands in this word."""
    pairs[p, COUNT] += count
    at = taken[NOTES] = taken[NOTES] + 1
    notes[at, 0], notes[at, 1] = word, pairs[p, NOTE]
    pairs[p, NOTE] = at


@jit
def piece_id(s, start, length, pieces, size, table):
    """The id of the piece with these bytes; `size`, if it is a new one."""
    mask = len(table) - 1
    key = key_of(s, start, start + length)
    p = slot(key, length, mask)
    while table[p]:
        number = table[p] - 1
        if pieces[number, 1] == length:
            if equal(s, pieces[number, 0], s, start, length):
                return number
        p = (p + 1) & mask
    table[p] = size + 1
    pieces[size, 0], pieces[size, 1] = start, length
    return size


@jit
def commonest(queue, pairs, taken):
    """The key of the pair with the highest count; 0 if no pair is left."""
    while len(queue):
        less, key = heapq.heappop(queue)
        pair = key - 1
        count = pairs[place(pairs, pair >> 32, pair & LOW, taken), COUNT]
        if count == -less:
            return key
        if count:  # it has become rarer meanwhile
            heapq.heappush(queue, (-count, key))
    return 0


@jit
def trade(gone, come, count, word, books):
    """One pair gives way to another in a word."""
    pairs, notes, taken, raised, joint = books
    pairs[place(pairs, gone[0], gone[1], taken), COUNT] -= count
    p = place(pairs, come[0], come[1], taken)
    count_up(pairs, p, count, notes, word, taken)
    if pairs[p, RAISED] != joint:
        pairs[p, RAISED] = joint
        raised.append(pairs[p, KEY])


@jit
def first_pairs(s, starts, lengths, counts, order):
    """The ids of every word, where it begins, and the table of its pairs."""
    total = lengths.sum()
    row, begin = np.empty(total, np.int32), np.cumsum(lengths) - lengths
    notes = np.zeros((3 * total + 2, 2), np.int64)  # the first is none
    pairs, taken = np.zeros((1 << 12, 4), np.int64), np.zeros(2, np.int64)
    for word in range(len(starts)):
        pairs = with_room(pairs, lengths[word], taken)
        b = begin[word]
        for k in range(lengths[word]):
            row[b + k] = order[s[starts[word] + k]]
        for k in range(b, b + lengths[word] - 1):
            p = place(pairs, row[k], row[k + 1], taken)
            count_up(pairs, p, counts[word], notes, word, taken)
    return row, begin, pairs, notes, taken


@jit
def join_word(r, left, right, new, where, text, count, word, books):
    """Join a pair in the ids of one word; how many stay, and its new id."""
    s, pieces, size, table = text
    pairs, taken = books[0], books[2]
    k = q = 0
    while k < len(r):
        here = r[k]
        width = pieces[here, 1]
        if here == left and k + 1 < len(r) and r[k + 1] == right:
            width += pieces[right, 1]
            if new < 0:
                new = piece_id(s, where, width, pieces, size, table)
            pairs[place(pairs, left, right, taken), COUNT] -= count
            if q > 0:
                before = np.int64(r[q - 1])
                trade((before, left), (before, new), count, word, books)
            if k + 2 < len(r):
                behind = np.int64(r[k + 2])
                trade((right, behind), (new, behind), count, word, books)
            here, k = new, k + 1
        r[q] = here
        where += width
        k, q = k + 1, q + 1
    return q, new


@jit
def learn(s, starts, lengths, counts, order, vocabulary):
    """All joints (left, right) in order, and how many pieces there are."""
    row, begin, pairs, notes, taken = first_pairs(
        s, starts, lengths, counts, order
    )
    sizes = lengths.copy()
    queue = [(-pairs[p, COUNT], pairs[p, KEY])
             for p in range(len(pairs)) if pairs[p, COUNT]]  # fmt: skip
    heapq.heapify(queue)
    table = np.zeros(doubled(1, 2 * vocabulary), np.int64)
    pieces = np.ones((vocabulary + 1, 2), np.int64)
    joints, size, joint = np.empty((len(row), 2), np.int64), 256, 0
    while size < vocabulary:
        key = commonest(queue, pairs, taken)
        if not key:
            break
        left, right = (key - 1) >> 32, (key - 1) & LOW
        joints[joint, 0], joints[joint, 1] = left, right
        joint, new = joint + 1, np.int64(-1)
        raised = [np.int64(0) for _ in range(0)]
        p = place(pairs, left, right, taken)
        at, pairs[p, NOTE] = pairs[p, NOTE], 0
        while at:
            word, at = notes[at, 0], notes[at, 1]
            pairs = with_room(pairs, 2 * sizes[word], taken)
            r = row[begin[word] : begin[word] + sizes[word]]
            text = s, pieces, size, table
            books = pairs, notes, taken, raised, joint
            sizes[word], new = join_word(
                r, left, right, new, starts[word], text, counts[word], word,
                books,
            )  # fmt: skip
        for key in raised:
            p = place(pairs, (key - 1) >> 32, (key - 1) & LOW, taken)
            heapq.heappush(queue, (-pairs[p, COUNT], key))
        size = max(size, new + 1)
    return joints[:joint], size
