"""Pieces of pages that are slow to make, kept in build/ between builds."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile

FOLDER = Path("build/kept")  # relative to the repository; git ignores it


def kept(root: Path, key: object, make: Callable[[], str]) -> str:
    """Return what `make` made for this key, now or in an earlier build.

    The key's `repr` must hold all that the piece depends on.
    """
    name = hashlib.sha256(repr(key).encode()).hexdigest()
    path = root / FOLDER / name[:2] / name[2:]
    if path.exists():
        return path.read_text(encoding="utf-8")
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(
        "w", dir=path.parent, delete=False, encoding="utf-8"
    ) as draft:
        draft.write(made)
    os.replace(draft.name, path)  # a build that stops leaves no half piece
    return made
