"""What the site says about each chapter: its homes, its proof, and the map.

The box under the title of a chapter's page and the command at its end, which
runs its proof, need no marker: every page that extra.book names has them. The
fence `map` draws the book:

    ```map
    book
    ```

or, in the place of `book`, a line `caption: …` for words below the map.
"""

import os
import xml.etree.ElementTree as etree
from html import escape
from pathlib import Path

from markdown import Extension
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString

from llmnotes._site import atlas, tables
from llmnotes._site.book import Chapter, Graph, graph
from llmnotes._site.page import Page, page_of

NAMES = {
    "page": "Page",
    "code": "Code",
    "tests": "Proofs",
    "benchmark": "Benchmark",
    "results": "Results",
}


class HomesTreeprocessor(Treeprocessor):
    """Put the five homes under the title of a chapter's page."""

    def run(self, root):
        """Insert the box after the first h1."""
        page = page_of(self.md)
        if page.chapter not in _chapters(page):
            return
        titles = [i for i, element in enumerate(root) if element.tag == "h1"]
        if not titles:
            raise page.error("a chapter needs a title: a line `# …`")
        root.insert(titles[0] + 1, _homes(page, graph(page.root)))


def _chapters(page: Page) -> dict[str, Chapter]:
    extra = page.config.get("extra") or {}
    if not extra.get("book"):
        return {}
    try:
        return graph(page.root).chapters
    except ValueError as error:  # a module that is not Python
        raise page.error(str(error)) from None


def _homes(page: Page, links: Graph) -> etree.Element:
    chapter = links.chapters[page.chapter]
    box = etree.Element("aside", {"class": "homes", "data-search-exclude": ""})
    box.set("aria-label", "Where this chapter lives, and what it builds on")
    table = etree.SubElement(box, "dl")
    for home, paths in chapter.homes().items():
        if len(paths) > 1 and home == "tests":
            paths = list(dict.fromkeys(_in_folder(p, chapter) for p in paths))
        if paths:
            _row(table, NAMES[home], [_file_link(page, p) for p in paths])
    for name, keys in (
        ("Builds on", links.builds_on(chapter.key)),
        ("Used by", links.used_by(chapter.key)),
    ):
        others = [_chapter_link(page, links.chapters[k]) for k in keys]
        if others:
            _row(table, name, others)
    return box


def _in_folder(path: Path, chapter: Chapter) -> Path:
    """Return the folder of the chapter's proofs, for one that lies there."""
    return path.parent if path.parent.name == chapter.slug else path


def _row(table, name: str, links: list) -> None:
    """Add a <div> with a term and its links, which a style sheet lays out."""
    row = etree.SubElement(table, "div")
    etree.SubElement(row, "dt").text = name
    for link in links:
        etree.SubElement(row, "dd").append(link)


def _file_link(page: Page, path) -> etree.Element:
    url = page.source_url(path.as_posix())
    link = etree.Element("a" if url else "span")
    if url:
        link.set("href", url)
    slash = "/" if (page.root / path).is_dir() else ""
    etree.SubElement(link, "code").text = path.as_posix() + slash
    return link


def _chapter_link(page: Page, chapter: Chapter) -> etree.Element:
    link = etree.Element("a" if page.exists(chapter.uri) else "span")
    link.text = chapter.title
    if page.exists(chapter.uri):  # MkDocs turns the source into an address
        here = os.path.dirname(page.uri) or "."
        link.set("href", os.path.relpath(chapter.uri, here))
    return link


class ProofTreeprocessor(Treeprocessor):
    """Put the command that runs a chapter's proof at the end of its page."""

    def run(self, root):
        """Append it, below the footnotes too."""
        page = page_of(self.md)
        if page.chapter in _chapters(page):
            root.append(_proof(page.chapter))


def _proof(key: str) -> etree.Element:
    line = etree.Element("p", {"class": "proof", "data-search-exclude": ""})
    line.text = "Run the proof of this chapter: "
    command = etree.SubElement(line, "code")
    command.text = AtomicString(f"make test name={key}")
    return line


class ChaptersExtension(Extension):
    """Markdown extension `llmnotes._site.chapters`."""

    def extendMarkdown(self, md):
        """Register before MkDocs resolves links (0)."""
        md.treeprocessors.register(HomesTreeprocessor(md), "llmnotes-homes", 2)
        md.treeprocessors.register(ProofTreeprocessor(md), "llmnotes-proof", 2)


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return ChaptersExtension(**options)


def map_fence(source, language, css_class, options, md, **_):
    """Render the fence `map`, as pymdownx.superfences asks for it."""
    page = page_of(md)
    name, _, caption = source.strip().partition(":")
    if name not in ("book", "caption"):
        raise page.error(f"map: got {name!r}, expected book or caption: …")
    try:
        return _map(page, tables.prose(caption.strip()))
    except Exception as error:  # superfences would swallow it
        raise page.error(f"map: {error}") from None


def _map(page: Page, caption: str) -> str:
    links = graph(page.root)

    def href(chapter):
        return page.url(chapter.uri) if page.exists(chapter.uri) else None

    return (
        '<figure class="map" data-search-exclude>'
        + atlas.wide(links, href)
        + atlas.narrow(links, href)
        + f"<figcaption>{caption} Dashed chapters are coming.</figcaption>"
        + '<details class="map-list"><summary>The map as a list</summary>'
        + f"{_list(links, href)}</details></figure>"
    )


def _list(links: Graph, href) -> str:
    """The same as words: parts, chapters, what each builds on."""
    out = []
    for part, chapters in atlas.parts(links).items():
        items = "".join(
            f"<li>{_item(links, chapter, href(chapter))}</li>"
            for chapter in chapters
        )
        out.append(f"<li>{part.capitalize()}<ul>{items}</ul></li>")
    return f"<ul>{''.join(out)}</ul>"


def _item(links: Graph, chapter: Chapter, url: str | None) -> str:
    title = escape(chapter.title)
    if url is None:
        return f"{title} (coming)"
    below = [links.chapters[k].title for k in links.builds_on(chapter.key)]
    builds = f", builds on {escape(', '.join(below))}" if below else ""
    return f'<a href="{url}">{title}</a>{builds}'
