"""The pages as plain Markdown, for readers that are programs.

Leaves in each page's metadata, under `plain`, its Markdown with the code,
the numbers and the tables in it. The templates docs/llms.txt and
docs/llms-full.txt, which MkDocs fills in, print them.
"""

from markdown import Extension
from markdown.postprocessors import Postprocessor
from markdown.preprocessors import Preprocessor

from llmnotes._site import (
    charts,
    claims,
    fences,
    grids,
    numbers,
    overviews,
    provenance,
    results,
    symbols,
    tables,
)
from llmnotes._site.figures import fence as figures
from llmnotes._site.notebooks import cells
from llmnotes._site.page import page_of


def plain(text: str, root) -> str:
    """Return a page's Markdown with everything it refers to in it.

    The map is left out: the list of pages says the same.
    """
    out = []
    text = symbols.expand(overviews.expand(text, root), root)
    for block in fences.blocks(text.split("\n")):
        if block.opening is None:
            words = numbers.plain(cells.in_words(block.body()), root)
            out += [words] if block.lines else []
        elif block.language in SHOWN:
            out.append(SHOWN[block.language](block.body(), root))
        else:
            out.append(block.text())
    return "\n".join(out)


def _results(source: str, root) -> str:
    given = charts.options(source)
    folder = root / results.ROOT
    if "overview" in given:
        shown = results.of_chapter(given["overview"], folder)
        return "\n\n".join(map(_table, shown.values()))
    reference = next(given[k] for k in charts.SHOWS if k in given)
    return _in_words(given) + _table(results.load(reference, folder))


def _grid(source: str, root) -> str:
    given = fences.options(source, grids.OPTIONS)
    result = results.load(given["grid"], root / results.ROOT)
    return _in_words(given) + _table(result)


def _in_words(given: dict) -> str:
    """Return what a picture shows, and its point."""
    shown = {"Figure": given.get("alt"), "Caption": given.get("caption")}
    return "".join(f"{k}: {v}\n\n" for k, v in shown.items() if v)


def _figure(source: str, root) -> str:
    return _in_words(fences.options(source, figures.OPTIONS))


def _claims(source: str, root) -> str:
    return "\n".join(f"- {claim.words}" for claim in claims.read(source))


SHOWN = {
    "results": _results,
    "grid": _grid,
    "figure": _figure,
    "claims": _claims,
    "map": lambda source, root: "",
}


def _table(result: dict) -> str:
    heads = list(map(tables.heading, result["columns"]))
    rows = [heads, ["---"] * len(heads)]
    rows += [list(map(tables.number, row)) for row in result["rows"]]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    head = f"Table: {result['title']}"
    return "\n".join([head, "", *lines, "", provenance.whole(result)])


class PlainPreprocessor(Preprocessor):
    """Keep the Markdown of the page as it was written; change nothing."""

    written = ""

    def run(self, lines: list[str]) -> list[str]:
        """Return the lines as they are."""
        self.written = "\n".join(lines)
        return lines


class PlainPostprocessor(Postprocessor):
    """Fill the written Markdown in, after all that may find it broken.

    Python-Markdown also runs postprocessors on the text of each heading.
    """

    def __init__(self, md, source: PlainPreprocessor):
        super().__init__(md)
        self.source = source

    def run(self, text: str) -> str:
        """Return the HTML as it is."""
        page = page_of(self.md)
        if page.files is None:
            return text
        meta = page.files.get_file_from_path(page.uri).page.meta
        if "plain" not in meta:
            meta["plain"] = plain(self.source.written, page.root)
        return text


class PlainExtension(Extension):
    """Markdown extension `llmnotes._site.llms`."""

    def extendMarkdown(self, md):
        """Register before all that replaces something, and after it."""
        source = PlainPreprocessor(md)
        md.preprocessors.register(source, "llmnotes-llms", 34)
        filled = PlainPostprocessor(md, source)
        md.postprocessors.register(filled, "llmnotes-llms", 1)


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return PlainExtension(**options)
