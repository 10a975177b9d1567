"""What is asked of a disk, one operation at a time.

    push = fsync: wait until what was written is on the disk, not only in the
           memory of the machine

A name is on the disk only when the *folder* that holds it has been pushed.

Sources
- POSIX.1-2017: fsync, rename.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from llmnotes.checkpoint import push_to_disk


class Disk:
    """Makes, writes, pushes, renames, removes and reads.

    `before` is called before each operation: a test dies there.
    """

    def before(self, operation: str, path: Path) -> None:
        """Something is about to happen to a path."""

    def make(self, folder: Path) -> None:
        """Make a folder that is not there yet."""
        self.before("make", folder)
        folder.mkdir()

    def write(self, file: Path, blocks: Iterable[memoryview]) -> None:
        """Write a file that is not there yet, and push it."""
        self.before("open", file)
        with open(file, "xb", buffering=0) as out:
            for block in blocks:
                self.before("write", file)
                while block.nbytes:  # a disk may take less than it is given
                    block = block[out.write(block) :]
        self.push(file)

    def push(self, path: Path) -> None:
        """Wait until a file, or a folder's list of names, is on the disk."""
        self.before("push", path)
        push_to_disk(path)

    def rename(self, old: Path, new: Path) -> None:
        """Give another name: at once, or not at all."""
        self.before("rename", old)
        os.rename(old, new)

    def remove(self, folder: Path) -> None:
        """Remove a folder and the files in it, if it is there."""
        if not folder.exists():
            return
        for file in sorted(folder.iterdir()):
            self.before("unlink", file)
            file.unlink()
        self.before("rmdir", folder)
        folder.rmdir()

    def read(self, file: Path, start: int, into: memoryview) -> None:
        """Fill `into` with the bytes from `start` on; `OSError` at the end."""
        self.before("read", file)
        with open(file, "rb", buffering=0) as source:
            source.seek(start)
            while into.nbytes:
                count = source.readinto(into)
                if not count:
                    raise OSError(f"{file} ends {into.nbytes} bytes too early")
                into = into[count:]
