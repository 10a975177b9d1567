"""The files in which byte pairs come: GPT-2's two, and tiktoken's one.

    vocab.json   {piece: id}, each byte written as a character one can see
    merges.txt   pairs of pieces, the first to be joined first
    *.tiktoken   one piece a line in base64, and its id, which is its rank

Sources: openai/gpt-2 `encoder.py` (the characters for bytes); the format of
openai/tiktoken.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from llmnotes import foreign

VOCABULARY, MERGES = "vocab.json", "merges.txt"
END_OF_TEXT = "<|endoftext|>"
VERSION = "#version"  # begins a line of merges.txt that is no pair


def letters() -> dict[str, int]:
    """The characters that stand for the bytes 0 to 255 in GPT-2's files.

    A byte that is a visible character of Latin-1 is itself; the others, the
    space among them, are those from 256 on.
    """
    ranges = (33, 127), (161, 173), (174, 256)
    shown = {b for low, high in ranges for b in range(low, high)}
    hidden = [b for b in range(256) if b not in shown]
    other = {chr(256 + i): b for i, b in enumerate(hidden)}
    return other | {chr(b): b for b in shown}


BYTES = letters()
SHOWN = {b: c for c, b in BYTES.items()}
# The 256 pieces that every vocabulary begins with, in GPT-2's order.
ALONE = [bytes([BYTES[c]]) for c in sorted(BYTES)]


def read_gpt2(folder: str | Path) -> tuple[dict, dict, dict]:
    """Ids, merges and special tokens of a folder of GPT-2's two files."""
    path = Path(folder) / VOCABULARY
    given = foreign.read_json(path)
    special = {t: i for t, i in given.items() if t == END_OF_TEXT}
    with blaming(path):
        ids = {to_bytes(t): i for t, i in given.items() if t not in special}
    path = Path(folder) / MERGES
    with blaming(path):
        lines = read(path).split("\n")  # not splitlines: pieces hold \x85
        lines = lines[lines[0].startswith(VERSION) :]
        pairs = (tuple(map(to_bytes, x.split(" "))) for x in lines if x)
        return ids, {pair: i for i, pair in enumerate(pairs)}, special


def write_gpt2(
    folder: str | Path,
    ids: Mapping[bytes, int],
    merges: Mapping,
    special: Mapping[str, int],
) -> None:
    """Write vocab.json and merges.txt, which Hugging Face reads as well."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shown = {written(piece): i for piece, i in ids.items()} | dict(special)
    text = json.dumps(shown, ensure_ascii=False)
    (folder / VOCABULARY).write_bytes(text.encode())
    pairs = (f"{written(a)} {written(b)}" for a, b in merges)
    text = "\n".join([f"{VERSION}: 0.2", *pairs, ""])
    (folder / MERGES).write_bytes(text.encode())


def read_tiktoken(path: str | Path) -> dict[bytes, int]:
    """Ids of the pieces in a file of ranks."""
    lines = (line.split() for line in read(Path(path)).splitlines() if line)
    with blaming(Path(path)):
        return {
            base64.b64decode(piece, validate=True): int(i)
            for piece, i in lines
        }


class blaming:
    """Makes the message of a `ValueError` begin with the file to blame."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, ValueError):
            said = str(error)
            if not said.startswith(str(self.path)):
                raise ValueError(f"{self.path}: {said}") from None


def read(path: Path) -> str:
    """The text of a file in UTF-8; `ValueError` if there is none."""
    try:
        return path.read_bytes().decode()
    except (OSError, ValueError) as error:
        raise foreign.unreadable(path, error) from None


def to_bytes(shown: str) -> bytes:
    """The bytes that a piece of GPT-2's files stands for."""
    if not shown or not BYTES.keys() >= set(shown):
        raise ValueError(f"got {shown!r}, expected characters for bytes")
    return bytes(BYTES[c] for c in shown)


def written(piece: bytes) -> str:
    """A piece as GPT-2's files show it: a space is Ġ, a new line Ċ."""
    return "".join(SHOWN[b] for b in piece)
