"""Any tokenizer from what lies on disk: a file or a folder.

    *.tiktoken              byte pairs by rank
    vocab.json, merges.txt  byte pairs, GPT-2's files
    vocab.txt               WordPiece
    else, *.model           SentencePiece: byte fallback BPE or Unigram

In a folder the first of these that is there counts. Nothing is a pickle.
"""

from collections.abc import Iterator
from pathlib import Path

from llmnotes.foundations.tokenizers import files, model_file
from llmnotes.foundations.tokenizers.fast import ByteBPE
from llmnotes.foundations.tokenizers.sentencepiece import SentencePieceBPE
from llmnotes.foundations.tokenizers.unigram import Unigram
from llmnotes.foundations.tokenizers.wordpiece import WordPiece

Tokenizer = ByteBPE | SentencePieceBPE | Unigram | WordPiece
WORDS = "vocab.txt"
NAMES = files.VOCABULARY, WORDS, "*.tiktoken", "*.model", "*.model.v*"


def load(path: str | Path) -> Tokenizer:
    """The tokenizer in a file, or in a folder.

    Raises `ValueError` naming what cannot be read or understood.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: got no file or folder of this name")
    if path.is_dir():
        found = [file for name in NAMES for file in sorted(path.glob(name))]
        if not found:
            raise ValueError(
                f"{path}: got no tokenizer, expected one of {', '.join(NAMES)}"
            )
        path = found[0]
    if path.name in (files.VOCABULARY, files.MERGES):
        return ByteBPE.from_gpt2(path.parent)
    if path.suffix == ".tiktoken":
        return ByteBPE.from_tiktoken(path)
    if path.suffix == ".txt":
        with files.blaming(path):
            return WordPiece(files.read(path).splitlines())
    return sentencepiece(path)


def numbered(path: str | Path, text: str) -> Iterator[tuple[int, str]]:
    """Id and piece, one after the other, as `llmnotes tokenize` shows them.

    A space within a piece is shown as ·, and what cannot be seen as Python
    writes it.
    """
    tokenizer = load(path)
    ids = tokenizer.encode(text)
    for i in ids:
        piece = tokenizer.vocabulary[i]
        if isinstance(piece, bytes):
            piece = piece.decode(errors="backslashreplace")
        shown = (c if c.isprintable() else repr(c)[1:-1] for c in piece)
        yield i, "".join(shown).replace(" ", "·")


def sentencepiece(path: Path) -> SentencePieceBPE | Unigram:
    """One of the two models of SentencePiece, whichever the file holds."""
    with files.blaming(path):
        kind = model_file.kind_of(path)
    types = {model.type: model for model in (SentencePieceBPE, Unigram)}
    return types.get(kind, SentencePieceBPE).from_model(path)
