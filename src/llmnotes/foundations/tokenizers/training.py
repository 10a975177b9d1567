"""Learning byte pairs: join the commonest pair of neighbours, and again.

    words = {word: how often the text holds it}; pairs never cross words
    pairs = {(left, right): how often they are neighbours}
    where = {(left, right): words that held them, some of them no longer}

Of equal counts the pair with the lower ids comes first, as in Hugging Face's
trainer. Counts are not taken anew: a joint changes those of its neighbours.

Source: Sennrich et al. 2015, arXiv 1508.07909, §3.2 and algorithm 1.
"""

import heapq
from collections import Counter, defaultdict

from llmnotes.checks import check_sizes
from llmnotes.foundations.tokenizers.bpe import PlainBPE
from llmnotes.foundations.tokenizers.files import ALONE
from llmnotes.foundations.tokenizers.splitting import check_text, split


def plain_train(text: str, vocabulary: int) -> PlainBPE:
    """A tokenizer of `vocabulary` pieces, learned from a text.

    The first 256 are the bytes in GPT-2's order. Raises `ValueError` if the
    text has too few pairs for so many pieces.
    """
    check_text(text)
    check_sizes(len(ALONE), vocabulary=vocabulary)
    ids = {piece: i for i, piece in enumerate(ALONE)}
    pieces, merges = list(ALONE), {}
    learner = Learner(
        ([ids[bytes([b])] for b in word.encode()], count)
        for word, count in Counter(split(text)).items()
    )
    while len(pieces) < vocabulary:
        pair = learner.commonest()
        if pair is None:
            raise too_many(vocabulary, len(pieces))
        left, right = (pieces[i] for i in pair)
        merges[left, right] = len(merges)
        if left + right not in ids:  # ab and c may give what a and bc gave
            ids[left + right] = len(pieces)
            pieces.append(left + right)
        learner.join(pair, ids[left + right])
    return PlainBPE(ids, merges)


def too_many(vocabulary: int, most: int) -> ValueError:
    """The error for a text that has too few pairs."""
    return ValueError(
        f"vocabulary: got {vocabulary}, expected at most {most}: the text "
        "holds no more pairs"
    )


class Learner:
    """Words as rows of ids with their counts, and the counts of all pairs."""

    def __init__(self, words):
        self.words = list(words)
        self.pairs, self.where = Counter(), defaultdict(set)
        for at, (row, count) in enumerate(self.words):
            for pair in zip(row, row[1:], strict=False):
                self.pairs[pair] += count
                self.where[pair].add(at)
        self.queue = [(-count, pair) for pair, count in self.pairs.items()]
        heapq.heapify(self.queue)

    def commonest(self) -> tuple[int, int] | None:
        """The pair with the highest count; None if no pair is left."""
        while self.queue:
            count, pair = heapq.heappop(self.queue)
            if self.pairs[pair] == -count > 0:
                return pair
            if self.pairs[pair] > 0:  # it has become rarer meanwhile
                heapq.heappush(self.queue, (-self.pairs[pair], pair))
        return None

    def join(self, pair: tuple[int, int], new: int) -> None:
        """Put one id in place of two, and correct the counts around it."""
        changed: set[tuple[int, int]] = set()
        for at in self.where.pop(pair):
            row, count = self.words[at]
            for old in zip(row, row[1:], strict=False):
                self.pairs[old] -= count
            row[:] = joined(row, pair, new)
            for now in zip(row, row[1:], strict=False):
                self.pairs[now] += count
                if new in now:
                    self.where[now].add(at)
                    changed.add(now)
        for now in changed:
            heapq.heappush(self.queue, (-self.pairs[now], now))


def joined(row: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """A row in which one id stands for each pair, from left to right."""
    found, i = [], 0
    while i < len(row):
        here = tuple(row[i : i + 2]) == pair
        found.append(new if here else row[i])
        i += 2 if here else 1
    return found
