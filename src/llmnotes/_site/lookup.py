"""Results by reference, each file read and validated once per change."""

import functools
from pathlib import Path

from llmnotes._site import results


def chapter_results(root: Path, chapter: str) -> dict[str, dict]:
    """Return {name: result} of a chapter; `LookupError` without a file."""
    folder = root / results.ROOT
    path = results.path_of(chapter, folder)
    stamp = path.stat().st_mtime_ns if path.exists() else 0
    return _read(chapter, folder, stamp)


@functools.lru_cache(maxsize=64)
def _read(chapter: str, folder: Path, stamp: int) -> dict[str, dict]:
    return results.read(chapter, folder)["results"]


def result(root: Path, reference: str) -> dict:
    """Return the result that `part/slug:name` names, else `LookupError`."""
    chapter, _, name = reference.partition(":")
    found = chapter_results(root, chapter)
    if name not in found:
        path = results.path_of(chapter, results.ROOT)
        raise LookupError(
            f"no result {name!r} in {path}; it has {', '.join(found)}"
        )
    return found[name]
