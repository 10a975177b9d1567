"""What stands around a chapter: a standfirst and a line above, a fold below.

Under the title: the `description` of the page, then one line with the
chapter's number, how long it takes to read, and what it builds on. At the
end, what was corrected on it; and folded: its homes, what uses it, the
command that proves it, and the machines that its results were made on. No
page writes any of this itself; every page that extra.book names has it.
"""

import os
import re
import xml.etree.ElementTree as etree
from pathlib import Path

from markdown import Extension
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString

from llmnotes._site import book, errata, provenance, results, symbols
from llmnotes._site.book import Chapter, Graph, graph
from llmnotes._site.charts import anchor
from llmnotes._site.fences import blocks
from llmnotes._site.page import Page, page_of

NAMES = {
    "page": "Page",
    "code": "Code",
    "tests": "Proofs",
    "benchmark": "Benchmark",
    "results": "Results",
}
WORDS, LINES = 200, 25  # of prose and of code that are read in a minute


class MinutesPreprocessor(Preprocessor):
    """Count how long the page takes to read; change nothing."""

    minutes = 0

    def run(self, lines: list[str]) -> list[str]:
        """Return the lines as they are."""
        page, words, rows = page_of(self.md), 0, 0
        for block in blocks(lines):
            if block.opening is None:
                words += len(re.findall(r"\w+", block.body()))
            elif block.language == "python":
                rows += _lines(page, block.lines)
        self.minutes = max(1, round(words / WORDS + rows / LINES))
        return lines


def _lines(page: Page, lines: list[str]) -> int:
    """Count the lines of a fence that are not empty, symbols written out."""
    try:
        shown = symbols.listing(lines, page.root).body
    except LookupError as error:
        raise page.error(error.args[0]) from None
    return sum(map(bool, map(str.strip, shown)))


class FrameTreeprocessor(Treeprocessor):
    """Put the line under the title, and the fold below the last section."""

    def __init__(self, md, counted: MinutesPreprocessor):
        super().__init__(md)
        self.counted = counted

    def run(self, root):
        """Frame the page, if it is a chapter's."""
        page = page_of(self.md)
        if page.chapter not in chapters_of(page):
            return
        titles = [i for i, element in enumerate(root) if element.tag == "h1"]
        if not titles:
            raise page.error("a chapter needs a title: a line `# …`")
        links = graph(page.root)
        above = _above(page, links, self.counted.minutes)
        root[titles[0] + 1 : titles[0] + 1] = above
        root.extend(_corrected(page))
        root.append(_fold(page, links))


def chapters_of(page: Page) -> dict[str, Chapter]:
    """Return the chapters of the page's book; none without extra.book."""
    extra = page.config.get("extra") or {}
    if not extra.get("book"):
        return {}
    try:
        return graph(page.root).chapters
    except ValueError as error:  # a module that is not Python
        raise page.error(str(error)) from None


def _above(page: Page, links: Graph, minutes: int) -> list[etree.Element]:
    made = []
    if page.description:
        made.append(etree.Element("p", {"class": "standfirst"}))
        made[0].text = AtomicString(page.description)
    line = etree.Element("p", {"class": "chapter", "data-search-exclude": ""})
    number = book.number(links.chapters[page.chapter])
    line.text = AtomicString(f"Chapter {number} · {minutes} min")
    below = [links.chapters[k] for k in links.builds_on(page.chapter)]
    for i, chapter in enumerate(below):
        link = _chapter_link(page, chapter)
        before = ", " if i else " · builds on "
        if i:
            line[-1].tail = AtomicString(before)
        else:
            line.text = AtomicString(line.text + before)
        line.append(link)
    return [*made, line]


def _corrected(page: Page) -> list[etree.Element]:
    """Return the line that says what was wrong here, if anything was."""
    found = errata.read(page.root, page.chapter)
    if not found or not page.exists(errata.PAGE):
        return []
    line = etree.Element("p", {"class": "corrected"})
    line.set("data-search-exclude", "")
    count = (
        "One correction" if len(found) == 1 else f"{len(found)} corrections"
    )
    here = os.path.dirname(page.uri) or "."
    place = f"{os.path.relpath(errata.PAGE, here)}#{anchor(page.chapter)}"
    link = etree.SubElement(line, "a", {"href": place})
    link.text = f"{count} on this page"
    link.tail = AtomicString(f", the last on {errata.said(found[0].date)}.")
    return [line]


def _fold(page: Page, links: Graph) -> etree.Element:
    fold = etree.Element("details", {"class": "homes"})
    fold.set("data-search-exclude", "")
    summary = etree.SubElement(fold, "summary")
    summary.text = "Files, proof and runs of this chapter"
    table = etree.SubElement(fold, "dl")
    chapter = links.chapters[page.chapter]
    for home, paths in chapter.homes().items():
        if len(paths) > 1 and home == "tests":
            paths = list(dict.fromkeys(_in_folder(p, chapter) for p in paths))
        if paths:
            _row(table, NAMES[home], [_file_link(page, p) for p in paths])
    used = [links.chapters[k] for k in links.used_by(chapter.key)]
    if used:
        _row(table, "Used by", [_chapter_link(page, c) for c in used])
    _row(table, "Proof", [_code(f"make test name={chapter.key}")])
    for run in runs_of(chapter):
        _row(table, "Run", [_text(run)])
    return fold


def runs_of(chapter: Chapter) -> list[str]:
    """Say how the results of a chapter are made, and on what they were."""
    files = chapter.homes()["results"]
    keys = [f"{path.parent.name}/{path.stem}" for path in files]
    folder = chapter.root / results.ROOT
    found = [
        r for key in keys for r in results.of_chapter(key, folder).values()
    ]
    return list(dict.fromkeys(map(provenance.machine, found)))


def _in_folder(path: Path, chapter: Chapter) -> Path:
    """Return the folder of the chapter's proofs, for one that lies there."""
    return path.parent if path.parent.name == chapter.slug else path


def _row(table, name: str, entries: list) -> None:
    """Add a <div> with a term and its entries, which a style sheet lays."""
    row = etree.SubElement(table, "div")
    etree.SubElement(row, "dt").text = name
    for entry in entries:
        etree.SubElement(row, "dd").append(entry)


def _code(text: str) -> etree.Element:
    code = etree.Element("code")
    code.text = AtomicString(text)
    return code


def _text(text: str) -> etree.Element:
    span = etree.Element("span")
    span.text = AtomicString(text)
    return span


def _file_link(page: Page, path) -> etree.Element:
    url = page.source_url(path.as_posix())
    link = etree.Element("a" if url else "span")
    if url:
        link.set("href", url)
    slash = "/" if (page.root / path).is_dir() else ""
    link.append(_code(path.as_posix() + slash))
    return link


def _chapter_link(page: Page, chapter: Chapter) -> etree.Element:
    link = etree.Element("a" if page.exists(chapter.uri) else "span")
    link.text = chapter.title
    if page.exists(chapter.uri):  # MkDocs turns the source into an address
        here = os.path.dirname(page.uri) or "."
        link.set("href", os.path.relpath(chapter.uri, here))
    return link


class FrameExtension(Extension):
    """Markdown extension `llmnotes._site.frame`."""

    def extendMarkdown(self, md):
        """Count before fences (25) are drawn; frame before links resolve."""
        counted = MinutesPreprocessor(md)
        md.preprocessors.register(counted, "llmnotes-minutes", 33.5)
        framed = FrameTreeprocessor(md, counted)
        md.treeprocessors.register(framed, "llmnotes-frame", 2)


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return FrameExtension(**options)
