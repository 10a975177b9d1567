"""Whose a file is: `part/slug` for what lies in a chapter's homes.

    python -m llmnotes._site.owner part/slug   # what pytest runs of a chapter

A chapter's homes are files or folders: tests/<part>/test_<slug>_more.py and
tests/<part>/<slug>/test_more.py are both of part/slug. Where a name begins
with two slugs, as attention_speed does with attention, the longer wins.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from llmnotes._site.book import CODE, Chapter, book

HOMES = Path("docs/results"), Path("docs"), Path("tests"), CODE
RUN = "docs/{}/**/*.md", "tests/{}/**/*.py", f"{CODE}/{{}}/**/*.py"


def owner(path: Path, keys: Iterable[str]) -> str | None:
    """The chapter of a file, given relative to the root; None: the house's."""
    home = next((h for h in HOMES if path.is_relative_to(h)), None)
    parts = path.relative_to(home).parts if home else ()
    if len(parts) < 2:
        return None
    name = Path(parts[1]).stem
    for prefix in ("test_", "bench_"):
        name = name.removeprefix(prefix)
    mine = [
        key
        for key in keys
        for part, slug in [key.split("/")]
        if part == parts[0] and (name == slug or name.startswith(f"{slug}_"))
    ]
    return max(mine, key=len, default=None)


def files(root: Path, key: str) -> list[Path]:
    """Pages, tests, benches and modules of a chapter, for pytest.

    Raises `ValueError` for a chapter that the book does not list or that
    nobody has begun.
    """
    chapters = book(root)
    if key not in chapters:
        raise ValueError(
            f"name: got {key!r}, expected part/slug of a chapter in "
            "mkdocs.yml, as in transformer/rope"
        )
    found = [
        path
        for pattern in RUN
        for made in sorted(root.glob(pattern.format(chapters[key].part)))
        for path in [made.relative_to(root)]
        if owner(path, chapters) == key and _runs(root, path)
    ]
    if not found:
        raise ValueError(f"name: {key} has no file yet; see `make chapter`")
    return found


def _runs(root: Path, path: Path) -> bool:
    """Whether pytest finds something in a file: not in what tests import."""
    if path.is_relative_to(CODE):
        return ">>> " in (root / path).read_text(encoding="utf-8")
    return path.suffix == ".md" or path.stem.startswith(("test_", "bench_"))


def written(root: Path) -> list[Chapter]:
    """The chapters that have a page, in reading order."""
    return [c for c in book(root).values() if c.written]


if __name__ == "__main__":
    try:
        print(*files(Path.cwd(), " ".join(sys.argv[1:])))
    except ValueError as error:
        sys.exit(f"make test: {error}")
