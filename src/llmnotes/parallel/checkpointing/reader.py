"""Reading a checkpoint: only the blocks that are needed, each one checked.

block = bytes that one hash covers; a number is read with its block
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from llmnotes.checkpoint import steps
from llmnotes.parallel.checkpointing.disk import Disk
from llmnotes.parallel.checkpointing.index import Entry, Index, index_of
from llmnotes.parallel.checkpointing.parts import Part, whole

INDEX = "index.json"


class Reader:
    """Reads one checkpoint's folder."""

    index: Index

    def __init__(self, home: Path, disk: Disk):
        self.home, self.disk = home, disk

    def open(self) -> None:
        """Read the index."""
        file = self.home / INDEX
        try:
            text = bytearray(file.stat().st_size)
            self.disk.read(file, 0, memoryview(text))
            self.index = index_of(bytes(text))
        except (OSError, ValueError) as error:
            raise self.damaged(file, str(error)) from error

    def is_whole(self) -> bool:
        """Whether the index and all bytes are those that were written."""
        try:
            self.tensors(None)
        except ValueError:
            return False
        return True

    def check(self, asked: list[list[list]]) -> None:
        """Raise `ValueError` unless ranks ask for just these tensors."""
        known = {
            name: (what["shape"], what["dtype"])
            for name, what in self.index.tensors.items()
        }
        got = {name: (s, d) for parts in asked for name, s, d in parts}
        for name in sorted(known.keys() | got.keys()):
            mine = got.get(name, "nothing")
            if known.get(name) != mine:
                raise ValueError(
                    f"{self.home}: got another model's state: {name} is "
                    f"{words(known.get(name))}, expected {words(mine)}"
                )

    def tensors(self, names: Iterable[str] | None) -> dict[str, Tensor]:
        """Whole tensors by name."""
        self.open()
        known, found = self.index.tensors, {}
        for name in known if names is None else names:
            if name not in known:
                raise ValueError(
                    f"names: got {name!r}, expected one of "
                    f"{', '.join(known)}, which {self.home} holds"
                )
            shape, dtype = known[name]["shape"], self.index.dtype(name)
            found[name] = torch.empty(shape, dtype=dtype)
        for part in whole(found):
            part.values.copy_(self.read(part))
        return found

    def read(self, part: Part) -> Tensor:
        """The numbers of a part, from all files in which they lie."""
        new = torch.empty_like(part.values, device="cpu")
        for entry in self.index.entries:
            low = max(part.start, entry.start)
            high = min(part.stop, entry.stop)
            if entry.name == part.name and low < high:
                self.fill(new[low - part.start : high - part.start],
                          entry, low - entry.start)  # fmt: skip
        return new

    def fill(self, row: Tensor, entry: Entry, start: int) -> None:
        """Fill a row with numbers of an entry, `start` counted in it."""
        width, to = row.element_size(), row.view(torch.uint8).numpy()
        low, high = start * width, start * width + row.nbytes
        for at, block in self.blocks(entry, width, low, high):
            first, last = max(low, at), min(high, at + len(block))
            to[first - low : last - low] = block[first - at : last - at]

    def blocks(self, entry, width, low, high) -> Iterator[tuple]:
        """The blocks around bytes low to high of an entry, each checked."""
        size, ends = self.index.block, (entry.stop - entry.start) * width
        file = self.home / entry.file
        for number in range(low // size, -(-high // size)):
            at = number * size
            block = bytearray(min(size, ends - at))
            try:
                self.disk.read(file, entry.offset + at, memoryview(block))
            except OSError as error:
                raise self.damaged(file, str(error), entry.name) from error
            if sha256(block).hexdigest() != entry.sha256[number]:
                raise self.damaged(
                    file,
                    f"bytes {entry.offset + at} to "
                    f"{entry.offset + at + len(block)} have another sha256",
                    entry.name,
                )
            yield at, torch.frombuffer(block, dtype=torch.uint8).numpy()

    def damaged(self, file: Path, why: str, name: str = "") -> ValueError:
        """The error for a file whose bytes are not those written."""
        here = int(self.home.name.removeprefix("step-"))
        older = [s for s in steps(self.home.parent) if s < here]
        hint = f"; step {older[-1]} is older" if older else ""
        what = f"tensor {name!r} in {file}" if name else file
        return ValueError(f"{what}: damaged: {why}{hint}")


def words(what) -> str:
    """A shape and type in words."""
    if not what or isinstance(what, str):
        return "nothing"
    return f"{tuple(what[0])} {what[1]}"
