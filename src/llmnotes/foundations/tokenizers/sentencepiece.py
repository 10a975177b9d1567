"""SentencePiece, the tokenizer of Llama and Mistral: the space is a letter.

    ▁           = a space, and one before the text (the dummy prefix)
    piece       = characters, a ▁ at most before them
    <0xE2>      = a byte, for a character that is no piece (byte fallback)
    control     = <s>, </s>, [INST]: no text becomes them, and they become none
    user        = pieces of the maker's own; wherever they stand, they are one

No text is cut into words first, so a language without spaces is like any
other. `encode` adds no <s>: that is the matter of the model. A ▁ that a text
itself holds comes back as a space; all else comes back as it was.

Sources
- Kudo and Richardson 2018, "SentencePiece", arXiv 1808.06226, §3.1-3.2.
- google/sentencepiece `sentencepiece_processor.cc` (what decoding strips).
"""

import codecs
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path

from llmnotes.foundations.tokenizers import model_file
from llmnotes.foundations.tokenizers.joining import join
from llmnotes.foundations.tokenizers.model_file import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    USER,
    ModelFile,
    Piece,
)
from llmnotes.foundations.tokenizers.splitting import check_text
from llmnotes.foundations.tokenizers.wordpiece import check_ids

SPACE = "▁"
QUESTION = " ⁇ "  # what an unknown piece is decoded to
REPLACEMENT = "\ufffd"
INSIDE = re.compile(f"[^{SPACE}]{SPACE}")  # a space behind a letter
RUN = re.compile(f"{SPACE}*[^{SPACE}]+|{SPACE}+")


def byte_by_byte(error: UnicodeDecodeError) -> tuple[str, int]:
    """One U+FFFD for each byte that is no UTF-8, as SentencePiece has it."""
    return REPLACEMENT, error.start + 1


codecs.register_error("byte_by_byte", byte_by_byte)


class SentencePieces(ABC):
    """What SentencePiece's models share: spaces, unknown letters, decoding.

    Raises `ValueError` if a byte is missing where all should be there.
    """

    type: int

    def __init__(self, model: ModelFile):
        self.model = model
        self.vocabulary = [piece.text for piece in model.pieces]
        found: dict[int, dict[str, int]] = {}
        for i, piece in enumerate(model.pieces):
            found.setdefault(piece.kind, {}).setdefault(piece.text, i)
        self.ids = found.get(NORMAL, {})
        self.special, self.user = found.get(CONTROL, {}), found.get(USER, {})
        longest = sorted(self.user, key=len, reverse=True)
        self.own = re.compile(f"({'|'.join(map(re.escape, longest))})")
        self.unknown = next(iter(found.get(UNKNOWN, {}).values()), None)
        self.bytes = [found.get(BYTE, {}).get(f"<0x{b:02X}>")
                      for b in range(256)]  # fmt: skip
        if model.byte_fallback and None in self.bytes:
            missing = self.bytes.index(None)
            raise ValueError(
                f"pieces: got no <0x{missing:02X}>, expected all 256 bytes"
            )
        if not model.byte_fallback and self.unknown is None:
            raise ValueError("pieces: got no unknown piece, expected one")
        # Where no piece holds a space behind a letter, none reaches across.
        self.apart = not any(map(INSIDE.search, self.ids))
        self.known: dict[str, list[int]] = {}

    @classmethod
    def from_model(cls, path: str | Path) -> "SentencePieces":
        """The tokenizer of a file `tokenizer.model`.

        Raises `ValueError` naming the file: one that is cut short, of
        another type, or with a normaliser that changes letters.
        """
        model = model_file.read(path, cls.type)
        with model_file.blaming(Path(path)):
            return cls(model)

    def save(self, path: str | Path) -> None:
        """Write a file, from which `from_model` makes it again."""
        model_file.write(path, self.model)

    @property
    def size(self) -> int:
        """How many pieces there are: the rows of an embedding."""
        return len(self.vocabulary)

    @abstractmethod
    def cut(self, word: str) -> list[str]:
        """The pieces of a text without spaces; ▁ stands for them."""

    def normal(self, text: str) -> str:
        """Spaces as ▁, one more before the text, spare ones taken out."""
        if self.model.spare_spaces:
            text = re.sub(" +", " ", text).lstrip(" ")
        if text and self.model.space_before:
            text = " " + text
        text = text.replace(" ", SPACE)
        return text.rstrip(SPACE) if self.model.spare_spaces else text

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without <s>; names of control pieces are text.

        Raises `ValueError` for half of a surrogate pair.
        """
        check_text(text)
        found: list[int] = []
        for i in self.all_ids(self.normal(text)):
            if i != self.unknown or found[-1:] != [i]:
                found.append(i)  # a run of unknown letters is one
        return found

    def all_ids(self, text: str) -> Iterator[int]:
        """Ids of what is left when spaces are ▁."""
        for part in self.own.split(text) if self.user else [text]:
            if part in self.user:
                yield self.user[part]
            else:
                for word in RUN.findall(part) if self.apart else [part]:
                    yield from self.known.get(word) or self.word(word)

    def word(self, word: str) -> list[int]:
        """Ids of one word; those of bytes for what is no piece."""
        ids: list[int] = []
        for piece in self.cut(word):
            if piece in self.ids:
                ids.append(self.ids[piece])
            elif self.model.byte_fallback:
                ids += [self.bytes[b] for b in piece.encode()]
            else:
                ids.append(self.unknown)
        self.known[word] = ids
        return ids

    def pieces(self, text: str) -> list[str]:
        """The pieces of a text as the vocabulary writes them.

        Raises `ValueError` for half of a surrogate pair.
        """
        return [self.vocabulary[i] for i in self.encode(text)]

    def decode(self, ids: Iterable) -> str:
        """The text of some ids: no control pieces, no ▁ before it.

        Bytes that are no UTF-8 become U+FFFD. Raises `ValueError` for an id
        that no piece has.
        """
        ids = list(map(int, ids))
        check_ids(ids, self.size)
        text, body, begun = "", b"", False
        for i in ids:
            piece = self.model.pieces[i]
            if piece.kind == BYTE:
                body += bytes([self.bytes.index(i)])
                continue
            text, body = text + body.decode(errors="byte_by_byte"), b""
            shown, begun = self.shown(piece, begun or bool(text))
            text += shown
        return text + body.decode(errors="byte_by_byte")

    def shown(self, piece: Piece, begun: bool) -> tuple[str, bool]:
        """What a piece is decoded to; whether the text has begun with it."""
        if piece.kind == CONTROL:
            return "", False
        if piece.kind == UNKNOWN:
            return QUESTION, False
        first = not begun and piece.text.startswith(SPACE)
        strip = self.model.space_before or self.model.spare_spaces
        text = piece.text[1:] if first and strip else piece.text
        return text.replace(SPACE, " "), first and not self.model.spare_spaces


class SentencePieceBPE(SentencePieces):
    """Characters joined pair by pair, the one with the best score first."""

    type = model_file.BPE

    def cut(self, word: str) -> list[str]:
        """The pieces of a text without spaces; ▁ stands for them."""
        return join(word, self.rank)

    def rank(self, left: str, right: str) -> float | None:
        """How early two are joined; None if never."""
        found = self.ids.get(left + right)
        return None if found is None else -self.model.pieces[found].score
