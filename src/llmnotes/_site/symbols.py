"""Code by symbol: a line in a fence stands for the source of that symbol.

    ```python
    --8<-- "llmnotes.transformer.attention:MultiHeadAttention.forward"
    ```

Words after the closing quote: `imports` puts in front those imports of the
module that the block uses, `nodoc` drops docstrings. Modules lie under src/
or at the root of the repository (tests.…). A link to the lines follows the
fence. To show such a line itself, write a semicolon in front of it, as in
pymdownx.snippets, which takes the semicolon away.
"""

import re
from pathlib import Path

from markdown import Extension
from markdown.preprocessors import Preprocessor

from llmnotes._site.fences import blocks
from llmnotes._site.page import page_of
from llmnotes._site.sources import Source, source_of, write_imports

LINE = re.compile(
    r'(?P<pad>[ \t>]*)--8<-- "(?P<module>[\w.]+):(?P<name>[\w.]+)"'
    r"(?P<words>(?:[ \t]+\w+)*)[ \t]*"
)


def _expand_block(root: Path, lines) -> tuple[list[str], list[Source]]:
    """Put sources into a block; imports of all of them before the first."""
    matches = [(line, LINE.fullmatch(line)) for line in lines]
    sources = {
        i: source_of(root, m["module"], m["name"], m["words"].split())
        for i, (_, m) in enumerate(matches)
        if m
    }
    imports = {}
    for source in sources.values():
        for head, names in source.imports.items():
            imports.setdefault(head, set()).update(names)
    out = []
    for i, (line, m) in enumerate(matches):
        if i not in sources:
            out.append(line)
            continue
        code = sources[i].code
        if imports and i == min(sources):
            gap = 2 if code[0].startswith(("def ", "class ", "@")) else 1
            code = [*write_imports(imports), *[""] * gap, *code]
        out += [m["pad"] + row if row else row for row in code]
    return out, list(sources.values())


def expand(text: str, root: Path | None = None) -> str:
    """Return the Markdown, or the body of a fence, with plain code in it.

    The same text as on the page, without the links to the source.
    """
    out = []
    for block in blocks(text.split("\n")):
        if block.opening:
            out.append(block.opening[0])
        out += _expand_block(root or Path.cwd(), block.lines)[0]
        if block.closing is not None:
            out.append(block.closing)
    return "\n".join(out)


def _link(page, pad: str, source: Source) -> list[str]:
    """Write the link to the lines; attr_list gives the paragraph a class."""
    first, last = source.first, source.last
    one = first == last
    lines = f"line {first}" if one else f"lines {first}–{last}"
    text = f"`{source.name}` in `{source.path.as_posix()}`, {lines}"
    anchor = f"L{first}" if one else f"L{first}-L{last}"
    url = page.source_url(source.path.as_posix(), anchor)
    text = f"[{text}]({url})" if url else text
    gap = pad.rstrip()
    return [gap, pad + text, pad + "{ .source-link }", gap]


class SymbolPreprocessor(Preprocessor):
    """Replace the symbol lines of a page."""

    def run(self, lines: list[str]) -> list[str]:
        """Return the lines of the page with the sources in their place."""
        page = page_of(self.md)
        out = []
        for block in blocks(lines):
            try:
                body, sources = _expand_block(page.root, block.lines)
            except LookupError as error:
                raise page.error(error.args[0]) from None
            if sources and block.closing is None:
                raise page.error(
                    f"the line for {sources[0].name} must stand in a fence"
                )
            if block.opening:
                out.append(block.opening[0])
            out += body
            if block.closing is not None:
                out.append(block.closing)
            for source in sources:
                out += _link(page, block.opening["pad"], source)
        return out


class SymbolExtension(Extension):
    """Markdown extension `llmnotes._site.symbols`."""

    def extendMarkdown(self, md):
        """Register before pymdownx.snippets (32), whose syntax it shares."""
        md.preprocessors.register(
            SymbolPreprocessor(md), "llmnotes-symbols", 33
        )


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return SymbolExtension(**options)
