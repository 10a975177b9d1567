"""The index of a checkpoint: what is where, and how its bytes read.

    tensors = {name: its shape and type}
    entries = where the parts lie: file, offset, and a sha256 of each block
    block   = bytes that one hash covers, counted from where a part begins
    facts   = words and numbers that are the same on all ranks

Hashes of blocks let a rank that needs some numbers of a part check these
without reading the others. The index itself stands behind its own hash.

Sources
- FIPS 180-4: SHA-256.
"""

import json
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

import torch

FORMAT = "llmnotes shards 1"
HEAD, MIDDLE, TAIL = '{"sha256": "', '", "index": ', "}"


@dataclass(frozen=True)
class Entry:
    """Where numbers start to stop of a tensor lie."""

    name: str
    start: int
    stop: int
    file: str
    offset: int
    sha256: list[str]


@dataclass(frozen=True)
class Index:
    """All that is known of a checkpoint before its numbers are read."""

    step: int
    ranks: int
    block: int
    facts: dict[str, Any]
    tensors: dict[str, dict]
    entries: list[Entry] = field(default_factory=list)

    def text(self) -> bytes:
        """As a file holds it."""
        body = json.dumps({
            "format": FORMAT,
            **vars(self),
            "entries": [asdict(entry) for entry in self.entries],
        })  # fmt: skip
        digest = sha256(body.encode()).hexdigest()
        return f"{HEAD}{digest}{MIDDLE}{body}{TAIL}".encode()

    def dtype(self, name: str) -> torch.dtype:
        """The type of a tensor's numbers."""
        return getattr(torch, self.tensors[name]["dtype"])


def index_of(text: bytes) -> Index:
    """Read an index; `ValueError` where a byte is another one."""
    first, last = len(HEAD), len(HEAD) + 64
    body_at = last + len(MIDDLE)
    digest, body = text[first:last], text[body_at:-1]
    head, middle, tail = text[:first], text[last:body_at], text[-1:]
    frame = HEAD.encode(), MIDDLE.encode(), TAIL.encode()
    if (head, middle, tail) != frame:
        raise ValueError("not an index of llmnotes")
    if sha256(body).hexdigest().encode() != digest:
        raise ValueError("its sha256 is another one")
    found = json.loads(body)
    if found.pop("format") != FORMAT:
        raise ValueError(f"another format than {FORMAT!r}")
    found["entries"] = [Entry(**entry) for entry in found["entries"]]
    return Index(**found)


def outline(shards: list[list[list]]) -> dict[str, dict]:
    """{name: shape, type} of what all ranks hold, each number exactly once.

    `shards` are, by rank, [name, shape, type, start, stop] of each part.
    Raises `ValueError` naming the tensor that ranks know differently, and
    numbers that nobody or two hold.
    """
    tensors, held = {}, {}
    for rank, parts in enumerate(shards):
        for name, shape, dtype, start, stop in parts:
            what = {"shape": shape, "dtype": dtype}
            if tensors.setdefault(name, what) != what:
                raise ValueError(
                    f"{name}: rank {rank} holds a part of {shape} {dtype}, "
                    f"expected {tensors[name]['shape']} "
                    f"{tensors[name]['dtype']}, as the ranks before it"
                )
            held.setdefault(name, []).append((start, stop, rank))
    for name, what in tensors.items():
        check_cover(name, numbers(what["shape"]), sorted(held[name]))
    return tensors


def check_cover(name: str, count: int, held: list[tuple]) -> None:
    """Raise `ValueError` unless the parts follow each other to the end."""
    at = before = 0
    for start, stop, rank in [*held, (count, count, None)]:
        if start > at:
            raise ValueError(
                f"{name}: no rank holds its numbers {at} to {start}, "
                f"expected all {count}"
            )
        if start < at:
            raise ValueError(
                f"{name}: ranks {before} and {rank} both hold numbers from "
                f"{start} on, expected each once; of replicas let each save "
                "its `flat` part"
            )
        at, before = stop, rank


def numbers(shape: list[int]) -> int:
    """How many a tensor of this shape has."""
    return torch.Size(shape).numel()
