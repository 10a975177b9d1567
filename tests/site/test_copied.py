"""What a reader copies from a page is the source of the package.

The button copies the text of a code block, the folded imports too, without
the prompts of a terminal; that it does is seen in the browser
(test_browser.py).
"""

import functools
import inspect

import jupytext
import pytest

from llmnotes._site import fences, symbols
from llmnotes.transformer.attention import attention
from tests.site import built, serving
from tests.site.built import classes, of_class, text

ALWAYS = [*serving.chapters(), "proof/", "gallery/"]
PAGES = [url for url in serving.pages() if url not in serving.notebooks()]


def blocks_of(url: str, language: str = "python") -> list[str]:
    """The text of each code block of a page, as it is copied."""
    found = of_class(built.page(url).article, f"language-{language}")
    return ["".join(map(copied, block.iter("code"))) for block in found]


def claimed_of(url: str) -> list[str]:
    """The blocks that stand folded in a list of claims."""
    lists = of_class(built.page(url).article, "claims")
    found = (b for one in lists for b in of_class(one, "language-python"))
    return ["".join(map(copied, block.iter("code"))) for block in found]


def copied(code) -> str:
    return text(code, lambda e: bool(classes(e) & {"gp", "go"}))


@functools.cache
def fences_of(url: str) -> list[str]:
    """The Python of a page's Markdown, with the symbols in place."""
    blocks = fences.blocks(serving.source(url).read_text("utf-8").split("\n"))
    return [
        symbols.expand(block.body(), serving.ROOT).rstrip() + "\n"
        for block in blocks
        if block.language == "python"
    ]


@pytest.mark.parametrize("url", PAGES, ids=lambda url: url or "home")
def test_every_python_block_is_the_source_of_the_package(url):
    claimed = claimed_of(url)
    assert [b for b in blocks_of(url) if b not in claimed] == [
        block for block in fences_of(url) if block not in claimed
    ]
    assert fences_of(url) or url not in ALWAYS


def test_attention_can_be_copied_whole():
    source = inspect.getsource(attention)
    blocks = blocks_of("transformer/attention/")
    assert any(block.endswith(source) for block in blocks)


def test_the_prompt_is_not_the_command():
    assert "make serve" in "".join(blocks_of("", "console"))
    assert not any("$" in block for block in blocks_of("", "console"))


@pytest.mark.parametrize("url", serving.notebooks())
def test_a_notebook_yields_its_cells_and_both_files(url):
    source = serving.source(url)
    cells = code_cells(jupytext.read(source))
    assert cells and blocks_of(url) == [f"{cell.rstrip()}\n" for cell in cells]
    page = built.page(url)
    (files,) = of_class(page.article, "files")
    links = {a.get("href"): a for a in files.iter("a")}
    assert set(links) == {f"{source.stem}.py", f"{source.stem}.ipynb"}
    for name, link in links.items():
        written = (built.home() / url / name).read_text("utf-8")
        ending = name.rpartition(".")[2]
        assert code_cells(jupytext.reads(written, fmt=ending)) == cells
        assert "download" in link.attrib


def code_cells(notebook) -> list[str]:
    """The sources of the cells that run."""
    cells = notebook["cells"]
    return [c["source"] for c in cells if c["cell_type"] == "code"]
