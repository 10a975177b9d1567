"""What is where: the contents of the book, of a part, and of a page.

    ```contents
    book
    ```

becomes all parts with their chapters, numbered, each with its description;
`part: transformer` in the place of `book` those of one part. What is coming
is named last. Each page gets its own contents folded under the title, for
screens that have no room beside it, and in its metadata its `number`.
"""

import html
import xml.etree.ElementTree as etree
from html import escape

from markdown import Extension
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString

from llmnotes._site.book import Chapter, number, parts
from llmnotes._site.page import Page, page_of

ABOVE = {"standfirst", "chapter"}  # what stays between title and contents
FEWEST = 3  # sections that are worth a list


def fence(source, language, css_class, options, md, **_):
    """Render the fence, as pymdownx.superfences asks for it."""
    page = page_of(md)
    name, _, part = (word.strip() for word in source.strip().partition(":"))
    try:
        book = parts(page.root)
        if name == "part" and part in book:
            return _chapters(page, book[part])
        if name == "book":
            whole = "".join(_part(page, p, c) for p, c in book.items())
            return f'<div class="whole-book">{whole}</div>'
        known = ", ".join(book)
        raise LookupError(f"expected book or part: one of {known}")
    except Exception as error:  # superfences would swallow it
        raise page.error(f"contents: {error}") from None


def _part(page: Page, part: str, chapters: list[Chapter]) -> str:
    name, uri = part.capitalize(), f"{part}/index.md"
    if page.exists(uri):
        name = f'<a href="{page.url(uri)}">{name}</a>'
    return f'<h3 id="{part}">{name}</h3>{_chapters(page, chapters)}'


def _chapters(page: Page, chapters: list[Chapter]) -> str:
    here = [c for c in chapters if page.exists(c.uri)]
    items = "".join(
        f'<li value="{number(c)}"><a href="{page.url(c.uri)}">'
        f"{escape(c.title)}</a> <span>{escape(c.description)}</span></li>"
        for c in here
    )
    made = f'<ol class="contents">{items}</ol>' if items else ""
    return made + _coming([c for c in chapters if c not in here])


def _coming(chapters: list[Chapter]) -> str:
    if not chapters:
        return ""
    names = ", ".join(
        f"{number(c)}\N{NO-BREAK SPACE}{c.title}" for c in chapters
    )
    return f'<p class="coming">Coming: {escape(names)}.</p>'


class ContentsTreeprocessor(Treeprocessor):
    """Fold the page's contents under its title."""

    def run(self, root):
        """Insert them below what stands under the title."""
        page = page_of(self.md)
        self._number(page)
        at = 0 if "toc" in page.hidden else _place(root)
        tokens = getattr(self.md, "toc_tokens", [])
        found = tokens[0]["children"] if len(tokens) == 1 else []
        if at and len(found) >= FEWEST:
            root.insert(at, _folded(found))

    def _number(self, page: Page) -> None:
        file = page.files and page.files.get_file_from_path(page.uri)
        book = parts(page.root) if file else {}
        for chapter in book.get(page.uri.partition("/")[0], []):
            if chapter.uri == page.uri:
                file.page.meta["number"] = number(chapter)


def _place(root) -> int:
    """Return the place after the title and what belongs to it; 0: none."""
    titles = [i for i, element in enumerate(root) if element.tag == "h1"]
    if not titles:
        return 0
    at = titles[0] + 1
    while at < len(root) and ABOVE & set(root[at].get("class", "").split()):
        at += 1
    return at


def _folded(tokens: list[dict]) -> etree.Element:
    fold = etree.Element("details", {"class": "on-page"})
    fold.set("data-search-exclude", "")
    etree.SubElement(fold, "summary").text = "On this page"
    items = etree.SubElement(fold, "ul")
    for token in tokens:
        item = etree.SubElement(items, "li")
        link = etree.SubElement(item, "a", {"href": f"#{token['id']}"})
        link.text = AtomicString(html.unescape(token["name"]))
    return fold


class ContentsExtension(Extension):
    """Markdown extension `llmnotes._site.contents`."""

    def extendMarkdown(self, md):
        """Register after the frame (2), before links are resolved (0)."""
        md.treeprocessors.register(
            ContentsTreeprocessor(md), "llmnotes-contents", 1.5
        )


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return ContentsExtension(**options)
