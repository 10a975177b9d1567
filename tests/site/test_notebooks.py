"""Notebooks run while the site is built, and become pages like others."""

import json
import re

import pytest

from llmnotes._site import book
from llmnotes._site.notebooks import cells
from tests.site.conftest import ROOT

CELLS = """\
# %% [markdown]
# # A title
#
# See [home](../index.md).

# %%
import sys
from llmnotes import _site
print("six", 2 * 3)
print("a warning", file=sys.stderr)
with open("runs", "a") as runs:
    runs.write("x")

# %% alt="A < B"
from IPython.display import SVG
SVG("<svg viewBox=\\"0 0 1 1\\"><path d='M0 0' stroke='#0072b2'/></svg>")
"""


@pytest.fixture
def notebook(site, monkeypatch):
    """The tiny site with the plugin of the book, and one notebook."""
    monkeypatch.chdir(site.root)
    ours = book.config(ROOT)
    plugin = {"mkdocs-jupyter": ours["plugins"]["mkdocs-jupyter"]}
    config = (site.root / "mkdocs.yml").read_text()
    config = config.replace("plugins: []", f"plugins: {json.dumps(plugin)}")
    hooks = [str(ROOT / hook) for hook in ours["hooks"]]
    site.write("mkdocs.yml", f"{config}hooks: {json.dumps(hooks)}\n")
    site.write("docs/notebooks/first.py", CELLS)
    return site


def built(site):
    code, output = site.build()
    assert code == 0, output
    return (site.root / "site/notebooks/first/index.html").read_text()


def test_a_notebook_runs_once_until_it_or_its_imports_change(notebook):
    notebook.write("src/llmnotes/_site/__init__.py", "import llmnotes.far")
    notebook.write("src/llmnotes/far.py", "")
    first, runs = built(notebook), notebook.root / "runs"
    assert built(notebook) == first
    notebook.write("src/llmnotes/other.py", "")
    assert built(notebook) == first
    assert runs.read_text() == "x"
    notebook.write("src/llmnotes/far.py", "changed = True")
    assert built(notebook) == first
    assert runs.read_text() == "xx"
    notebook.write("docs/notebooks/first.py", CELLS.replace("six", "6"))
    assert "6 6\n" in built(notebook)
    assert runs.read_text() == "xxx"


def test_a_notebook_looks_like_a_page_and_brings_nothing_along(notebook):
    html = built(notebook)
    assert '<h1 id="a-title">A title<a' in html
    assert '<a href="../../">home</a>' in html
    assert "six 6\n</code>" in html
    assert "warning</code>" not in html
    assert re.search(r'<svg [^>]*aria-label="A &lt; B".*var\(--c1\)', html)
    assert not re.search(r"<script|<style|<link|https?://(?!example)", html)
    folder = notebook.root / "site/notebooks/first"
    assert (folder / "first.py").read_text() == CELLS
    ran = json.loads((folder / "first.ipynb").read_text())["cells"]
    assert ran[1]["outputs"][0]["text"] == ["six 6\n"]


@pytest.mark.parametrize(
    "cell, fault",
    [
        ("raise OSError('disk')", "a cell fails: OSError: disk"),
        ("import gone", "a cell fails: ModuleNotFoundError: No module"),
        (
            "from IPython.display import SVG\nSVG('<svg/>')",
            "a cell that draws",
        ),
    ],
)
def test_a_cell_that_fails_ends_the_build(cell, fault, notebook):
    notebook.write("docs/notebooks/first.py", f"{CELLS}\n# %%\n{cell}\n")
    code, output = notebook.build()
    assert code == 1
    assert f"notebooks/first.py: {fault}" in output


def test_a_dead_link_in_a_notebook_ends_the_build(notebook):
    text = CELLS.replace("../index.md", "../gone.md")
    notebook.write("docs/notebooks/first.py", text)
    code, output = notebook.build()
    assert code == 1
    assert "'notebooks/first.py' contains a link '../gone.md'" in output


def test_a_notebook_without_a_title_is_refused():
    cell = {"cell_type": "markdown", "source": "No title."}
    with pytest.raises(cells.CellError, match="needs a title"):
        cells.markdown({"cells": [cell]}, "first")


def test_ticks_in_an_output_do_not_end_its_fence():
    assert cells.fence("text", "```") == "````text\n```\n````"


def test_programs_read_a_figure_in_words():
    svg = '<svg aria-label="A &lt; B"><path/></svg>'
    page = f"One\n\n{cells.FIGURE} data-x>{svg}</figure>\n\nTwo"
    assert cells.in_words(page) == "One\n\nFigure: A < B.\n\nTwo"
