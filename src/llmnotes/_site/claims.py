"""The `claims` fence: what the tests prove, as a list; each opens its test.

    ```claims
    tests.transformer.test_rope
    test_scores_depend_only_on_the_lag
    test_yarn_equals_hugging_face: YaRN's frequencies equal Hugging Face's
    ```

A line with dots names the module that the following tests stand in; a test
is told in its own name, read as words, or in those after the colon. A line
`others` folds away all other claims of the chapter, each with its lines.
"""

import ast
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

from llmnotes._site import code, tables
from llmnotes._site.book import Chapter, book
from llmnotes._site.page import Page, PageError, page_of

LINE = re.compile(r"(?P<name>test_\w+)(?::\s*(?P<words>.+))?")


@dataclass(frozen=True)
class Claim:
    """A test, and the words that it is told in."""

    module: str
    name: str
    words: str


def fence(source, language, css_class, options, md, **_):
    """Render the fence, as pymdownx.superfences asks for it."""
    page = page_of(md)
    try:
        told = read(source)
        known = md.__dict__.setdefault("llmnotes_claims_told", set())
        known |= {(claim.module, claim.name) for claim in told}
        shown = "".join(_claim(page, claim) for claim in told)
        more = _others(page, known) if "others" in source.split() else ""
        return f'<ul class="claims">{shown}{more}</ul>'
    except PageError:
        raise
    except Exception as error:  # superfences would swallow it
        raise page.error(f"claims fence: {error}") from None


def read(source: str) -> list[Claim]:
    """Return the claims of the lines; `LookupError` for other lines."""
    found, module = [], None
    for line in filter(None, map(str.strip, source.splitlines())):
        if m := LINE.fullmatch(line):
            if module is None:
                raise LookupError(f"{line!r} comes before its module")
            said = m["words"] or words(m["name"])
            found.append(Claim(module, m["name"], said))
        elif re.fullmatch(r"tests(\.\w+)+", line):
            module = line
        elif line != "others":
            raise LookupError(
                f"{line!r} is not tests.part.module, test_name or others"
            )
    return found


def words(name: str) -> str:
    """Read the name of a test as a sentence."""
    return name.removeprefix("test_").replace("_", " ")


def _claim(page: Page, claim: Claim) -> str:
    body = code.block(page, claim.module, claim.name)
    return (
        f"<li><details><summary>{tables.prose(claim.words)}</summary>"
        f"{body}</details></li>"
    )


def _others(page: Page, known: set) -> str:
    """List the chapter's claims that no list of the page has told so far."""
    chapter = book(page.root).get(page.chapter)
    if chapter is None:
        raise LookupError("others: only a chapter has tests of its own")
    items = [
        _line(page, path, name, line)
        for path in _files(chapter)
        for name, line in tests_of(page.root / path)
        if (".".join(path.with_suffix("").parts), name) not in known
    ]
    if not items:
        return ""
    count = f"{len(items)} more claim{'s' if len(items) > 1 else ''}"
    return (
        f"<li><details><summary>{count} of this chapter</summary>"
        f"<ul>{''.join(items)}</ul></details></li>"
    )


def _files(chapter: Chapter) -> list[Path]:
    """Return the files of the chapter's tests; a folder stands for all."""
    found = []
    for path in chapter.homes()["tests"]:
        place = chapter.root / path
        inside = (
            sorted(place.rglob("test_*.py")) if place.is_dir() else [place]
        )
        found += [file.relative_to(chapter.root) for file in inside]
    return list(dict.fromkeys(found))


def _line(page: Page, path: Path, name: str, line: int) -> str:
    href = page.file_url(path, f"L{line}")
    said = tables.prose(words(name))
    return (
        f'<li><a href="{escape(href)}">{said}</a></li>'
        if href
        else (f"<li>{said}</li>")
    )


def tests_of(path: Path) -> list[tuple[str, int]]:
    """Return name and line of each test of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        (node.name, node.lineno)
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
