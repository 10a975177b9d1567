"""A .gguf file: what a model is, and its weights in formats of ggml.

    magic, version, how many tensors, how many facts
    facts    name, type, value: `general.architecture` and so on
    tensors  name, axes (the last one first), number of the format, and where
             its bytes begin, counted from the end of this list
    bytes    of each tensor, at multiples of `general.alignment`

    facts  = {name: number, word, truth or a list of one kind of these}
    format = a class of `ggml`: how the bytes of a tensor are to be read

All numbers are little-endian; words are UTF-8 behind their length.

Sources
- ggml, its page on GGUF, version 3 (which differs from 2 in that the order
  of bytes may be the other one).
"""

import math
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from llmnotes import foreign
from llmnotes.adaptation.quantization.ggml import FORMATS, WHOLE, Ggml

MAGIC, VERSION, ALIGNMENT = b"GGUF", 3, 32
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?"}
NUMBERS |= {10: "Q", 11: "q", 12: "d"}
WORD, LIST = 8, 9
ALIGNED = "general.alignment"
KNOWN = {kind.number: kind for kind in (*WHOLE, *FORMATS)}
AXES = 4  # at most
FLOATS = torch.finfo(torch.float32).max


class Gguf(NamedTuple):
    """What a file says, and its tensors."""

    facts: dict
    tensors: dict[str, Ggml]


class Reader:
    """The bytes of a file, taken from the front."""

    def __init__(self, path: Path):
        self.path, self.at = path, 0
        try:
            self.data = np.fromfile(path, np.uint8)
        except OSError as error:
            raise foreign.unreadable(path, error) from None

    def wrong(self, what: str) -> ValueError:
        """The error for a file that is damaged or of another kind."""
        return ValueError(f"{self.path}: {what}")

    def take(self, count: int) -> bytes:
        """The next bytes; `ValueError` if there are not so many."""
        stop = self.at + count
        if stop > len(self.data):
            raise self.wrong(
                f"got {len(self.data)} bytes, expected at least {stop}: it "
                "was cut short, or is damaged"
            )
        found = self.data[self.at : stop].tobytes()
        self.at = stop
        return found

    def numbers(self, code: str, count: int = 1) -> tuple:
        """So many numbers of one type."""
        size = struct.calcsize(f"<{code}")
        return struct.unpack(f"<{count}{code}", self.take(count * size))

    def word(self) -> str:
        """A word behind its length."""
        try:
            return self.take(*self.numbers("Q")).decode()
        except UnicodeDecodeError:
            raise self.wrong("got a word that is not UTF-8") from None

    def value(self, kind: int):
        """A number, a word, or a list."""
        if kind == WORD:
            return self.word()
        if kind in NUMBERS:
            return self.numbers(NUMBERS[kind])[0]
        if kind != LIST:
            raise self.wrong(f"got a fact of type {kind}, expected 0 to 12")
        kind, count = *self.numbers("I"), *self.numbers("Q")
        if kind in NUMBERS:
            return list(self.numbers(NUMBERS[kind], count))
        if kind != WORD:
            raise self.wrong(f"got a list of type {kind}, expected 0 to 8")
        return [self.word() for _ in range(count)]


def read(path: str | Path) -> Gguf:
    """Return what a .gguf file says, and its tensors, still quantized.

    Raises `ValueError` naming the file: not there, cut short, of another
    kind, or with a tensor of a format that the book does not have.
    """
    reader = Reader(Path(path))
    magic, (version,) = reader.take(4), reader.numbers("I")
    if magic != MAGIC:
        raise reader.wrong(f"got {magic!r} at the front, expected {MAGIC!r}")
    if version not in (2, VERSION):
        raise reader.wrong(f"got version {version}, expected {VERSION}")
    tensors, facts = reader.numbers("Q", 2)
    said = {}
    for _ in range(facts):
        name = reader.word()
        said[name] = reader.value(*reader.numbers("I"))
    infos = [info(reader) for _ in range(tensors)]
    start = aligned(reader.at, alignment(reader, said))
    check_room(reader, start, infos)
    found = {name: tensor(reader, start, name, *i) for name, *i in infos}
    if len(found) < len(infos):
        raise reader.wrong("got two tensors of one name")
    return Gguf(said, found)


def alignment(reader: Reader, facts: Mapping) -> int:
    """What places of tensors are multiples of."""
    try:
        return multiple(facts)
    except ValueError as error:
        raise reader.wrong(str(error)) from None


def multiple(facts: Mapping) -> int:
    """`general.alignment`, which is 32 where nobody says otherwise."""
    found = facts.get(ALIGNED, ALIGNMENT)
    if type(found) is not int or found < 1:
        raise ValueError(f"{ALIGNED}: got {found!r}, expected 32")
    return found


def aligned(at: int, to: int) -> int:
    """The first multiple that is not before `at`."""
    return -(-at // to) * to


def info(reader: Reader) -> tuple[str, tuple[int, ...], int, int]:
    """Name, shape, number of the format, and place of one tensor."""
    name, (axes,) = reader.word(), reader.numbers("I")
    if not 1 <= axes <= AXES:
        raise reader.wrong(f"{name}: got {axes} axes, expected 1 to {AXES}")
    shape = reader.numbers("Q", axes)[::-1]
    return name, shape, *reader.numbers("I"), *reader.numbers("Q")


def check_room(reader: Reader, start: int, infos: list[tuple]) -> None:
    """Raise `ValueError` for tensors that overlap.

    All those of a small file together could else fill the memory.
    """
    stop = start + sum(nbytes(reader, *found[:3]) for found in infos)
    if stop > len(reader.data):
        raise reader.wrong(
            f"got {len(reader.data)} bytes, expected at least {stop} for all "
            "tensors: it was cut short, or is damaged"
        )


def nbytes(
    reader: Reader, name: str, shape: tuple[int, ...], number: int
) -> int:
    """Bytes of a tensor; `ValueError` if its format has no such."""
    if number not in KNOWN:
        known = ", ".join(f"{n} {k.name()}" for n, k in KNOWN.items())
        raise reader.wrong(
            f"{name}: got format {number}, expected one of {known}"
        )
    kind = KNOWN[number]
    if 0 in shape or shape[-1] % kind.size:
        raise reader.wrong(
            f"{name}: got shape {shape}, expected rows of blocks of "
            f"{kind.size}"
        )
    return math.prod(shape) // kind.size * kind.width


def tensor(
    reader: Reader,
    start: int,
    name: str,
    shape: tuple[int, ...],
    number: int,
    place: int,
) -> Ggml:
    """One tensor, as its format has it."""
    kind = KNOWN[number]
    reader.at = start + place
    raw = reader.take(nbytes(reader, name, shape, number))
    raw = torch.frombuffer(bytearray(raw), dtype=torch.uint8)
    raw = raw.reshape(-1, kind.width)
    return kind(torch.Size(shape), torch.float32, raw)


def write(
    path: str | Path, facts: Mapping, tensors: Mapping[str, Ggml]
) -> None:
    """Write a file, all or nothing.

    Raises `ValueError` for a fact that is no number, word, truth or list of
    one kind of these, a tensor of more than 4 axes, and a path of something
    else than a file, and `OSError` where nothing can be written.
    """
    path, to = Path(path), multiple(facts)
    check_path(path)
    part = path.with_name(f"{path.name}.part")
    head = b"".join(front(facts, tensors))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as file:
            file.write(head.ljust(aligned(len(head), to), b"\0"))
            for quantized in tensors.values():
                raw = quantized.raw.cpu().numpy().tobytes()
                file.write(raw.ljust(aligned(len(raw), to), b"\0"))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_path(path: Path) -> None:
    """Raise `ValueError` for a folder or a device: neither is replaced."""
    if path.exists() and not path.is_file():
        raise ValueError(
            f"{path}: is no file, expected one that can be replaced"
        )


def front(facts: Mapping, tensors: Mapping[str, Ggml]) -> Iterator[bytes]:
    """All that stands before the bytes of the tensors."""
    yield MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(facts))
    for name, value in facts.items():
        kind = kind_of(name, value)
        yield word(name) + struct.pack("<I", kind) + written(name, kind, value)
    place = 0
    for name, quantized in tensors.items():
        shape = quantized.shape[::-1]
        if not 1 <= len(shape) <= AXES:
            raise ValueError(
                f"{name}: got {len(shape)} axes, expected 1 to {AXES}"
            )
        yield word(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        yield struct.pack("<IQ", quantized.number, place)
        place += aligned(quantized.nbytes, multiple(facts))


def word(text: str) -> bytes:
    """A word behind its length."""
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def kind_of(name: str, value) -> int:
    """The number of a value's type: the smallest that readers expect."""
    kinds = {bool: 7, float: 6, str: WORD, list: LIST}
    if type(value) is int:
        fits = {4: range(2**32), 5: range(-(2**31), 0), 10: range(2**64)}
        kinds[int] = next((k for k, r in fits.items() if value in r), None)
    if type(value) is float and FLOATS < abs(value) < math.inf:
        kinds[float] = 12
    found = kinds.get(type(value))
    if found is None:
        raise ValueError(
            f"{name}: got {value!r}, expected a number, a word, a truth or a "
            "list"
        )
    return found


def written(name: str, kind: int, value) -> bytes:
    """A value in bytes."""
    if kind == WORD:
        return word(value)
    if kind != LIST:
        return struct.pack(f"<{NUMBERS[kind]}", value)
    kinds = {kind_of(name, v) for v in value} or {WORD}
    if len(kinds) > 1:
        raise ValueError(f"{name}: got values of {len(kinds)} types in a list")
    (inner,) = kinds
    if inner == LIST:
        raise ValueError(f"{name}: got a list of lists, expected a flat one")
    values = b"".join(written(name, inner, v) for v in value)
    return struct.pack("<IQ", inner, len(value)) + values
