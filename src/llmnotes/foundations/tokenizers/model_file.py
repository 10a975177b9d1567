"""SentencePiece's file, a protocol buffer: read and written by hand.

    field  = number << 3 | wire: 0 varint, 1 eight bytes, 2 length, 5 four
    varint = seven bits a byte, the lowest first; a set top bit says go on

    ModelFile   1 piece, again and again; 2 trainer; 3 normaliser
    piece       1 text; 2 score (float32); 3 kind
    trainer     3 type of the model; 4 size; 35 byte fallback
    normaliser  1 name; 2 table of replacements; 3 space before; 4 spare spaces

Sources: protobuf.dev, "Encoding"; google/sentencepiece
`sentencepiece_model.proto`. No library, and nothing that runs code: a file
from a stranger is data.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmnotes import foreign
from llmnotes.foundations.tokenizers.files import blaming

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)
UNIGRAM, BPE = 1, 2
TYPES = {UNIGRAM: "unigram", BPE: "bpe", 3: "word", 4: "char"}
VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5
WIDTHS = {EIGHT: 8, FOUR: 4}


@dataclass(frozen=True)
class Piece:
    """One piece of a vocabulary; its id is its place."""

    text: str
    score: float = 0.0
    kind: int = NORMAL


@dataclass(frozen=True)
class ModelFile:
    """What a file says; `space_before` is SentencePiece's dummy prefix."""

    pieces: tuple[Piece, ...]
    type: int
    byte_fallback: bool = False
    space_before: bool = True
    spare_spaces: bool = True  # are taken out: at both ends, and doubled ones


def fields(body: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a message."""
    at = 0
    while at < len(body):
        tag, at = varint(body, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = varint(body, at)
            yield number, value
            continue
        if wire == LENGTH:
            width, at = varint(body, at)
        elif wire in WIDTHS:
            width = WIDTHS[wire]
        else:
            raise ValueError(f"got wire type {wire}, expected 0, 1, 2 or 5")
        if at + width > len(body):
            raise ValueError(
                f"got {len(body) - at} bytes at the end, expected {width}"
            )
        yield number, body[at : at + width]
        at += width


def varint(body: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends."""
    value = shift = 0
    while at < len(body) and shift < 70:
        byte = body[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError("got an unfinished number, expected its last byte")


def read(path: str | Path, expected: int) -> ModelFile:
    """A file of one type of model.

    Raises `ValueError` naming the file and what in it cannot be read, or
    asks for what we do not compute.
    """
    try:
        body = Path(path).read_bytes()
    except OSError as error:
        raise foreign.unreadable(Path(path), error) from None
    with blaming(Path(path)):
        return parse(body, expected)


def kind_of(path: str | Path) -> int:
    """The type of model that a file says it holds."""
    try:
        parts = dict(fields(Path(path).read_bytes()))
        return dict(fields(parts[2])).get(3, UNIGRAM)
    except OSError as error:
        raise foreign.unreadable(Path(path), error) from None
    except (KeyError, TypeError, ValueError):
        raise ValueError("got no file of SentencePiece") from None


def parse(body: bytes, expected: int) -> ModelFile:
    """The same from its bytes."""
    try:
        all_fields = list(fields(body))
        pieces = tuple(
            piece(dict(fields(value)))
            for number, value in all_fields
            if number == 1
        )
        parts = dict(all_fields)
        trainer, normal = (dict(fields(parts.get(n, b""))) for n in (2, 3))
    except (TypeError, struct.error) as error:
        raise ValueError(f"got no file of SentencePiece: {error}") from None
    kind = trainer.get(3, UNIGRAM)
    if not pieces or 2 not in parts:
        raise ValueError("got no pieces or no trainer, expected both")
    check(pieces, trainer, normal, kind, expected)
    return ModelFile(
        pieces,
        kind,
        byte_fallback=bool(trainer.get(35, 0)),
        space_before=bool(normal.get(3, 1)),
        spare_spaces=bool(normal.get(4, 1)),
    )


def piece(given: dict) -> Piece:
    """One piece from its fields."""
    (score,) = struct.unpack("<f", given.get(2, bytes(4)))
    return Piece(given[1].decode(), score, given.get(3, NORMAL))


def check(pieces, trainer: dict, normal: dict, kind, expected) -> None:
    """`ValueError` for what is incomplete, or asks for other sums."""
    size = trainer.get(4, len(pieces))
    if size != len(pieces):
        raise ValueError(f"got {len(pieces)} pieces, expected {size}")
    if kind != expected:
        raise ValueError(
            f"model_type: got {TYPES.get(kind, kind)}, expected "
            f"{TYPES[expected]}"
        )
    if normal.get(2):
        name = normal.get(1, b"").decode(errors="replace")
        raise ValueError(
            f"normalizer: got {name!r}, whose table changes letters; "
            "expected identity"
        )
    if trainer.get(24, 0):
        raise ValueError("treat_whitespace_as_suffix: got 1, expected 0")
    for one in pieces:
        if one.kind == UNUSED:
            raise ValueError(
                f"pieces: got {one.text!r} of kind UNUSED, expected none"
            )


def write(path: str | Path, model: ModelFile) -> None:
    """Write a file that SentencePiece reads as well."""
    body = b"".join(
        field(1, field(1, p.text.encode()) + field(2, p.score)
              + field(3, p.kind))
        for p in model.pieces
    )  # fmt: skip
    trainer = {3: model.type, 4: len(model.pieces), 35: model.byte_fallback}
    normal = {1: b"identity", 3: model.space_before, 4: model.spare_spaces}
    for number, part in ((2, trainer), (3, normal)):
        inner = b"".join(field(n, value) for n, value in part.items())
        body += field(number, inner)
    Path(path).write_bytes(body)


def field(number: int, value: int | float | bytes) -> bytes:
    """One field of a message."""
    if isinstance(value, bytes):
        tag = number << 3 | LENGTH
        return number_bytes(tag) + number_bytes(len(value)) + value
    if isinstance(value, float):
        return number_bytes(number << 3 | FOUR) + struct.pack("<f", value)
    return number_bytes(number << 3 | VARINT) + number_bytes(int(value))


def number_bytes(value: int) -> bytes:
    """A number as a varint."""
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])
