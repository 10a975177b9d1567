"""What the book got wrong: one file of corrections per chapter, one page.

    docs/errata/<part>/<slug>.toml     of a chapter
    docs/errata/package.toml           of what belongs to no chapter

    [[erratum]]
    title = "What was wrong, in a line"
    was = "What stood on the page, or came out."
    now = "What is right."
    found = "How it was found."
    date = 2026-11-26           # since when it is right
    proof = "tests/…::test_x"   # or part/slug:result; optional

All but date and proof are Markdown. On the page docs/errata.md, the fence

    ```errata
    all
    ```

becomes these entries, in the order of the book and the latest first; each
chapter with entries says at its end how many there are, and links to them.
A proof that is not there ends the build.
"""

import datetime
import tomllib
from dataclasses import dataclass
from pathlib import Path

from markdown import Extension
from markdown.preprocessors import Preprocessor

from llmnotes._site import results
from llmnotes._site.book import book
from llmnotes._site.charts import anchor
from llmnotes._site.claims import tests_of
from llmnotes._site.fences import blocks
from llmnotes._site.page import Page, page_of

ROOT = Path("docs/errata")
PACKAGE = "package"
PAGE = "errata.md"


@dataclass(frozen=True)
class Erratum:
    """One thing that was wrong, and since when it is right."""

    title: str
    was: str
    now: str
    found: str
    date: datetime.date
    proof: str = ""


def read(root: Path, key: str) -> list[Erratum]:
    """Return the entries of `part/slug` or "package", the latest first.

    Raises `LookupError` for a file whose entries are not as they must be.
    """
    path = root / ROOT / f"{key}.toml"
    if not path.exists():
        return []
    try:
        entries = tomllib.loads(path.read_text("utf-8"))["erratum"]
        found = [Erratum(**entry) for entry in entries]
    except (TypeError, KeyError, ValueError) as error:
        raise LookupError(f"{path.relative_to(root)}: {error}") from None
    return sorted(found, key=lambda erratum: erratum.date, reverse=True)


def keys(root: Path) -> list[str]:
    """Return what has entries: chapters in the book's order, the package."""
    folder = root / ROOT
    files = sorted(folder.rglob("*.toml")) if folder.exists() else []
    there = [p.relative_to(folder).with_suffix("").as_posix() for p in files]
    known = [*book(root), PACKAGE]
    if unknown := set(there) - set(known):
        raise LookupError(f"{ROOT}/{min(unknown)}.toml: no such chapter")
    return [key for key in known if key in there]


def markdown(page: Page) -> list[str]:
    """Return all entries as the lines of a page."""
    lines = []
    for key in keys(page.root):
        chapter = book(page.root).get(key)
        title = f"[{chapter.title}]({chapter.uri})" if chapter else "Package"
        lines += [f"## {title} {{ #{anchor(key)} }}", ""]
        for entry in read(page.root, key):
            lines += [*_entry(page, entry), ""]
    return lines


def _entry(page: Page, entry: Erratum) -> list[str]:
    proof = f" {_proof(page, entry.proof)}" if entry.proof else ""
    return [
        f"### {entry.title}",
        "",
        f"**Was:** {entry.was}",
        "",
        f"**Is:** {entry.now}",
        "",
        f"*Found: {entry.found.rstrip('.')}. Right since "
        f"{said(entry.date)}.*{proof}",
    ]


def said(day: datetime.date) -> str:
    """Return a day as pages write it: 26 November 2026."""
    return f"{day.day} {day:%B %Y}"


def _proof(page: Page, proof: str) -> str:
    """Return the link to a test or a result, which must be there."""
    if "::" not in proof:
        results.load(proof, page.root / results.ROOT)
        chapter = proof.partition(":")[0]
        return f"[The measurement](results/{chapter}.md#{anchor(proof)})."
    path, _, name = proof.partition("::")
    found = dict(tests_of(page.root / path))
    if name not in found:
        raise LookupError(f"no test {name} in {path}")
    href = page.source_url(Path(path), f"L{found[name]}")
    return f"[The test]({href})." if href else f"The test is `{name}`."


def expand(page: Page, text: str) -> str:
    """Return a page's Markdown with the entries in the fence's place."""
    out = []
    for block in blocks(text.split("\n")):
        if block.language == "errata":
            out += markdown(page)
        elif block.opening or block.lines:
            out.append(block.text())
    return "\n".join(out)


class ErrataPreprocessor(Preprocessor):
    """Write the page of corrections."""

    def run(self, lines: list[str]) -> list[str]:
        """Return the lines with Markdown in the place of the fence."""
        page = page_of(self.md)
        if page.uri != PAGE:
            return lines
        try:
            return expand(page, "\n".join(lines)).split("\n")
        except (LookupError, OSError) as error:
            raise page.error(f"errata: {error}") from None


class ErrataExtension(Extension):
    """Markdown extension `llmnotes._site.errata`."""

    def extendMarkdown(self, md):
        """Register before all that reads fences."""
        md.preprocessors.register(
            ErrataPreprocessor(md), "llmnotes-errata", 35
        )


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return ErrataExtension(**options)
