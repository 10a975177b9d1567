"""Code by symbol: a line in a fence stands for the source of that symbol.

    ```python
    --8<-- "llmnotes.transformer.attention:MultiHeadAttention.forward"
    ```

Docstrings and shape guards are left out (trimming.py). Words after the
closing quote: `imports` puts in front those imports of the module that the
block uses, `doc` shows docstrings, `guards` shows guards. Modules lie under
src/ or at the root of the repository (tests.…). To show such a line itself,
write a semicolon in front of it, as in pymdownx.snippets, which takes the
semicolon away.
"""

import ast
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from markdown import Extension
from markdown.preprocessors import Preprocessor

from llmnotes._site.fences import blocks
from llmnotes._site.page import page_of
from llmnotes._site.sources import Source, source_of, write_imports

WRITTEN, HIDDEN = "--8<--", "--symbol--"
LINE = re.compile(
    rf'(?P<pad>[ \t>]*)(?P<mark>{WRITTEN}|{HIDDEN}) "(?P<module>[\w.]+)'
    r':(?P<name>[\w.]+)"(?P<words>(?:[ \t]+\w+)*)[ \t]*'
)


@dataclass(frozen=True)
class Listing:
    """The code of one fence, with the sources in it."""

    imports: list[str]  # with the empty lines that follow them
    body: list[str]
    sources: list[Source]

    @property
    def lines(self) -> list[str]:
        """All of it, as it runs."""
        return [*self.imports, *self.body]


def listing(lines, root: Path, mark: str = WRITTEN) -> Listing:
    """Put sources in the place of symbol lines; `LookupError` without one."""
    body, sources, imports = [], [], {}
    for line in lines:
        m = LINE.fullmatch(line)
        if not m or m["mark"] != mark:
            body.append(line)
            continue
        source = source_of(root, m["module"], m["name"], m["words"].split())
        sources.append(source)
        body += [m["pad"] + row if row else row for row in source.code]
        for head, names in source.imports.items():
            imports.setdefault(head, set()).update(names)
    typed, body = _imports_above(body) if sources else ([], body)
    written = [*write_imports(imports), *typed]
    first = next(filter(None, body), "").lstrip()
    gap = 2 if first.startswith(("def ", "class ", "@")) else 1
    return Listing([*written, *[""] * gap] if written else [], body, sources)


def _imports_above(body: list[str]) -> tuple[list[str], list[str]]:
    """Part the imports that a page writes itself from the code below."""
    try:
        statements = ast.parse("\n".join(body)).body
    except SyntaxError:
        return [], body
    leading = itertools.takewhile(
        lambda s: isinstance(s, ast.Import | ast.ImportFrom), statements
    )
    end = max((s.end_lineno for s in leading), default=0)
    rest = itertools.dropwhile(lambda line: not line, body[end:])
    return body[:end], list(rest)


def expand(text: str, root: Path | None = None) -> str:
    """Return the Markdown, or the body of a fence, with plain code in it."""
    out = []
    for block in blocks(text.split("\n")):
        if block.opening:
            out.append(block.opening[0])
        out += listing(block.lines, root or Path.cwd()).lines
        if block.closing is not None:
            out.append(block.closing)
    return "\n".join(out)


class SymbolPreprocessor(Preprocessor):
    """Hide symbol lines from pymdownx.snippets, whose syntax they share.

    The fence that they stand in is drawn by code.py.
    """

    def run(self, lines: list[str]) -> list[str]:
        """Return the page's lines, those of symbols under another mark."""
        page = page_of(self.md)
        out = []
        for block in blocks(lines):
            rows = [self.hidden(line) for line in block.lines]
            if rows != block.lines and block.closing is None:
                name = next(filter(None, map(LINE.fullmatch, rows)))["name"]
                raise page.error(f"the line for {name} must stand in a fence")
            first = [block.opening[0]] if block.opening else []
            last = [] if block.closing is None else [block.closing]
            out += [*first, *rows, *last]
        return out

    @staticmethod
    def hidden(line: str) -> str:
        """Return a symbol line under another mark, any other as it is."""
        if not LINE.fullmatch(line):
            return line
        return line.replace(WRITTEN, HIDDEN, 1)


class SymbolExtension(Extension):
    """Markdown extension `llmnotes._site.symbols`."""

    def extendMarkdown(self, md):
        """Register before pymdownx.snippets (32)."""
        md.preprocessors.register(
            SymbolPreprocessor(md), "llmnotes-symbols", 33
        )


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return SymbolExtension(**options)
