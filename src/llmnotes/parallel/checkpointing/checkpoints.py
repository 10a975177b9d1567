"""Checkpoints that several ranks write together and any number reads.

    run/step-000500/rank-0.bin   numbers of rank 0, as they lie in memory
    run/step-000500/rank-1.bin   those of rank 1
    run/step-000500/index.json   what is where, with hashes (see `index`)
    run/.part/                   a checkpoint that is being written

Each rank writes one file into .part and pushes it. When all have, rank 0
writes the index, pushes the folder and renames it: a folder step-... is whole.
Only rank 0 makes, renames and removes folders.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llmnotes import checkpoint
from llmnotes.checks import check_sizes
from llmnotes.parallel.checkpointing.disk import Disk
from llmnotes.parallel.checkpointing.index import Entry, Index, outline
from llmnotes.parallel.checkpointing.meeting import PATIENCE, Meeting
from llmnotes.parallel.checkpointing.parts import Part
from llmnotes.parallel.checkpointing.reader import INDEX, Reader
from llmnotes.parallel.data_parallel import RankError

BLOCK = 2**20  # bytes that a hash covers


class Checkpoints:
    """The checkpoints in one folder, of which the last `kept` stay.

    All ranks must call each method, with the same step.
    """

    def __init__(
        self, folder: str | Path, *, kept: int = 2, block: int = BLOCK,
        patience: float = PATIENCE, disk: Disk | None = None,
    ):  # fmt: skip
        if kept < 1 or block < 16 or block % 16:
            raise ValueError(
                f"kept, block: got {kept}, {block}, expected at least 1, and "
                "a multiple of 16 bytes"
            )
        self.folder, self.kept, self.block = Path(folder), kept, block
        self.meeting = Meeting(str(folder), patience)
        self.disk = disk or Disk()
        self.part = self.folder / checkpoint.PART

    def save(
        self, step: int, parts: list[Part], facts: dict | None = None
    ) -> Path:
        """Write a checkpoint, all or nothing, and drop the oldest.

        Together the ranks' parts must hold each number once; `facts` are
        what JSON holds, the same on all ranks. A step that is there stays,
        unless it is damaged; one before it is refused.

        Raises `ValueError` for what cannot be saved, `RuntimeError` if a
        disk refuses, `RankError` for ranks that do not come; older
        checkpoints are then untouched.
        """
        about = f"{self.folder}: save step {step}"
        shapes = self.agree(about, step, parts, facts)
        home = checkpoint.path(self.folder, step)
        try:
            if self.by_one(f"{about}, begin", lambda: self.begin(step)):
                shards = self.meeting.together(
                    f"{about}, write", lambda: self.write(parts)
                )
                index = self.index(step, facts, shapes, shards)
                self.by_one(f"{about}, end", lambda: self.end(home, index))
        except RankError:
            raise
        except RuntimeError as error:
            raise self.refused(about, error) from error
        return home

    def agree(self, about, step, parts, facts) -> dict[str, dict]:
        """Shapes and types of all tensors, if the ranks save one state."""
        told = self.meeting.together(
            about, lambda: described(step, parts, facts)
        )
        check_same([facts for facts, _ in told])
        return outline([parts for _, parts in told])

    def by_one(self, about: str, work) -> Any:
        """Rank 0 does it, and all hear what came of it."""
        first = self.meeting.rank == 0
        return self.meeting.together(about, work if first else bool)[0]

    def begin(self, step: int) -> bool:
        """Make the folder to write into; False if the step is there."""
        if (found := checkpoint.steps(self.folder)) and found[-1] > step:
            raise ValueError(
                f"step: got {step}, expected none before {found[-1]}, which "
                f"{self.folder} holds; remove what an earlier run has left"
            )
        home = checkpoint.path(self.folder, step)
        if step in found and Reader(home, self.disk).is_whole():
            return False
        self.new(self.folder)
        self.disk.remove(self.part)  # what a crash has left
        self.disk.remove(home)  # a step that was damaged
        self.disk.make(self.part)
        return True

    def new(self, folder: Path) -> None:
        """Make a folder, and those above it, and push their names."""
        if not folder.exists():
            self.new(folder.parent)
            self.disk.make(folder)
            self.disk.push(folder.parent)

    def write(self, parts: list[Part]) -> list[dict]:
        """Write this rank's file; returns its entries of the index.

        A thread hashes the next blocks while the disk takes those before.
        """
        file, offset = f"rank-{self.meeting.rank}.bin", 0
        entries, hashes = [], []
        with ThreadPoolExecutor(1) as thread:

            def blocks() -> Iterator[memoryview]:
                for p in parts:
                    found = list(cut(as_bytes(p.values), self.block))
                    hashes.append([thread.submit(hashed, b) for b in found])
                    yield from found

            self.disk.write(self.part / file, blocks())
        for p, found in zip(parts, hashes, strict=True):
            digests = [digest.result() for digest in found]
            entry = Entry(p.name, p.start, p.stop, file, offset, digests)
            entries.append(asdict(entry))
            offset += p.values.nbytes
        return entries

    def index(self, step, facts, shapes, shards) -> Index:
        """What all ranks have written."""
        entries = [Entry(**entry) for shard in shards for entry in shard]
        return Index(
            step, len(shards), self.block, facts or {}, shapes, entries
        )

    def end(self, home: Path, index: Index) -> None:
        """All have written: make it a checkpoint, then drop the oldest."""
        self.disk.write(self.part / INDEX, [memoryview(index.text())])
        self.disk.push(self.part)
        self.disk.rename(self.part, home)
        self.disk.push(self.folder)
        for old in checkpoint.steps(self.folder)[: -self.kept]:
            self.disk.rename(checkpoint.path(self.folder, old), self.part)
            self.disk.push(self.folder)
            self.disk.remove(self.part)

    def refused(self, about: str, error: RuntimeError) -> RuntimeError:
        """The error for a disk that did not take it."""
        kept = ", ".join(map(str, checkpoint.steps(self.folder))) or "none"
        if self.meeting.rank == 0:  # nobody writes any more
            shutil.rmtree(self.part, ignore_errors=True)
        return RuntimeError(f"{about}: {error}; checkpoints kept: {kept}")

    def steps(self) -> list[int]:
        """The steps that are there, oldest first, as rank 0 sees them.

        A network's disk may show ranks different things: one decides.
        """
        return self.by_one(
            f"{self.folder}: which steps",
            lambda: checkpoint.steps(self.folder),
        )

    def newest(self) -> int:
        """The newest step; `ValueError` if there is none."""
        if found := self.steps():
            return found[-1]
        raise ValueError(f"{self.folder}: got no checkpoint, expected one")

    def load(self, parts: list[Part], step: int | None = None) -> dict:
        """Fill parts with what a checkpoint holds; returns its facts.

        It may have been written by another number of ranks. A rank reads the
        blocks in which its numbers lie, and no others. All is read and
        checked, on all ranks, before anything is changed. Raises
        `ValueError` naming a tensor that is another one or damaged.
        """
        step = self.newest() if step is None else step
        about = f"{self.folder}: load step {step}"
        reader = Reader(checkpoint.path(self.folder, step), self.disk)
        asked = [[p.name, list(p.shape), kind(p.values)] for p in parts]
        told = self.meeting.together(about, lambda: [reader.open(), asked])
        reader.check([asked for _, asked in told])
        found: list[Tensor] = []
        self.meeting.together(
            f"{about}, read",
            lambda: found.extend(reader.read(p) for p in parts),
        )
        for p, new in zip(parts, found, strict=True):
            p.values.copy_(new)
        return reader.index.facts

    def tensors(
        self, step: int | None = None, names: Iterable[str] | None = None
    ) -> tuple[dict[str, Tensor], dict]:
        """Whole tensors, all or those that are named, and the facts."""
        step = self.newest() if step is None else step
        reader = Reader(checkpoint.path(self.folder, step), self.disk)
        found: dict[str, Tensor] = {}
        self.meeting.together(
            f"{self.folder}: read step {step}",
            lambda: found.update(reader.tensors(names)),
        )
        return found, reader.index.facts


def described(step: int, parts: list[Part], facts: dict | None) -> list:
    """What a rank brings, in words."""
    check_sizes(0, step=step)
    try:
        json.dumps(facts)
        check_words(facts)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"facts: got what JSON cannot hold ({error}), expected numbers, "
            "words, lists and dicts"
        ) from None
    return [
        facts or {},
        [[p.name, list(p.shape), kind(p.values), p.start, p.stop]
         for p in parts],
    ]  # fmt: skip


def check_words(facts: Any) -> None:
    """Raise `TypeError` for a key that JSON would turn into a word."""
    if isinstance(facts, list | tuple):
        facts = dict(zip(map(str, range(len(facts))), facts, strict=True))
    for key, value in facts.items() if isinstance(facts, dict) else ():
        if not isinstance(key, str):
            raise TypeError(f"the key {key!r} would come back as a word")
        check_words(value)


def check_same(facts: list[dict]) -> None:
    """Raise `ValueError` where ranks tell other facts."""
    for rank, mine in enumerate(facts):
        for name in {**facts[0], **mine}:
            got, expected = (f.get(name) for f in (mine, facts[0]))
            if json.dumps(got) != json.dumps(expected):  # NaN is itself
                raise ValueError(
                    f"facts: {name}: got {got!r} on rank {rank}, expected "
                    f"{expected!r}, as on rank 0; what belongs to a rank is "
                    "lost when their number changes: derive it from seed, "
                    "step and rank"
                )


def as_bytes(row: Tensor) -> memoryview:
    """The bytes of a row of numbers, without a copy on the CPU."""
    return memoryview(row.cpu().contiguous().view(torch.uint8).numpy())


def cut(row: memoryview, block: int) -> Iterator[memoryview]:
    """A row in blocks, the last of which may be shorter."""
    return (row[i : i + block] for i in range(0, len(row), block))


def hashed(block: memoryview) -> str:
    """The sha256 of some bytes."""
    return sha256(block).hexdigest()


def kind(row: Tensor) -> str:
    """The type of a tensor's numbers, in a word."""
    return str(row.dtype).removeprefix("torch.")
