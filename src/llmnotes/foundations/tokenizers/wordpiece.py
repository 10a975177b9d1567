"""WordPiece: text cut into the longest pieces that a vocabulary holds.

    vocabulary = the pieces in order; a piece's id is its place
    ##         = mark of a piece that continues a word: em ##bed ##ding
    [UNK]      = stands for a word that cannot be cut into known pieces
    [CLS], [SEP] = stand before a text and after it (and after a second one)

Sources
- Devlin et al. 2018, "BERT", arXiv 1810.04805, §3 (30,000 pieces).
- Wu et al. 2016, "Google's Neural Machine Translation System",
  arXiv 1609.08144, §4.1 (wordpieces, longest match first).
- Hugging Face `tokenizers`: BertNormalizer, BertPreTokenizer, WordPiece.
"""

import re
import string
import unicodedata
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from llmnotes.checks import check_sizes

SPECIAL = PAD, UNK, CLS, SEP, MASK = (
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
)  # fmt: skip
LONGEST_WORD = 100  # characters; a longer word is [UNK]
# Blocks of Chinese characters, which are written without spaces.
CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


def clean(text: str) -> str:
    """Drop control characters; make every kind of white space a space."""
    kept = []
    for c in text:
        if c in "\t\n\r":  # control characters by name, space by use
            kept.append(" ")
        elif c in "\0\ufffd" or unicodedata.category(c) in CONTROL:
            continue
        else:
            kept.append(" " if c.isspace() else c)
    return "".join(kept)


CONTROL = {"Cc", "Cf", "Co", "Cs"}  # not Cn: the unassigned stay


def space_chinese(text: str) -> str:
    """Put spaces around Chinese characters: each is a word of its own."""
    return "".join(f" {c} " if is_chinese(c) else c for c in text)


def is_chinese(c: str) -> bool:
    """Whether a character lies in the blocks; Kana and Hangul do not."""
    return c >= "\u3400" and any(a <= ord(c) <= b for a, b in CHINESE)


def strip_accents(text: str) -> str:
    """Take letters apart from their accents and drop the accents (Mn)."""
    apart = unicodedata.normalize("NFD", text)
    return "".join(c for c in apart if unicodedata.category(c) != "Mn")


def lower(text: str) -> str:
    """Lower case, one character at a time.

    `text.lower()` would look at neighbours: Σ at a word's end becomes ς
    there, and σ here.
    """
    return "".join(c.lower() for c in text)


def normalise(text: str) -> str:
    """All four in the order that BERT's vocabulary was made with."""
    return lower(strip_accents(space_chinese(clean(text))))


def is_punctuation(c: str) -> bool:
    """Unicode's punctuation, and the ASCII symbols: $, +, ^ are some too."""
    return c in string.punctuation or unicodedata.category(c)[0] == "P"


def words(text: str) -> list[str]:
    """Cut at white space and around every punctuation character."""
    spaced = (f" {c} " if is_punctuation(c) else c for c in text)
    return "".join(spaced).split()


def pieces(word: str, vocabulary: dict[str, int]) -> list[str]:
    """The longest known piece, then the longest that continues, and so on.

    One gap makes the whole word [UNK]: nothing of it is kept (Wu et al. 2016).
    """
    if len(word) > LONGEST_WORD:
        return [UNK]
    found, start = [], 0
    while start < len(word):
        mark = "##" if start else ""
        ends = range(len(word), start, -1)
        fits = (e for e in ends if mark + word[start:e] in vocabulary)
        end = next(fits, None)
        if end is None:
            return [UNK]
        found.append(mark + word[start:end])
        start = end
    return found


class WordPiece:
    """The tokenizer of uncased BERT, made from its list of pieces.

    Raises `ValueError` for a list that names a piece twice or lacks one of
    the five special tokens.
    """

    def __init__(self, vocabulary: Sequence[str]):
        self.vocabulary = list(vocabulary)
        self.ids = {piece: i for i, piece in enumerate(self.vocabulary)}
        if len(self.ids) < len(self.vocabulary):
            twice = next(p for i, p in enumerate(vocabulary)
                         if self.ids[p] != i)  # fmt: skip
            raise ValueError(f"vocabulary: got {twice!r} twice, expected once")
        for token in SPECIAL:
            if token not in self.ids:
                raise ValueError(f"vocabulary: expected {token} in it")

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids of [PAD], [UNK], [CLS], [SEP] and [MASK]."""
        return tuple(self.ids[token] for token in SPECIAL)

    def pieces(self, text: str) -> list[str]:
        """The pieces of a text. A special token written in it is one piece."""
        found = []
        for part in re.split(SPECIAL_PATTERN, text):
            if part in SPECIAL:
                found.append(part)
            else:
                for word in words(normalise(part)):
                    found += pieces(word, self.ids)
        return found

    def encode(self, text: str) -> list[int]:
        """Ids of [CLS] text [SEP]."""
        return [self.ids[t] for t in (CLS, *self.pieces(text), SEP)]

    def encode_pair(
        self, text: str, second: str
    ) -> tuple[list[int], list[int]]:
        """Ids of [CLS] text [SEP] second [SEP]; types: 1 from `second` on."""
        first = self.encode(text)
        rest = self.encode(second)[1:]  # one [CLS] is enough
        return first + rest, [0] * len(first) + [1] * len(rest)

    def batch(
        self, texts: Sequence, longest: int = 512
    ) -> tuple[Int[Tensor, "batch length"], Bool[Tensor, "batch length"]]:
        """Ids of texts padded to the longest, and which of them are real.

        A text of more than `longest` ids loses its end, and keeps its [SEP].
        """
        check_texts("texts", texts)
        check_sizes(2, longest=longest)  # [CLS] and [SEP]
        rows = [self.encode(text) for text in texts]
        rows = [
            row if len(row) <= longest else [*row[: longest - 1], row[-1]]
            for row in rows
        ]
        return self.padded(rows)

    def batch_pairs(
        self,
        texts: Sequence,
        seconds: Sequence,
        longest: int = 512,
    ) -> tuple[
        Int[Tensor, "batch length"],
        Bool[Tensor, "batch length"],
        Int[Tensor, "batch length"],
    ]:
        """Ids and mask as `batch`, and types: 1 from the second text on.

        Of pairs with more than `longest` ids the longer text loses its end,
        then both alike.
        """
        check_texts("texts", texts)
        check_texts("seconds", seconds)
        check_sizes(3, longest=longest)  # [CLS] and two [SEP]
        if len(texts) != len(seconds):
            raise ValueError(
                f"seconds: got {len(seconds)}, expected one for each of the "
                f"{len(texts)} texts"
            )
        rows, starts = [], []
        for text, second in zip(texts, seconds, strict=True):
            cls, *one, sep = self.encode(text)
            two = self.encode(second)[1:-1]
            n, m = shares(len(one), len(two), longest - 3)
            rows.append([cls, *one[:n], sep, *two[:m], sep])
            starts.append(n + 2)
        ids, mask = self.padded(rows)
        behind = torch.arange(ids.shape[1]) >= torch.tensor(starts)[:, None]
        return ids, mask, (behind & mask).long()

    def padded(
        self, rows: list[list[int]]
    ) -> tuple[Int[Tensor, "batch length"], Bool[Tensor, "batch length"]]:
        """Rows of ids filled with [PAD] on the right, and what is real."""
        width = max(map(len, rows))
        fill = self.ids[PAD]
        ids = [row + [fill] * (width - len(row)) for row in rows]
        real = [[at < len(row) for at in range(width)] for row in rows]
        return torch.tensor(ids), torch.tensor(real)

    def decode(self, ids: Iterable) -> str:
        """Pieces back to words, with a space between any two words.

        Raises `ValueError` for an id that no piece has: Python would count a
        negative one from the end.
        """
        ids = list(ids)
        check_ids(ids, len(self.vocabulary))
        text = " ".join(self.vocabulary[i] for i in ids)
        return text.replace(" ##", "")


def check_texts(name: str, texts: object) -> None:
    """Raise `ValueError` unless these are some texts; one text is letters."""
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        kind = type(texts).__name__
        raise ValueError(f"{name}: got {kind}, expected a list of str")
    if len(texts) == 0:
        raise ValueError(f"{name}: got none, expected at least one")
    for at, text in enumerate(texts):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise ValueError(f"{name}[{at}]: got {kind}, expected a str")


def check_ids(ids: Iterable, size: int) -> None:
    """Raise `ValueError` unless all ids lie between 0 and size - 1."""
    for at, i in enumerate(ids):
        if not 0 <= i < size:
            raise ValueError(
                f"ids: got {int(i)} at position {at}, expected 0 to {size - 1}"
            )


def shares(first: int, second: int, room: int) -> tuple[int, int]:
    """How many pieces of each of two texts are kept in a room for both.

    The longer one gives way until both are alike; the odd place is left to
    the text that was longer, and to the second if neither was.
    """
    if first + second <= room:
        return first, second
    half = room // 2
    if first > second:
        second = min(second, half)
        return room - second, second
    first = min(first, half)
    return first, room - first


SPECIAL_PATTERN = f"({'|'.join(map(re.escape, SPECIAL))})"
