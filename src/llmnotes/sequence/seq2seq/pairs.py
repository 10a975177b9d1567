"""Pairs of sequences: symbols as numbers, batches with padding, reversal.

    PAD, START, END = filler, what opens a target, what closes it
    source          = x  (what is read)
    target          = y  (what is to be written: START, symbols, END)
    target_in       = y without its last token: what the decoder is shown
    target_out      = y without START: what it should say next

Lengths of targets are not kept: a PAD is never a symbol of a target.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

PAD, START, END = 0, 1, 2
SPECIAL = 3  # the first number of an ordinary symbol


class Vocabulary:
    """Symbols of one character each, numbered from 3; 0 to 2 are special."""

    def __init__(self, symbols: Iterable[str]):
        self.symbols = tuple(symbols)
        self.ids = {s: i for i, s in enumerate(self.symbols, SPECIAL)}
        if len(self.ids) < len(self.symbols):
            raise ValueError(
                f"symbols: got {''.join(self.symbols)!r}, expected no symbol "
                "twice"
            )

    def __len__(self) -> int:
        """How many numbers there are, the special ones included."""
        return SPECIAL + len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Numbers of a text. `ValueError` for a symbol that is not known."""
        if unknown := set(text) - self.ids.keys():
            raise ValueError(
                f"text: got {min(unknown)!r}, expected symbols out of "
                f"{''.join(self.symbols)!r}"
            )
        return [self.ids[symbol] for symbol in text]

    def decode(self, ids: Iterable) -> str:
        """Text up to END; START and PAD are not shown.

        Raises `ValueError` for a number that is none of ours, such as the
        -100 that some mark labels with.
        """
        text = []
        for i in map(int, ids):
            if not 0 <= i < len(self):
                raise ValueError(
                    f"ids: got {i}, expected 0 to {len(self) - 1}"
                )
            if i == END:
                break
            if i >= SPECIAL:
                text.append(self.symbols[i - SPECIAL])
        return "".join(text)


class Batch(NamedTuple):
    """Sources and targets of the same rows, both filled up with PAD."""

    source: Int[Tensor, "batch key"]
    source_lengths: Int[Tensor, "batch"]
    target: Int[Tensor, "batch length"]

    @property
    def target_in(self) -> Int[Tensor, "batch query"]:
        """What a decoder is shown: START and the symbols."""
        return self.target[:, :-1]

    @property
    def target_out(self) -> Int[Tensor, "batch query"]:
        """What it should say there: the symbols and END."""
        return self.target[:, 1:]


def pad(rows: Sequence[Sequence[int]]) -> Int[Tensor, "batch length"]:
    """Rows of numbers side by side, the shorter ones filled up with PAD."""
    width = max(map(len, rows))
    return torch.tensor([[*r, *[PAD] * (width - len(r))] for r in rows])


def collate(
    pairs: Sequence[tuple[str, str]], source: Vocabulary, target: Vocabulary
) -> Batch:
    """A batch of (source, target) texts.

    Raises `ValueError` for no pair, an empty source or an unknown symbol.
    """
    if not pairs or not all(text for text, _ in pairs):
        raise ValueError("pairs: got none or an empty source, expected texts")
    sources = [source.encode(text) for text, _ in pairs]
    targets = [[START, *target.encode(text), END] for _, text in pairs]
    lengths = torch.tensor([len(row) for row in sources])
    return Batch(pad(sources), lengths, pad(targets))


def reversal(length: int, batch: int, seed: int, symbols: int = 8) -> Batch:
    """`batch` random sequences of `length`; each target is its mirror image.

    A pure function of its arguments. Numbers run from 3 to 2 + symbols.
    """
    for name, n in (("length", length), ("batch", batch)):
        if n < 1:
            raise ValueError(f"{name}: got {n}, expected at least 1")
    random = torch.Generator().manual_seed(seed)
    top = SPECIAL + symbols
    source = torch.randint(SPECIAL, top, (batch, length), generator=random)
    start, end = (torch.full((batch, 1), i) for i in (START, END))
    target = torch.cat([start, source.flip(1), end], dim=1)
    return Batch(source, torch.full((batch,), length), target)
