"""Every Python fence of every page is a test; one page is one namespace.

A `text` fence right after a Python fence is its expected output. Fences of
other languages are those that mkdocs.yml draws, or must be on the list below:
nothing is skipped unseen.
"""

import contextlib
import doctest
import io
import textwrap
from pathlib import Path

from sybil import Region, Sybil

from llmnotes._site import book, fences, symbols

EXTENSIONS = book.config(Path(__file__).parents[1])["markdown_extensions"]
DRAWN = {
    fence["name"]
    for extension in EXTENSIONS
    if "pymdownx.superfences" in extension
    for fence in extension["pymdownx.superfences"]["custom_fences"]
}
SHOWN_ONLY = DRAWN | {"console", "errata", "json", "markdown", "toml"}
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run(example):
    """Execute the fence as a reader would who pasted the blocks so far."""
    line = example.document.text.count("\n", 0, example.region.start)
    code = "\n" * (line + 1) + symbols.expand(example.parsed)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, example.path, "exec"), example.namespace)
    example.namespace["__out__"] = out.getvalue()


def compare(example):
    """Compare the output of the fence before with this one."""
    got, want = example.namespace["__out__"], example.parsed
    if not doctest.OutputChecker().check_output(want, got, SAME):
        return f"expected:\n{want}\ngot:\n{got}"


def blocks(text):
    """Yield each fence with where it begins and ends in the text."""
    start = 0
    for block in fences.blocks(text.split("\n")):
        written = block.text()
        end = start + len(written)
        if block.opening and block.closing is None:
            raise ValueError(f"a fence is not closed: {block.opening[0]!r}")
        if block.opening:
            yield block, start, end
        # Nothing stands between two fences that follow each other.
        start = end + 1 if block.opening or block.lines else start


def claims(document):
    """Yield one region for each fence that makes a claim."""
    last = None
    for block, start, end in blocks(document.text):
        body = textwrap.dedent("\n".join([*block.lines, ""]))
        where = f"{document.path}: fence {block.language!r}"
        if block.language == "python":
            yield Region(start, end, body, run)
            last = end
        elif block.language == "text":
            if last is None or document.text[last:start].strip():
                raise ValueError(f"{where} does not follow a python fence")
            yield Region(start, end, body, compare)
            last = None
        elif block.language not in SHOWN_ONLY:
            raise ValueError(f"{where} is neither run nor on the list")


pytest_collect_file = Sybil([claims], patterns=["**/*.md", "*.md"]).pytest()
