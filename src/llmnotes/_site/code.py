"""Blocks of code: every fence that no other formatter takes.

    ```python title="Who may look at whom" hl_lines="2 4-5" fold="a helper"

title    = words above the block
hl_lines = the marked lines, counted without the imports
fold     = the block is folded away under these words

Its head names the file and the lines of each symbol (symbols.py), imports
fold into one line, and a button copies all of it, without the prompts and
outputs of a terminal (assets/book.js).
"""

import functools
import re
from html import escape
from itertools import groupby
from pathlib import PurePath

from llmnotes._site import symbols, tokens
from llmnotes._site.page import Page, page_of
from llmnotes._site.sources import Source
from llmnotes._site.symbols import Listing

OPTIONS = {"title", "hl_lines", "fold"}
LINES = re.compile(r"\d+(-\d+)?( \d+(-\d+)?)*")
OUTPUT = {"text"}  # not to be copied
COPY = (
    '<button type="button" class="copy" title="Copy" aria-label="Copy">'
    "</button>"
)


def validate(language, inputs, options, attrs, md) -> bool:
    """Take the options of a fence; end the build for one that is unknown."""
    page = page_of(md)
    if unknown := inputs.keys() - OPTIONS:
        known = ", ".join(sorted(OPTIONS))
        raise page.error(
            f"{language}: unknown option {min(unknown)!r}; one of {known}"
        )
    if not LINES.fullmatch(inputs.get("hl_lines", "1")):
        raise page.error(f"hl_lines: got {inputs['hl_lines']!r}, as in 2 4-5")
    options.update(inputs)
    return True


def fence(source, language, class_name, options, md, **kwargs) -> str:
    """Return the HTML of a fence, as superfences asks for it."""
    page = page_of(md)
    try:
        lines = source.split("\n")
        listing = symbols.listing(lines, page.root, symbols.HIDDEN)
    except LookupError as error:
        raise page.error(error.args[0]) from None
    return html(page, listing, language or "text", **options)


def block(page: Page, module: str, name: str, words=()) -> str:
    """Return the HTML of one symbol's block, for other fences to hold.

    `LookupError` if there is no such symbol.
    """
    line = " ".join([f'{symbols.WRITTEN} "{module}:{name}"', *words])
    return html(page, symbols.listing([line], page.root))


def html(
    page: Page, listing: Listing, language="python", title="", **options
) -> str:
    """Return the HTML of a listing."""
    marked = _numbers(options.get("hl_lines", ""))
    parts = [
        _head(page, listing.sources, title, language),
        _imports(listing.imports, language),
        _pre("\n".join(listing.body), language, marked),
    ]
    body = (
        f'<div class="language-{language} highlight" '
        f'style="--lines:{len(listing.body)}">{"".join(parts)}</div>'
    )
    if "fold" not in options:
        return body
    words = escape(options["fold"])
    return f'<details class="fold"><summary>{words}</summary>{body}</details>'


def _numbers(text: str) -> frozenset[int]:
    ends = [part.split("-") for part in text.split()]
    return frozenset(
        n for end in ends for n in range(int(end[0]), int(end[-1]) + 1)
    )


def _pre(code: str, language: str, marked=frozenset()) -> str:
    shown = tokens.html(code.rstrip("\n") + "\n", language, marked)
    return f"<pre><code>{shown}</code></pre>"


def _imports(lines: list[str], language: str) -> str:
    """Return the imports, folded into one line that counts them."""
    if not lines:
        return ""
    count = sum(line.startswith(("import ", "from ")) for line in lines)
    words = f"{count} import{'' if count == 1 else 's'}"
    shown = tokens.html("\n".join(lines) + "\n", language)
    return (
        '<details class="imports" data-search-exclude>'
        f"<summary>{words}</summary><pre><code>{shown}</code></pre></details>"
    )


def _head(page: Page, sources: list[Source], title: str, language: str) -> str:
    words = f'<span class="filename">{escape(title)}</span>' if title else ""
    places = _places(page, sources)
    copy = "" if language in OUTPUT else COPY
    if not words and not places:
        return copy
    return f'<div class="head" data-search-exclude>{words}{places}{copy}</div>'


def _places(page: Page, sources: list[Source]) -> str:
    """Return file and lines of each source, and that guards are left out."""
    groups = [
        _in_one_file(page, path, list(found))
        for path, found in groupby(sources, key=lambda source: source.path)
    ]
    if any("guards" in source.left_out for source in sources):
        groups.append("without guards")
    joined = " · ".join(groups)
    return f'<span class="place">{joined}</span>' if groups else ""


def _in_one_file(page: Page, path: PurePath, sources: list[Source]) -> str:
    """Return `rope.py · lines 80–103, 110`, the lines being links."""
    several = len(sources) > 1 or sources[0].first != sources[0].last
    lines = ", ".join(map(functools.partial(_lines, page), sources))
    if path.name == "__init__.py":
        path = path.parent
    return f"{path.name} · line{'s' if several else ''} {lines}"


def _lines(page: Page, source: Source) -> str:
    first, last = source.first, source.last
    one = first == last
    words = f"{first}" if one else f"{first}–{last}"
    anchor = f"L{first}" if one else f"L{first}-L{last}"
    url = page.file_url(source.path.as_posix(), anchor)
    if not url:
        return words
    left_out = " and ".join(source.left_out)
    said = f"{source.name} in {source.path.as_posix()}"
    said += f", shown without {left_out}" if left_out else ""
    return f'<a href="{escape(url)}" title="{escape(said)}">{words}</a>'
