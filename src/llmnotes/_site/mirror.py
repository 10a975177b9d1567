"""The trees mirror each other: a missing partner and a stray are named.

The parts of the book have five homes per chapter. Beside them,
src/llmnotes/<name>.py is proved in tests/test_<name>.py.
"""

from pathlib import Path

from llmnotes._site.book import (
    CODE,
    Chapter,
    Graph,
    config,
    graph,
    is_of,
    tests_of,
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
        found += _missing(chapter)
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
    homes = chapter.homes()
    if not any(homes.values()):
        return []
    wanted = ["page", "code", "tests"]
    if homes["benchmark"] or homes["results"]:
        wanted += ["benchmark", "results"]
    found = [f"{chapter.key}: no {h}" for h in wanted if not homes[h]]
    if len(homes["code"]) > 1:
        found.append(f"{chapter.key}: both a module and a package")
    return found


def _foreign(root: Path, links: Graph) -> list[str]:
    """Name packages that are neither a part nor the site's machinery."""
    known = {c.part for c in links.chapters.values()} | {"_site"}
    return [
        f"{CODE}/{path.name} is not a part of the book"
        for path in sorted((root / CODE).iterdir())
        if path.is_dir() and any(path.glob("**/*.py"))
        if path.name not in known
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
    used = {m for key in links.chapters for m in links.support(key)}
    found = [
        f"{CODE}/{name}: neither a chapter nor imported by one"
        for name in links.imports
        if name not in links.chapters and name not in used
    ]
    known = {
        path
        for chapter in links.chapters.values()
        for paths in chapter.homes().values()
        for path in paths
    }
    for name in links.imports:
        known |= set(tests_of(root, *name.split("/")))
    for part in dict.fromkeys(c.part for c in links.chapters.values()):
        patterns = (
            f"docs/{part}/*.md",
            f"docs/results/{part}/*.json",
            f"tests/{part}/test_*.py",
            f"tests/{part}/bench_*.py",
        )
        for path in (p for g in patterns for p in sorted(root.glob(g))):
            if path.relative_to(root) not in known:
                found.append(f"{path.relative_to(root)}: no such chapter")
    return found
