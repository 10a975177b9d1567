"""Byte-level BPE compiled: what `PlainBPE` and `plain_train` give, quicker.

    s      = bytes of the text
    kinds  = code of each code point's kind; 0: not asked yet
    joints = left and right id of each pair that was joined

The loops lie in `fast_encoding` and `fast_training`, which are loaded when
they are first needed, since that takes longer than to read a prompt without
them.
"""

from functools import cached_property

import numpy as np

from llmnotes.checks import check_sizes
from llmnotes.foundations.tokenizers.bpe import PlainBPE
from llmnotes.foundations.tokenizers.files import ALONE
from llmnotes.foundations.tokenizers.splitting import (
    CODES,
    check_text,
    kind,
)
from llmnotes.foundations.tokenizers.training import too_many

KINDS = np.zeros(0x110000, np.uint8)  # filled as letters are met
KINDS[:128] = [CODES[kind(chr(c))] for c in range(128)]


class ByteBPE(PlainBPE):
    """Byte-level BPE whose encoding is compiled; see `PlainBPE`.

    The first few letters are encoded as `PlainBPE` does.
    """

    few = 2000  # more of them take longer than to load the loop
    letters = 0  # encoded so far

    def plain(self, text: str) -> list[int]:
        """Ids of a text in which no token is special."""
        self.letters += len(text)
        if self.letters < self.few:
            return super().plain(text)
        return self.array(text).tolist()

    def array(self, text: str) -> np.ndarray:
        """The same as an array of int32, which costs no Python object."""
        from llmnotes.foundations.tokenizers.fast_encoding import encode

        learn_kinds(text)
        s = np.frombuffer(text.encode(), np.uint8)
        out = np.empty(len(s), np.int32)
        return out[: encode(s, KINDS, *self.tables, out)]

    @cached_property
    def tables(self) -> tuple:
        """What the compiled loop reads, made from the dictionaries."""
        from llmnotes.foundations.tokenizers.tables import (
            pair_table,
            piece_table,
            splits,
        )

        rows = [*self.ids.items()]
        ids = np.array([i for _, i in rows], np.int32)
        ends = np.cumsum([len(piece) for piece, _ in rows])
        body = np.frombuffer(b"".join(p for p, _ in rows), np.uint8)
        alone = np.array([self.ids[bytes([b])] for b in range(256)], np.int32)
        pieces = piece_table(body, ends)
        if self.merges is None:
            made = np.arange(ids.max() + 1, dtype=np.int32)
            pairs = pair_table(splits(body, ends, pieces, ids))
            return alone, pairs, made, pieces, body, ends, ids
        pairs = [(self.ids[a], self.ids[b], rank)
                 for (a, b), rank in self.merges.items()]  # fmt: skip
        pairs = np.array(pairs or np.empty((0, 3)), np.int64)
        made = np.zeros(len(pairs) and pairs[:, 2].max() + 1, np.int32)
        for (left, right), rank in self.merges.items():
            made[rank] = self.ids[left + right]
        none = np.zeros((1, 3), np.int64)  # no word is taken whole
        return alone, pair_table(pairs), made, none, body, ends, ids


def learn_kinds(text: str) -> None:
    """Ask Unicode about letters that were not met before."""
    if text.isascii():
        return
    codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
    for code in set(codes[KINDS[codes] == 0].tolist()):
        KINDS[code] = CODES[kind(chr(code))]


def train(text: str, vocabulary: int) -> ByteBPE:
    """A byte-level tokenizer of `vocabulary` pieces, learned from a text.

    The first 256 are the bytes, in GPT-2's order. Raises `ValueError` if the
    text has too few pairs for so many pieces.
    """
    from llmnotes.foundations.tokenizers.fast_training import learn, words

    check_text(text)
    check_sizes(len(ALONE), vocabulary=vocabulary)
    learn_kinds(text)
    s = np.frombuffer(text.encode(), np.uint8)
    order = np.argsort([piece[0] for piece in ALONE]).astype(np.int32)
    joints, size = learn(s, *words(s, KINDS), order, vocabulary)
    if size < vocabulary:
        raise too_many(vocabulary, size)
    pieces, merges = list(ALONE), {}
    ids = {piece: i for i, piece in enumerate(ALONE)}
    for left, right in joints.tolist():
        pair = pieces[left], pieces[right]
        merges[pair] = len(merges)
        if b"".join(pair) not in ids:
            ids[b"".join(pair)] = len(pieces)
            pieces.append(b"".join(pair))
    return ByteBPE(ids, merges)
