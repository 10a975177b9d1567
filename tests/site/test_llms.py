"""Programs read the same book: code, numbers and tables as plain text."""

import pytest

from llmnotes._site import fences, llms
from tests.site.conftest import ROOT

DRAWN = {"results", "grid", "map"}
CHART = """
```results
chart: basics/first:speed
x: n
y: seconds
by: method
alt: Two lines,
  one above the other.
caption: The point.
```
"""
GRID = """
=== "Tab"

    ```grid
    grid: basics/first:speed
    x: method
    y: n
    value: seconds
    alt: Six cells.
    ```
"""


def test_plain_pages_hold_code_numbers_and_tables(with_results):
    config = with_results.root / "mkdocs.yml"
    config.write_text(config.read_text() + "extra_templates: [all.txt]\n")
    with_results.write("src/package/module.py", "ONE = 1\n")
    with_results.write(
        "docs/all.txt",
        "{% for file in pages %}{{ file.page.meta.plain }}{% endfor %}",
    )
    with_results.html(
        "page",
        '# T\n\n```python title="x"\n--8<-- "package.module:ONE"\n```\n\n'
        "It is {{ basics/first:speed[n=512, method=flash].seconds | si }}, "
        "written `{{ part/slug:name.column }}`.\n\n"
        '=== "Tab"\n\n    ```results\n    table: basics/first:speed\n'
        "    columns: n\n    ```\n",
    )
    plain = (with_results.root / "site/all.txt").read_text()
    assert '```python title="x"\nONE = 1\n```\n\n' in plain
    assert "It is 2.56 ms, written `{{ part/slug:name.column }}`." in plain
    assert "| length N (tokens) | method | time (s) |" in plain
    assert "| 512 | flash | 0.00256 |" in plain
    assert "commit abcdef0123" in plain


def test_figures_become_what_they_show_their_point_and_their_table(
    with_results,
):
    plain = llms.plain(CHART, with_results.root)
    assert "Figure: Two lines, one above the other.\n\n" in plain
    assert "Caption: The point.\n\nTable: Flash needs" in plain
    assert "| 512 | flash | 0.00256 |" in plain


def test_grids_become_words_too_also_in_a_tab(with_results):
    plain = llms.plain(GRID, with_results.root)
    assert "Figure: Six cells.\n\nTable: Flash needs" in plain
    assert "x: method" not in plain


def test_the_map_is_left_out():
    assert llms.plain("A\n\n```map\nbook\n```\n\nB", ROOT).split() == [
        "A",
        "B",
    ]


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("docs/**/*.md")), ids=lambda path: path.stem
)
def test_no_page_leaks_the_options_of_a_figure(path):
    plain = llms.plain(path.read_text("utf-8"), ROOT)
    languages = [b.language for b in fences.blocks(plain.split("\n"))]
    assert not DRAWN & set(languages)


def test_a_page_of_results_holds_the_tables_of_its_part(with_results):
    plain = llms.plain(
        "```results\nfile: basics/first\n```", with_results.root
    )
    assert "| 512 | flash | 0.00256 |" in plain and "```" not in plain
