"""The results pages: one for each result file, and the list of them.

Beside each docs/results/<part>/<slug>.json lies a page of the same name that
holds one fence and is written with the file (`results.write`):

    ```results
    file: transformer/rope
    ```

It becomes a title, the way to the chapter and everything in the file. And

    ```results
    files: all
    ```

becomes the list of these pages, part by part, in the order of the book. Both
are written out as Markdown before anything else looks at the page, so that
their headings are known and their links are checked.
"""

from dataclasses import dataclass
from pathlib import Path

from markdown import Extension
from markdown.preprocessors import Preprocessor

from llmnotes._site import results
from llmnotes._site.book import Chapter, book
from llmnotes._site.fences import blocks
from llmnotes._site.page import page_of


@dataclass(frozen=True)
class Section:
    """One result file and its page."""

    part: str
    slug: str
    owner: Chapter | None  # the chapter whose bench wrote it
    count: int  # of results

    @property
    def key(self) -> str:
        """`part/slug`, as references name the file."""
        return f"{self.part}/{self.slug}"

    @property
    def title(self) -> str:
        """The chapter's title, and what the file's name adds to it."""
        if self.owner is None:
            return _words(self.slug)
        more = self.slug.removeprefix(self.owner.slug).replace("_", " ")
        return f"{self.owner.title}:{more}" if more else self.owner.title

    def markdown(self) -> list[str]:
        """Return the lines of the page."""
        home = ""
        if self.owner and self.owner.written:
            link = f"[{self.owner.title}](../../{self.owner.uri})"
            home = f" of the chapter {link}"
        return [
            f"# Results: {self.title}",
            "",
            f"{_count(self.count)}{home}. [All results](../index.md)",
            "",
            *("```results", f"overview: {self.key}", "```", ""),
        ]


def _words(slug: str) -> str:
    return slug.replace("_", " ").capitalize()


def _count(n: int) -> str:
    return f"{n} result" if n == 1 else f"{n} results"


def parts(root: Path) -> list[str]:
    """Return the parts that have results: the book's, then what is beside."""
    order = [chapter.part for chapter in book(root).values()]
    found = {p.parent.name for p in (root / results.ROOT).glob("*/*.json")}
    beside = sorted(found - set(order))
    return [p for p in dict.fromkeys(order) if p in found] + beside


def sections(root: Path, part: str) -> list[Section]:
    """Return the result files of a part, in the order of the book."""
    chapters = [c for c in book(root).values() if c.part == part]
    owners = {p: c for c in chapters for p in c.homes()["results"]}
    files = sorted((root / results.ROOT / part).glob("*.json"))
    places = [path.relative_to(root) for path in files]
    beside = [place for place in places if place not in owners]
    return [_section(root, p, owners.get(p)) for p in [*owners, *beside]]


def _section(root: Path, file: Path, owner: Chapter | None) -> Section:
    part, slug = file.parent.name, file.stem
    found = results.of_chapter(f"{part}/{slug}", root / results.ROOT)
    return Section(part, slug, owner, len(found))


def _file(root: Path, key: str) -> list[str]:
    part = key.partition("/")[0]
    for section in sections(root, part):
        if section.key == key:
            return section.markdown()
    raise LookupError(f"no result file {results.path_of(key)}")


def _list(root: Path) -> list[str]:
    lines = []
    for part in parts(root):
        lines += [f"## {_words(part)}", ""]
        for s in sections(root, part):
            lines.append(f"- [{s.title}]({s.key}.md), {_count(s.count)}")
        lines.append("")
    return lines


def expand(text: str, root: Path) -> str:
    """Return a page's Markdown with what its fences stand for in it."""
    out = []
    for block in blocks(text.split("\n")):
        name, _, value = "".join(block.lines).partition(":")
        if block.language == "results" and name == "file":
            out += _file(root, value.strip())
        elif block.language == "results" and name == "files":
            out += _list(root)
        elif block.opening or block.lines:
            out.append(block.text())
    return "\n".join(out)


class OverviewPreprocessor(Preprocessor):
    """Write a results page, or their list."""

    def run(self, lines: list[str]) -> list[str]:
        """Return the lines with Markdown in the place of such fences."""
        page = page_of(self.md)
        try:
            return expand("\n".join(lines), page.root).split("\n")
        except LookupError as error:
            raise page.error(f"results fence: {error}") from None


class OverviewExtension(Extension):
    """Markdown extension `llmnotes._site.overviews`."""

    def extendMarkdown(self, md):
        """Register before all that reads fences."""
        md.preprocessors.register(
            OverviewPreprocessor(md), "llmnotes-overviews", 35
        )


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return OverviewExtension(**options)
