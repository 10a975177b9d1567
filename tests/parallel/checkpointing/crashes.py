"""Ends of processes and of power, at every operation, and what is left."""

import itertools
import shutil
import tempfile
from pathlib import Path

from llmnotes.parallel.checkpointing import Disk
from llmnotes.parallel.data_parallel import run
from tests.parallel.checkpointing import ranked, small

RANKS, BEFORE, STEPS = 2, 6, 9  # checkpoints at 3, 6 and, if it lives, 9


def operations(processes, folder):
    """What ranks 0 and 1 do from one checkpoint to the next."""
    return run(
        ranked.operations, RANKS, folder, BEFORE, STEPS, processes=processes
    )


def kill(processes, folder, victim, at):
    """Two ranks save; `victim` is killed before its operation `at`."""
    with tempfile.TemporaryDirectory() as home:
        job = RANKS, f"{home}/store", folder, victim, at, STEPS
        others = [
            processes.Process(target=ranked.dies, args=(rank, *job))
            for rank in range(RANKS)
        ]
        for process in others:
            process.start()
        others[victim].join()
        for process in others:
            process.kill()
            process.join()
    return others[victim].exitcode


def killed_folders(processes, home, moments):
    """Folders left by runs that died at these (victim, operation)."""
    begun = home / "begun"
    run(small.go, RANKS, begun, BEFORE, processes=processes)
    folders = []
    for victim, at in moments:
        folder = home / f"{victim}-{at}"
        shutil.copytree(begun, folder)
        assert kill(processes, folder, victim, at) == -9
        folders.append(folder)
    return folders


class Recorded(Disk):
    """Works on a real folder, and remembers what was asked, in order."""

    def __init__(self):
        self.asked = []

    def before(self, operation, path):
        if operation not in ("read", "write", "rename"):
            self.asked.append((operation, path))

    def write(self, file, blocks):
        def seen():
            for block in blocks:
                self.asked.append(("write", file, bytes(block)))
                yield block

        super().write(file, seen())

    def rename(self, old, new):
        self.asked.append(("rename", old, new))
        super().rename(old, new)


class File:
    """What a machine thinks is in a file, and what its disk knows."""

    def __init__(self, data=b""):
        self.now = self.safe = data

    def push(self):
        self.safe = self.now

    def left(self, choices):
        """Its bytes after a cut."""
        return self.now if choices["files"] else self.safe


class Folder:
    """The same for a folder: its list of names."""

    def __init__(self, kind, names=()):
        self.kind, self.now, self.safe = kind, dict(names), dict(names)

    def push(self):
        self.safe = dict(self.now)

    def left(self, choices):
        """What is in it after a cut: names, and folders or bytes."""
        names = self.now if choices[self.kind] else self.safe
        return tuple(
            (name, what.left(choices)) for name, what in sorted(names.items())
        )


def remembered(path, kind="run"):
    """A folder that is on the disk as it is."""
    return Folder(kind, {
        p.name: remembered(p, "step") if p.is_dir() else File(p.read_bytes())
        for p in path.iterdir()
    })  # fmt: skip


def find(root, home, path):
    """What lies at a path, in the machine's memory."""
    for name in path.relative_to(home).parts:
        root = root.now[name]
    return root


def replay(root, home, asked):
    """Let operations happen to a remembered folder."""
    for operation, path, *more in asked:
        names = find(root, home, path.parent).now if path != home else {}
        if operation == "make":
            names[path.name] = Folder("step")
        elif operation == "open":
            names[path.name] = File()
        elif operation == "write":
            names[path.name].now += more[0]
        elif operation == "push":
            find(root, home, path).push()
        elif operation == "rename":
            names[more[0].name] = names.pop(path.name)
        else:
            del names[path.name]


def put(left, path):
    """Make what is left a real folder."""
    path.mkdir()
    for name, what in left:
        if isinstance(what, tuple):
            put(what, path / name)
        else:
            (path / name).write_bytes(what)


def power_cuts(before, home, asked, look):
    """(operations done, what `look` finds) for all a disk may then hold.

    What was not pushed may be there or not: the run's list of names, that of
    a checkpoint, and the bytes of files, in any combination.
    """
    root, seen = remembered(before), {}
    for count in range(len(asked) + 1):
        replay(root, home, asked[max(count - 1, 0) : count])
        for choice in itertools.product((False, True), repeat=3):
            whats = "run", "step", "files"
            left = root.left(dict(zip(whats, choice, strict=True)))
            if left not in seen:
                with tempfile.TemporaryDirectory() as place:
                    folder = Path(place) / "run"
                    put(left, folder)
                    seen[left] = look(folder)
            yield count, seen[left]
