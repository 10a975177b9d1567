"""The book as data: its chapters, their five homes, and what builds on what.

chapter  = "part/slug", listed once in mkdocs.yml under extra.book
homes    = page, code, tests, benchmark, results of a chapter
support  = a module of a part that is no chapter: it belongs to every chapter
           whose code, tests or benchmark imports it, and passes that
           chapter's imports on
"""

import ast
import functools
from dataclasses import dataclass
from pathlib import Path

import yaml

CONFIG = "mkdocs.yml"
PACKAGE = "llmnotes"
CODE = Path("src", PACKAGE)


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

    def homes(self) -> dict[str, list[Path]]:
        """Return {home: existing files or folders, relative to the root}."""
        tests = Path("tests", self.part)
        mine = self.root, self.part, self.slug
        stem = CODE / self.part / self.slug
        candidates = {
            "page": [Path("docs", self.uri)],
            "code": [stem.with_suffix(".py"), stem],
            "tests": tests_of(self.root, self.part, self.slug),
            "benchmark": _files_of(*mine, tests, "bench_", ".py"),
            "results": _files_of(
                *mine, Path("docs/results", self.part), "", ".json"
            ),
        }
        return {
            home: [p for p in paths if (self.root / p).exists()]
            for home, paths in candidates.items()
        }


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
        for slug, title in chapters.items()
    }


def _modules(root: Path, part: str) -> dict[str, list[Path]]:
    """Return {name: files} of the modules and packages of a part."""
    found = {}
    folder = root / CODE / part
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).parts[0].removesuffix(".py")
        if name != "__init__":
            found.setdefault(name, []).append(path)
    return found


def tests_of(root: Path, part: str, name: str) -> list[Path]:
    """Return test_<name>.py and test_<name>_*.py, not those of a longer name.

    With a chapter `attention` and another `attention_speed`, the file
    test_attention_speed.py belongs to the second only.
    """
    return _files_of(root, part, name, f"tests/{part}", "test_", ".py")


def _files_of(root, part, name, folder, before, after) -> list[Path]:
    every = [*_modules(root, part), *_slugs(root, part)]
    longer = [n for n in every if n.startswith(f"{name}_")]
    return [
        path.relative_to(root)
        for path in sorted((root / folder).glob(f"{before}{name}*{after}"))
        for stem in [path.stem.removeprefix(before)]
        if is_of(stem, name) and not any(is_of(stem, n) for n in longer)
    ]


def _slugs(root: Path, part: str) -> list[str]:
    return [c.slug for c in book(root).values() if c.part == part]


def is_of(stem: str, name: str) -> bool:
    """Whether a file belongs to a name: `rope` and `rope_speed` to rope."""
    return stem == name or stem.startswith(f"{name}_")


def _imported(path: Path) -> set[str]:
    """Return "part/module" for each import of the package in a file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            words = name.split(".")
            if words[0] == PACKAGE and len(words) > 2:
                found.add("/".join(words[1:3]))
    return found


@dataclass(frozen=True)
class Graph:
    """What builds on what, read from the imports of the code."""

    chapters: dict[str, Chapter]
    imports: dict[str, set[str]]  # module "part/name" -> modules
    tested: dict[str, set[str]]  # chapter -> modules its tests import

    def builds_on(self, key: str) -> list[str]:
        """Return the chapters that a chapter's code imports, in order.

        What its support modules import counts, too.
        """
        found, seen, queue = set(), {key}, [key, *self.support(key)]
        while queue:
            for name in self.imports.get(queue.pop(), ()):
                if name in seen:
                    continue
                seen.add(name)
                if name in self.chapters:
                    found.add(name)
                else:
                    queue.append(name)
        return [k for k in self.chapters if k in found]

    def used_by(self, key: str) -> list[str]:
        """Return the chapters whose code imports this one's, in order."""
        return [k for k in self.chapters if key in self.builds_on(k)]

    def support(self, key: str) -> list[str]:
        """Return the support modules that a chapter's homes import."""
        seen = set()
        queue = [*self.imports.get(key, ()), *self.tested.get(key, ())]
        while queue:
            name = queue.pop()
            if name in seen or name in self.chapters:
                continue
            if name in self.imports:  # a module of a part, and no chapter
                seen.add(name)
                queue += self.imports[name]
        return sorted(seen)

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
    files = [*root.glob(f"{CODE}/*/**/*.py"), *root.glob("tests/*/*.py")]
    stamps = [p.stat().st_mtime_ns for p in [root / CONFIG, *files]]
    return _graph(root, tuple(files), tuple(stamps))


@functools.lru_cache(maxsize=2)
def _graph(root: Path, files, stamps) -> Graph:
    chapters = book(root)
    parts = dict.fromkeys(c.part for c in chapters.values())
    imports = {
        f"{part}/{name}": set().union(*map(_imported, paths))
        for part in parts
        for name, paths in _modules(root, part).items()
    }
    tested = {}
    for key, chapter in chapters.items():
        homes = chapter.homes()
        paths = [root / p for p in homes["tests"] + homes["benchmark"]]
        tested[key] = set().union(*map(_imported, paths))
    return Graph(chapters, imports, tested)
