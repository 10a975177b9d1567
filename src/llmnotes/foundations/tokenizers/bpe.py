"""Byte-level BPE, GPT-2's tokenizer: bytes of words, joined pair by pair.

    piece  = a row of bytes that the vocabulary holds
    rank   = how early a pair is joined; the lowest first, of equals the left

A text is cut into words, a word is taken apart into the bytes of its UTF-8,
and the pair of neighbours with the lowest rank is joined until none is left
that has one. All 256 bytes are pieces, so nothing is unknown, and what is
decoded is what was encoded. `ByteBPE` does the same compiled.

Sources
- Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"
  (GPT-2), §2.2 (bytes, and no joints between kinds of characters).
- Sennrich et al. 2015, "Neural Machine Translation of Rare Words with Subword
  Units", arXiv 1508.07909, §3.2 (joining pairs).
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from llmnotes.foundations.tokenizers import files
from llmnotes.foundations.tokenizers.joining import join
from llmnotes.foundations.tokenizers.splitting import check_text, split
from llmnotes.foundations.tokenizers.wordpiece import check_ids


class PlainBPE:
    """A byte-level tokenizer, made from its pieces and the order of joints.

    `ids` is {piece: id}; `merges` is {(left, right): rank}, or None where a
    pair's rank is the id of what it makes. `special` is {text: id} of tokens
    that are not cut.

    Raises `ValueError` if a byte, or what a joint makes, has no id.
    """

    def __init__(
        self,
        ids: Mapping[bytes, int],
        merges: Mapping | None = None,
        special: Mapping[str, int] | None = None,
    ):
        self.ids, self.merges = dict(ids), merges
        self.special = dict(special or {})
        for pair in merges or {}:
            if len(pair) != 2:
                raise ValueError(f"merges: got {pair}, expected two pieces")
        for i in (*self.ids.values(), *self.special.values()):
            if type(i) is not int or i < 0:
                raise ValueError(f"ids: got {i!r}, expected 0 or more")
        made = map(b"".join, merges or {})
        for piece in (*files.ALONE, *made):
            if piece not in self.ids:
                raise ValueError(f"ids: got no id for {piece}, expected one")
        self.vocabulary = {i: piece for piece, i in self.ids.items()}
        self.vocabulary |= {i: t.encode() for t, i in self.special.items()}
        if len(self.vocabulary) < len(self.ids) + len(self.special):
            raise ValueError("ids: got one of them twice, expected once")
        self.known: dict[str, list[int]] = {}  # words met before

    @classmethod
    def from_gpt2(cls, folder: str | Path) -> "PlainBPE":
        """The tokenizer whose vocab.json and merges.txt lie in a folder.

        Raises `ValueError` naming the file that cannot be read or understood.
        """
        ids, merges, special = files.read_gpt2(folder)
        with files.blaming(Path(folder) / files.MERGES):
            return cls(ids, merges, special)

    @classmethod
    def from_tiktoken(
        cls, path: str | Path, special: Mapping[str, int] | None = None
    ) -> "PlainBPE":
        """The tokenizer of a file of ranks; special tokens are not in it.

        Raises `ValueError` naming the file, if it cannot be understood.
        """
        ids = files.read_tiktoken(path)
        with files.blaming(Path(path)):
            return cls(ids, special=special)

    def save(self, folder: str | Path) -> None:
        """Write GPT-2's two files, from which `from_gpt2` makes it again."""
        if self.merges is None:
            raise ValueError(
                "merges: got None, expected pairs; a file of ranks is saved "
                "by copying it"
            )
        files.write_gpt2(folder, self.ids, self.merges, self.special)

    @property
    def size(self) -> int:
        """One more than the largest id: the rows of an embedding."""
        return max(self.vocabulary) + 1

    def rank(self, left: bytes, right: bytes) -> int | None:
        """How early a pair is joined; None if never."""
        if self.merges is None:
            return self.ids.get(left + right)
        return self.merges.get((left, right))

    def join(self, word: bytes) -> list[bytes]:
        """The pieces of a word, the pair of lowest rank joined first."""
        if self.merges is None and word in self.ids:
            return [word]
        return join((bytes([b]) for b in word), self.rank)

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Ids of a text. A special token written in it is one id.

        With `special=False` it is text like any other: for what strangers
        write. Raises `ValueError` for half of a surrogate pair.
        """
        check_text(text)
        if not special or not self.special:
            return self.plain(text)
        found: list[int] = []
        for part in self.parts(text):
            known = part in self.special
            found += [self.special[part]] if known else self.plain(part)
        return found

    def parts(self, text: str) -> list[str]:
        """Special tokens and what stands between them, the longest first."""
        names = sorted(self.special, key=len, reverse=True)
        either = "|".join(map(re.escape, names))
        return re.split(f"({either})", text)

    def plain(self, text: str) -> list[int]:
        """Ids of a text in which no token is special."""
        return [i for word in split(text) for i in self.word(word)]

    def word(self, word: str) -> list[int]:
        """Ids of one word."""
        if word not in self.known:
            self.known[word] = [self.ids[p] for p in self.join(word.encode())]
        return self.known[word]

    def pieces(self, text: str, special: bool = True) -> list[bytes]:
        """The pieces of a text. One may be part of a letter, so it is bytes.

        Raises `ValueError` for half of a surrogate pair.
        """
        return [self.vocabulary[i] for i in self.encode(text, special)]

    def decode(self, ids: Iterable) -> str:
        """The text of some ids; bytes that are no UTF-8 become U+FFFD.

        Raises `ValueError` for an id that no piece has.
        """
        ids = list(map(int, ids))
        check_ids(ids, self.size)
        gone = [i for i in ids if i not in self.vocabulary]
        if gone:
            raise ValueError(f"ids: got {gone[0]}, which no piece has")
        body = b"".join(self.vocabulary[i] for i in ids)
        return body.decode(errors="replace")
