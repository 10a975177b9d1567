"""The words of the captions as numbers, padded to one length.

[start], [end], [pad] = marks before and after a caption, and what fills up
LENGTH = 16, the longest caption with both marks

Sources
- Radford et al. 2021, arXiv:2103.00020, section 2.4: a caption between two
  marks, read off at the last of them. As there [end] has the largest number,
  so that `argmax` over the ids finds it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from llmnotes.scenes.telling import WORDS, words

PAD, START, END = "[pad]", "[start]", "[end]"
LENGTH = 16


class Vocabulary:
    """Every word of the captions is a token."""

    def __init__(self, length: int = LENGTH):
        if length < 3:
            raise ValueError(f"length: got {length}, expected at least 3")
        self.length = length
        self.symbols = (PAD, START, *WORDS, END)
        self.ids = {word: i for i, word in enumerate(self.symbols)}
        self.pad, self.start = self.ids[PAD], self.ids[START]
        self.end = self.ids[END]

    @property
    def size(self) -> int:
        """Number of different tokens."""
        return len(self.symbols)

    def encode(self, captions: Sequence[str]) -> Int[Tensor, "batch length"]:
        """Ids between the marks, filled up with [pad].

        Raises `ValueError` for one string instead of a list, for a caption
        that is too long and for an unknown word, which it names.
        """
        if isinstance(captions, str):
            raise ValueError(
                f"captions: got the string {captions!r}, expected a list"
            )
        rows = [self.row(caption) for caption in captions]
        return torch.tensor(rows, dtype=torch.int64).view(-1, self.length)

    def row(self, caption: str) -> list[int]:
        """Ids of one caption."""
        found = words(caption)
        if len(found) + 2 > self.length:
            raise ValueError(
                f"caption: got {len(found)} words, expected at most "
                f"{self.length - 2}"
            )
        ids = [self.start, *(self.ids[word] for word in found), self.end]
        return ids + [self.pad] * (self.length - len(ids))

    def decode(self, ids: Int[Tensor, "batch length"]) -> list[str]:
        """The captions of ids, up to the first [end], without marks.

        Raises `ValueError` for a number that stands for no word.
        """
        wrong = (ids < 0) | (ids >= self.size)
        if wrong.any():
            raise ValueError(
                f"ids: got {int(ids[wrong][0])}, expected 0 to {self.size - 1}"
            )
        return [self.told(row) for row in ids.tolist()]

    def told(self, row: list[int]) -> str:
        """The caption of one row."""
        until = row.index(self.end) if self.end in row else len(row)
        shown = (i for i in row[:until] if i not in (self.pad, self.start))
        return " ".join(self.symbols[i] for i in shown)


VOCABULARY = Vocabulary()
