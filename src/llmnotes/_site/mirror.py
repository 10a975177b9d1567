"""The trees mirror each other: a missing partner and a stray are named.

The parts of the book have five homes per chapter. Beside them,
src/llmnotes/<name>.py is proved in tests/test_<name>.py or in a test beside
it that imports the module, and a folder src/llmnotes/<name>/ that several
parts share in tests/<name>/.
"""

from collections import Counter
from pathlib import Path

from llmnotes._site import results
from llmnotes._site.book import (
    Chapter,
    Graph,
    config,
    graph,
    modules,
    results_of,
)
from llmnotes._site.imports import (
    CODE,
    PACKAGE,
    circles,
    imported,
    python_files,
    tree_of,
)

TESTS = Path("tests")
SITE = "_site"  # the machinery, proved in tests/site


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
    """Name every missing partner and every stray in the five trees.

    Raises `ValueError` for a module that is not Python.
    """
    links = graph(root)
    tree = tree_of(root)
    found = links.backward() + circles(tree) + _upward(tree)
    found += _nav_faults(root, links.chapters)
    for chapter in links.chapters.values():
        found += _missing(chapter) + _unnamed(chapter)
    found += _foreign(root, links) + _strays(root, links) + _pages(root)
    return found + _machinery(root) + _unpackaged(root)


def _upward(tree: dict[str, set[str]]) -> list[str]:
    """Name modules of the book that need the machinery of the site."""
    site = f"{PACKAGE}.{SITE}"
    return [
        f"{module} imports {target}, which only the site needs"
        for module, targets in tree.items()
        for target in sorted(targets)
        if f"{target}.".startswith(f"{site}.")
        if not f"{module}.".startswith(f"{site}.")
    ]


def _unpackaged(root: Path) -> list[str]:
    """Name folders of modules that an installation would leave out."""
    folders = {path.parent for path in python_files(root / CODE)}
    return [
        f"{folder.relative_to(root)}: no __init__.py"
        for folder in sorted(folders)
        if folder != root / CODE and not (folder / "__init__.py").exists()
    ]


def _nav_faults(root: Path, chapters) -> list[str]:
    """Name what is out of order in nav, and parts without their page."""
    found = [
        f"docs/{part}/index.md: no page of this part, which has chapters"
        for part in dict.fromkeys(
            c.part for c in chapters.values() if c.written
        )
        if not (root / "docs" / part / "index.md").exists()
    ]
    nav = [page.removesuffix(".md") for page in pages_in_nav(root)]
    named = [page for page in nav if page in chapters]
    ordered = [key for key, c in chapters.items() if c.written]
    if named == ordered:
        return found
    return [*found, f"nav has the chapters {named}, expected {ordered}"]


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
    whole (test_<slug>), about the sentences of its page (test_claims), or
    about those of a page without code that shows a module
    (test_<module>_claims). A chapter of a single module may split its proofs
    by what they prove.
    """
    files = modules(chapter.root, chapter.part).get(chapter.slug, [])
    known = {path.stem for path in files} | {chapter.slug, "claims"}
    homes = chapter.homes()
    found = [
        f"{path}: {chapter.key} has no such module"
        for path in homes["tests"]
        if len(files) > 1
        if path.stem.removeprefix("test_").removesuffix("_claims") not in known
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
    known = {c.part for c in links.chapters.values()} | {SITE, "site"}
    code, tests = ({f.name for f in _folders(root / t)} for t in (CODE, TESTS))
    proved = {
        name for name in tests if any((root / TESTS / name).glob("test_*.py"))
    }
    return [
        f"{CODE}/{name} is not a part of the book"
        for name in sorted(code - known - proved)
    ] + [
        f"{TESTS}/{name}: no {CODE}/{name}"
        for name in sorted(tests - known - code)
    ]


def _folders(tree: Path) -> list[Path]:
    return [f for f in tree.iterdir() if f.is_dir() and python_files(f)]


def _machinery(root: Path) -> list[str]:
    """Name modules beside the parts without tests, and tests without one.

    The tests of `train` prove `train_config` too.
    """
    modules = {
        path.stem: path.name
        for path in sorted((root / CODE).glob("*.py"))
        if path.stem != "__init__"
    }
    tests = {
        path.stem.removeprefix("test_"): _proved(path, root, modules)
        for path in sorted((root / TESTS).glob("test_*.py"))
    }
    proved = set().union(*tests.values())
    return [
        f"{CODE}/{file}: no {TESTS}/test_{name}.py"
        for name, file in modules.items()
        if name not in proved
    ] + [
        f"{TESTS}/test_{name}.py: no such module"
        for name, found in tests.items()
        if not found
    ]


def _proved(test: Path, root: Path, modules) -> set[str]:
    """Return the modules beside the parts that a test is about.

    Those that share its name; a test of another name is about what it
    imports, such as test_cli about __main__ and commands.
    """
    name = test.stem.removeprefix("test_")
    imports = {
        word
        for full in imported(test, root)
        for word in full.removeprefix(f"{PACKAGE}.").split(".")[:1]
        if full.startswith(f"{PACKAGE}.") and word in modules
    }
    named = {m for m in modules if is_of(m, name) or is_of(name, m)}
    return named | imports


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
        for path in _files(root, part):
            inside = len(path.parts) == 4 and path.parts[2] in slugs
            inside &= path.parts[0] == str(TESTS)
            inside |= path == Path("docs", part, "index.md")
            if path not in known and not inside:
                found.append(f"{path}: no such chapter")
    return found + _results(root)


def _files(root: Path, part: str) -> list[Path]:
    """Return pages, results and tests of a part, relative to the root."""
    found = [
        *sorted(root.glob(f"docs/{part}/*.md")),
        *sorted(root.glob(f"docs/results/{part}/*.json")),
        *python_files(root / TESTS / part),
    ]
    return [p.relative_to(root) for p in found if p.name != "conftest.py"]


def _pages(root: Path) -> list[str]:
    """Name results without their page, and pages without their results."""
    there = {p.with_suffix("") for p in root.glob("docs/results/*/*.json")}
    pages = {p.with_suffix("") for p in root.glob("docs/results/*/*.md")}
    found = [
        f"{stem.relative_to(root)}.md: expected {results.stub(key)!r}"
        for stem in sorted(there)
        for key in [f"{stem.parent.name}/{stem.name}"]
        if stem not in pages
        or stem.with_suffix(".md").read_text("utf-8") != results.stub(key)
    ]
    return found + [
        f"{stem.relative_to(root)}.md: no {stem.name}.json beside it"
        for stem in sorted(pages - there)
    ]


def _results(root: Path) -> list[str]:
    """Name results that no benchmark writes, or two do."""
    benches = [
        path.relative_to(root)
        for path in python_files(root / TESTS)
        if path.name.startswith("bench_")
    ]
    written = Counter(map(results_of, benches))
    there = sorted(root.glob("docs/results/*/*.json"))
    return [
        f"{path.relative_to(root)}: no benchmark writes it"
        for path in there
        if path.relative_to(root) not in written
    ] + [
        f"{path}: {count} benchmarks write it"
        for path, count in written.items()
        if count > 1
    ]
