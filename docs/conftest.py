"""Every Python fence of every page is a test; one page is one namespace.

A `text` fence right after a Python fence is its expected output. Fences of
other languages must be on the list below: nothing is skipped unseen.
"""

import contextlib
import doctest
import io
import re
import textwrap

from sybil import Region, Sybil

from llmnotes._site import symbols

FENCE = re.compile(
    r"^(?P<pad>[ \t]*)(?P<ticks>`{3,})[ ]*(?P<lang>[\w-]*)(?P<attrs>[^\n]*)\n"
    r"(?P<body>.*?)^(?P=pad)(?P=ticks)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
SHOWN_ONLY = {"results", "grid", "map", "console", "markdown", "toml", "json"}
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


def fences(document):
    """Yield one region for each fence that makes a claim."""
    end = None
    for m in FENCE.finditer(document.text):
        body = textwrap.dedent(m["body"])
        where = f"{document.path}: fence {m['lang']!r}"
        if m["lang"] == "python":
            yield Region(m.start(), m.end(), body, run)
            end = m.end()
        elif m["lang"] == "text":
            if end is None or document.text[end : m.start()].strip():
                raise ValueError(f"{where} does not follow a python fence")
            yield Region(m.start(), m.end(), body, compare)
            end = None
        elif m["lang"] not in SHOWN_ONLY:
            raise ValueError(f"{where} is neither run nor on the list")


pytest_collect_file = Sybil([fences], patterns=["**/*.md", "*.md"]).pytest()
