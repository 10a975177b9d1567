"""The book as data: its chapters, their five homes, and what builds on what.

chapter  = "part/slug", listed once in mkdocs.yml under extra.book
homes    = page, code, tests, benchmark, results of a chapter

What a file belongs to is said by where it lies: `part/slug.py`, or anything
below `part/slug/`. A single idea is a file, more than one module a folder;
code and tests choose independently.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import yaml

from llmnotes._site.imports import CODE, python_files, reach, tree_of

CONFIG = "mkdocs.yml"


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml without importing what its tags name."""


_Loader.add_multi_constructor("", lambda loader, tag, node: None)


@dataclass(frozen=True)
class Chapter:
    """One chapter of the book, written or coming."""

    part: str
    slug: str
    title: str
    root: Path

    @property
    def key(self) -> str:
        """`part/slug`."""
        return f"{self.part}/{self.slug}"

    @property
    def uri(self) -> str:
        """The page's source, relative to docs/."""
        return f"{self.key}.md"

    @property
    def written(self) -> bool:
        """Whether the page exists."""
        return (self.root / "docs" / self.uri).exists()

    @property
    def description(self) -> str:
        """The sentence in the page's front matter; "" without one."""
        return front(self.root / "docs" / self.uri).get("description", "")

    def homes(self) -> dict[str, list[Path]]:
        """Return {home: existing files or folders, relative to the root}."""
        stem = CODE / self.part / self.slug
        candidates = {
            "page": [Path("docs", self.uri)],
            "code": [stem.with_suffix(".py"), stem],
            "tests": self._proofs("test_"),
            "benchmark": self._proofs("bench_"),
            "results": [results_of(p) for p in self._proofs("bench_")],
        }
        return {
            home: [p for p in dict.fromkeys(paths) if _stands(self.root / p)]
            for home, paths in candidates.items()
        }

    def _proofs(self, prefix: str) -> list[Path]:
        """Return tests/part/<prefix>slug.py or the files of its folder."""
        tests = Path("tests", self.part)
        folder = sorted((self.root / tests / self.slug).glob(f"{prefix}*.py"))
        return [
            tests / f"{prefix}{self.slug}.py",
            *(path.relative_to(self.root) for path in folder),
        ]


def _stands(path: Path) -> bool:
    """Whether it is a file, or a folder that holds more than leftovers."""
    return path.is_file() or (path.is_dir() and bool(python_files(path)))


def results_of(bench: Path) -> Path:
    """Return the file that tests/<part>/[<slug>/]bench_<name>.py writes."""
    part = bench.parts[1]
    name = bench.stem.removeprefix("bench_")
    return Path("docs/results", part, f"{name}.json")


def config(root: Path) -> dict:
    """Return mkdocs.yml, read without its Python names."""
    path = root / CONFIG
    return _config(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _config(path: Path, stamp: int) -> dict:
    return yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}


def book(root: Path) -> dict[str, Chapter]:
    """Return the chapters in reading order, under their `part/slug`."""
    parts = (config(root).get("extra") or {}).get("book") or {}
    return {
        f"{part}/{slug}": Chapter(part, slug, title, root)
        for part, chapters in parts.items()
        for slug, title in (chapters or {}).items()
    }


def number(chapter: Chapter) -> int:
    """Return a chapter's place in the whole book, written or not, from 1."""
    return list(book(chapter.root)).index(chapter.key) + 1


def parts(root: Path) -> dict[str, list[Chapter]]:
    """Return the chapters of each part, in reading order."""
    found = {}
    for chapter in book(root).values():
        found.setdefault(chapter.part, []).append(chapter)
    return found


def front(page: Path) -> dict:
    """Return the front matter of a page; {} without a page or any."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    if not text.startswith("---\n"):
        return {}
    return yaml.safe_load(text[4:].partition("\n---\n")[0]) or {}


def modules(root: Path, part: str) -> dict[str, list[Path]]:
    """Return {slug: files} of the modules and folders of a part."""
    found = {}
    folder = root / CODE / part
    for path in python_files(folder):
        name = path.relative_to(folder).parts[0].removesuffix(".py")
        if name != "__init__":
            found.setdefault(name, []).append(path)
    return found


@dataclass(frozen=True)
class Graph:
    """What builds on what, read from the imports of the code."""

    chapters: dict[str, Chapter]
    imports: dict[str, set[str]]  # chapter -> chapters

    def builds_on(self, key: str) -> list[str]:
        """Return the chapters that a chapter's code imports, in order."""
        found = self.imports.get(key, set())
        return [k for k in self.chapters if k in found and k != key]

    def used_by(self, key: str) -> list[str]:
        """Return the chapters whose code imports this one's, in order."""
        return [k for k in self.chapters if key in self.builds_on(k)]

    def backward(self) -> list[str]:
        """Say which chapter imports a later one."""
        order = list(self.chapters)
        return [
            f"{key} imports {other}, which comes later in the book"
            for key in order
            for other in self.builds_on(key)
            if order.index(other) > order.index(key)
        ]


def graph(root: Path) -> Graph:
    """Return the import graph, read again when a file has changed."""
    files = python_files(root / CODE)
    stamps = [p.stat().st_mtime_ns for p in [root / CONFIG, *files]]
    return _graph(root, tuple(files), tuple(stamps))


@functools.lru_cache(maxsize=2)
def _graph(root: Path, files, stamps) -> Graph:
    chapters = book(root)
    parts = {c.part for c in chapters.values()}
    tree = tree_of(root)
    keys = {m: key for m in tree if (key := _key(m, parts))}
    # What several chapters share belongs to none: look through it.
    shared = {m: targets for m, targets in tree.items() if m not in keys}
    imports = {key: set() for key in keys.values()}
    for module, key in keys.items():
        found = reach(tree[module], shared)
        imports[key] |= {keys[m] for m in found if m in keys}
    return Graph(chapters, imports)


def _key(module: str, parts: set[str]) -> str | None:
    """Return "part/name" of a module that lies below a part."""
    words = module.split(".")
    if len(words) > 2 and words[1] in parts:
        return "/".join(words[1:3])
    return None
