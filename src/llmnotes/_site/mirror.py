"""The trees mirror each other: a missing partner and a stray are named.

The parts of the book have five homes per chapter. Beside them,
src/llmnotes/<name>.py is proved in tests/test_<name>.py, and a folder
src/llmnotes/<name>/ that several parts share in tests/<name>/.
"""

from pathlib import Path

from llmnotes._site.book import (
    CODE,
    Chapter,
    Graph,
    config,
    graph,
    modules,
    results_of,
)

# Modules that are proved in tests of another name than their own.
PROVED_AS = {"__main__": "cli", "commands": "cli", "corpora": "data"}


def pages_in_nav(root: Path) -> list[str]:
    """Return the pages named in `nav`, in order."""
    pages = []

    def walk(node):
        if isinstance(node, str):
            pages.append(node)
        elif isinstance(node, dict):
            walk(list(node.values()))
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(config(root).get("nav"))
    return pages


def faults(root: Path) -> list[str]:
    """Name every missing partner and every stray in the five trees."""
    links = graph(root)
    found = links.backward() + _nav_faults(root, links.chapters)
    for chapter in links.chapters.values():
        found += _missing(chapter) + _unnamed(chapter)
    found += _foreign(root, links) + _strays(root, links)
    return found + _machinery(root)


def _nav_faults(root: Path, chapters) -> list[str]:
    nav = [page.removesuffix(".md") for page in pages_in_nav(root)]
    named = [page for page in nav if page in chapters]
    ordered = [key for key, c in chapters.items() if c.written]
    if named == ordered:
        return []
    return [f"nav has the chapters {named}, expected {ordered}"]


def _missing(chapter: Chapter) -> list[str]:
    """Name the homes that a chapter lacks.

    Code and tests may stand before their page: a later chapter needed them.
    """
    homes = chapter.homes()
    if not any(homes.values()):
        return []
    wanted = ["code", "tests"]
    if homes["benchmark"] or homes["results"]:
        wanted += ["page", "benchmark", "results"]
    found = [f"{chapter.key}: no {h}" for h in wanted if not homes[h]]
    if len(homes["code"]) > 1:
        found.append(f"{chapter.key}: both a module and a package")
    return found


def _unnamed(chapter: Chapter) -> list[str]:
    """Name tests that prove no module of their chapter.

    Besides its modules, a folder's tests may be about the chapter as a
    whole (test_<slug>) or about the sentences of its page (test_claims).
    """
    files = modules(chapter.root, chapter.part).get(chapter.slug, [])
    known = {path.stem for path in files} | {chapter.slug, "claims"}
    homes = chapter.homes()
    found = [
        f"{path}: {chapter.key} has no such module"
        for path in homes["tests"]
        if path.stem.removeprefix("test_") not in known
    ]
    return found + [
        f"{path}: expected bench_{chapter.slug}.py or bench_{chapter.slug}_…"
        for path in homes["benchmark"]
        if not is_of(path.stem.removeprefix("bench_"), chapter.slug)
    ]


def is_of(stem: str, name: str) -> bool:
    """Whether a file belongs to a name: `rope` and `rope_speed` to rope."""
    return stem == name or stem.startswith(f"{name}_")


def _foreign(root: Path, links: Graph) -> list[str]:
    """Name folders that are no part, nor the site's, nor proved as shared."""
    known = {c.part for c in links.chapters.values()} | {"_site"}
    return [
        f"{CODE}/{path.name} is not a part of the book"
        for path in sorted((root / CODE).iterdir())
        if path.is_dir() and any(path.glob("**/*.py"))
        if path.name not in known
        if not any((root / "tests" / path.name).glob("test_*.py"))
    ]


def _machinery(root: Path) -> list[str]:
    """Name modules beside the parts without tests, and tests without one.

    The tests of `train` prove `train_config` too.
    """
    modules = {
        path.name: PROVED_AS.get(path.stem, path.stem)
        for path in sorted((root / CODE).glob("*.py"))
        if path.stem != "__init__"
    }
    tests = {
        path.stem.removeprefix("test_"): path.name
        for path in sorted((root / "tests").glob("test_*.py"))
    }
    untested = [
        f"{CODE}/{file}: no tests/test_{name}.py"
        for file, name in modules.items()
        if not any(is_of(name, test) for test in tests)
    ]
    return untested + [
        f"tests/{file}: no such module"
        for name, file in tests.items()
        if not any(is_of(name, module) for module in modules.values())
    ]


def _strays(root: Path, links: Graph) -> list[str]:
    """Name files of the five trees that belong to no chapter."""
    chapters = links.chapters.values()
    found = [
        f"{CODE}/{name}: no such chapter"
        for name in links.imports
        if name not in links.chapters
    ]
    known = {p for c in chapters for ps in c.homes().values() for p in ps}
    known |= {results_of(p) for c in chapters for p in c.homes()["benchmark"]}
    for part in dict.fromkeys(c.part for c in chapters):
        slugs = {c.slug for c in chapters if c.part == part}
        for pattern in (
            f"docs/{part}/*.md",
            f"docs/results/{part}/*.json",
            f"tests/{part}/*.py",
            f"tests/{part}/*/*.py",
        ):
            for path in sorted(root.glob(pattern)):
                place = path.relative_to(root)
                inside = place.parent.name in slugs
                inside |= place.name == "conftest.py"
                if place not in known and not inside:
                    found.append(f"{place}: no such chapter")
    return found
