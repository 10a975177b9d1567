"""Models that count: what followed the last few characters in a text.

back    = how many characters they look back
blended = with the counts of one character less, WEIGHT of them
"""

from collections import defaultdict

import torch

from llmnotes import data

WEIGHT, TRAIN, JUDGED = 2.0, 300_000, 1_500


class Counts:
    """Distributions of the next character, looking `back` at most."""

    def __init__(self, ids, vocabulary, back):
        self.vocabulary, self.back = vocabulary, back
        self.tables = [defaultdict(dict) for _ in range(back + 1)]
        for order, table in enumerate(self.tables):
            for i in range(order, len(ids)):
                seen = table[tuple(ids[i - order : i])]
                seen[ids[i]] = seen.get(ids[i], 0) + 1

    @property
    def contexts(self):
        """How many different pasts it keeps."""
        return len(self.tables[-1])

    def chances(self, text):
        """Distribution behind a text, for each order up to `back`."""
        chance = torch.full(
            (self.vocabulary,), 1 / self.vocabulary, dtype=torch.float64
        )
        found = []
        for order, table in enumerate(self.tables):
            counts = WEIGHT * chance
            seen = table.get(tuple(text[len(text) - order :]), {})
            for token, count in seen.items():
                counts[token] += count
            chance = counts / counts.sum()
            found.append(chance)
        return found


def corpus():
    """Ids of the Python language reference, and how many symbols."""
    text = data.text("python_reference")
    vocabulary = data.CharVocabulary(text)
    train, valid = data.split(vocabulary.encode(text))
    return train[:TRAIN].tolist(), valid.tolist(), vocabulary.size
