"""What a page says to somebody who searches: its prose, section by section.

section = [anchor, heading, text, words]; the first is the page's beginning
words   = names that the section's code defines and TeX that it uses, which
          are found and never shown

Left in each page's metadata, under `sections`. The template
docs/search/index.json, which MkDocs fills in, writes those of all pages;
assets/search.js reads it. Code, tables, drawings, output and whatever tells
where a number comes from are left out: they bury the text, and nobody
searches for them.
"""

import re
from html.parser import HTMLParser

from markdown import Extension
from markdown.postprocessors import Postprocessor

from llmnotes._site.page import page_of

HEADINGS = {"h1", "h2", "h3", "h4"}
SKIPPED = {"table", "svg", "script", "style", "button", "nav", "pre", "math"}
CLASSES = {
    *("headerlink", "source-link", "highlight", "footnote", "footnote-ref"),
    *("prediction", "provenance", "proof", "homes", "files", "data"),
    *("results-table", "results-title", "grids", "map"),
}
VOID = set("area base br col embed hr img input link meta source wbr".split())
APART = {"p", "li", "dt", "dd", "div", "br", "summary", "figcaption"}
DEFINED = re.compile(r"\b(?:def|class) (?!__)(\w+)")
TEX = re.compile(r"\b(?:sqrt|exp|log|tanh|softmax|sigma|argmax)\b")
PLAIN = re.compile(r"[\w+\-*/=<>(),.; ]{1,24}")


class Sections(HTMLParser):
    """Collects the sections of a page's HTML."""

    def __init__(self):
        super().__init__()
        self.found, self.open, self.heading = [["", "", "", ""]], [], None
        self.code = self.tex = ""

    def handle_starttag(self, tag, attrs):
        """Open an element, or a section; nothing is taken inside a skip."""
        given = dict(attrs)
        if tag in VOID:
            return self._say(" ")
        self.open.append((tag, self._kind(tag, given)))
        if tag in HEADINGS and given.get("id"):
            self.heading = tag
            if tag != "h1":
                self.found.append([given["id"], "", "", ""])
        elif tag in APART:
            self._say(" ")

    def _kind(self, tag: str, given: dict) -> str:
        classes = set((given.get("class") or "").split())
        if (
            tag == "annotation"
            and given.get("encoding") == "application/x-tex"
        ):
            return "tex"
        if tag == "pre":
            return "code"
        if "arithmatex" in classes:
            return "formula"
        left_out = "data-search-exclude" in given or classes & CLASSES
        return "skip" if tag in SKIPPED or left_out else ""

    def handle_endtag(self, tag):
        """Close it, with what a browser would close inside."""
        while tag in [name for name, _ in self.open]:
            name, kind = self.open.pop()
            if kind in ("code", "formula"):
                self._names(kind)
            if name == self.heading:
                self.heading = None
            if name == tag:
                break
        if tag in APART:
            self._say(" ")

    def _names(self, kind: str) -> None:
        if kind == "code":
            words, self.code = DEFINED.findall(self.code), ""
        else:
            tex, self.tex = self.tex.strip(), ""
            words = TEX.findall(tex)
            if not self._inside("skip"):
                self._say(f" {tex} " if PLAIN.fullmatch(tex) else " … ")
        self.found[-1][3] += " ".join(["", *words])

    def _inside(self, *kinds: str) -> bool:
        return any(kind in kinds for _, kind in self.open)

    def handle_data(self, data):
        """Take text as prose, as code or as TeX, by where it stands."""
        if self._inside("code"):
            self.code += data
        elif self._inside("tex"):
            self.tex += data
        elif not self._inside("skip", "formula"):
            self._say(data)

    def _say(self, text: str) -> None:
        if not self._inside("skip", "formula"):
            self.found[-1][1 if self.heading else 2] += text


def sections(html: str) -> list[list[str]]:
    """Return [anchor, heading, text, words] of each section of a page."""
    reader = Sections()
    reader.feed(html)
    reader.close()
    return [
        [anchor, _tidy(heading), _tidy(text), words]
        for anchor, heading, text, names in reader.found
        for words in [" ".join(dict.fromkeys(names.split()))]
        if heading or text
    ]


def _tidy(text: str) -> str:
    """Return it with single spaces, no two gaps together, stops in place."""
    text = re.sub(r"(…\s*)+", "… ", " ".join(text.split()))
    return re.sub(r" (?=[.,;:)])", "", text).strip()


class SectionsPostprocessor(Postprocessor):
    """Keep the sections of the page; change nothing."""

    def run(self, text: str) -> str:
        """Return the HTML as it is.

        Python-Markdown asks for single headings too; the page comes last.
        """
        page = page_of(self.md)
        if page.files is not None:
            file = page.files.get_file_from_path(page.uri)
            file.page.meta["sections"] = sections(text)
        return text


class SearchingExtension(Extension):
    """Markdown extension `llmnotes._site.searching`."""

    def extendMarkdown(self, md):
        """Register after all that fills something in."""
        md.postprocessors.register(
            SectionsPostprocessor(md), "llmnotes-searching", 0
        )


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return SearchingExtension(**options)
