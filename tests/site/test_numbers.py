"""A number in prose comes from a result file, or the build fails."""

import re

import pytest

from llmnotes._site import results
from llmnotes._site.tables import number

REF = "basics/first:speed"


@pytest.mark.parametrize(
    "reference, shown",
    [
        (f"{REF}[n=512, method=flash].seconds", "0.00256"),
        (f"{REF}[n=512, method=flash].seconds | .4f", "0.0026"),
        (f"{REF}[n=512, method=flash].seconds | si", "2.56 ms"),
        (f"{REF}[n=2048, method=naive].n", "2,048"),
        (
            f"{REF}[n=512, method=naive].seconds"
            f" / {REF}[n=512, method=flash].seconds | .1f",
            "4.0",
        ),
        (f"1e3 * ({REF}[n=512, method=flash].seconds - 0) | .2f", "2.56"),
    ],
)
def test_a_reference_becomes_its_number(shared, reference, shown):
    html = shared.html("page", f"# T\n\nIt is {{{{ {reference} }}}}.\n")
    number = html[html.index("It is ") :]
    assert f">{shown}</span>." in number
    assert 'data-title="Flash needs a quarter of the time"' in number
    assert 'data-run="Measured; it depends on the machine' in number
    assert "Abacus 3000, 2 cores, 1 thread" in number


def test_the_card_of_a_number_names_the_rows_it_is_taken_from(shared):
    one = f"{REF}[n=512, method=flash].seconds"
    two = f"{REF}[n=512, method=naive].seconds"
    html = shared.html("page", f"# T\n\n{{{{ {two} / {one} | .1f }}}}\n")
    rows = "n=512, method=naive: seconds; n=512, method=flash: seconds"
    assert f'data-rows="{rows}"' in html


def test_a_number_links_to_its_table_on_the_page_of_its_file(shared):
    ref = f"{{{{ {REF}[n=512, method=flash].seconds }}}}"
    html = shared.html(
        "basics__second",
        f"# T\n\n{ref}\n",
        results__basics__first=results.stub("basics/first"),
        results__index="# Results\n",
    )
    assert 'href="../../results/basics/first/#basics-first-speed"' in html
    built = shared.root / "site/results/basics/first/index.html"
    assert 'id="basics-first-speed"' in built.read_text()


def test_a_number_stands_in_a_table_cell_and_in_html(shared):
    ref = f"{{{{ {REF}[n=512, method=flash].seconds | .1e }}}}"
    text = f"# T\n\n| a | b |\n|---|---|\n| x | {ref} |\n\n<div>{ref}</div>\n"
    html = shared.html("page", text)
    assert html.count(">2.6e-03</span>") == 2
    assert html.count("<td>") == 2


def test_in_code_nothing_is_replaced(shared):
    html = shared.html(
        "page",
        "# T\n\n`{{ a/b:c.d }}` and ``{{ a/b:c.d | ` }}``\n\n"
        "```text\n{{ a/b:c.d }}\n```\n",
    )
    assert html.count("{{ a/b:c.d") == 3


def test_braces_of_tex_are_no_reference(shared):
    assert "katex" in shared.html("page", "# T\n\n$x_{{i}}$\n")


@pytest.mark.parametrize(
    "reference, cause",
    [
        ("basics/none:speed.n", "no result file"),
        ("basics/first:none.n", "no result 'none'"),
        (f"{REF}[n=512, method=flash].time", "no column 'time'"),
        (f"{REF}[m=512].seconds", "no column 'm'"),
        (f"{REF}[n=7].seconds", "no row where n=7"),
        (f"{REF}[n=512].seconds", "picks 2 rows, expected exactly one"),
        (f"{REF}[n=512, method=flash].method / 2", "unsupported operand"),
        (f"{REF}[n=512, method=flash].n / 0", "divides by zero"),
        (f"abs({REF}[n=512, method=flash].n)", "is more than numbers"),
        (f"{REF}[n=512, method=flash].n | .1x", "not allowed in integer"),
        ("page.title", "holds no part/slug:name.column"),
    ],
)
def test_a_missing_reference_ends_the_build(shared, reference, cause):
    text = f"# T\n\nIt is {{{{ {reference} }}}}.\n"
    said = shared.failure("basics__second", text)
    assert said.startswith(f"{{{{ {reference} }}}}: ") and cause in said


@pytest.mark.parametrize(
    "value, form, unit, shown",
    [
        (1234567, "", "", "1,234,567"),
        (0.0123456, "", "", "0.0123"),
        (12.3456, "", "", "12.3"),
        (1234.56, "", "", "1,235"),
        (9.996, "", "", "10.0"),
        (0.00042, "", "", "4.20·10⁻⁴"),
        (-3.2, "", "", "−3.20"),
        (0.0, "", "", "0"),
        (None, "", "", "–"),
        ("words", ".2f", "", "words"),
        (4294967296, "si", "B", "4.29 GB"),
        (0.00099996, "si", "s", "1 ms"),
        (1e-5, "si", "s", "10 µs"),
        (0, "si", "s", "0 s"),
        (1e18, "si", "FLOP", "1 EFLOP"),
        (0.256, ".1%", "", "25.6%"),
    ],
)
def test_numbers_are_written_as_a_reader_expects(value, form, unit, shown):
    assert number(value, form, unit) == shown


def test_the_unit_of_two_cells_is_not_lost(shared):
    """A time by a count was once shown as "4.35 µ"."""
    cell = f"{REF}[n=512, method=flash]"
    html = shared.html(
        "page", f"# T\n\n{{{{ {cell}.seconds / {cell}.n | si }}}}\n"
    )
    assert re.search(r">[\d.]+ µs</span>", html)


def test_a_prefix_without_a_unit_ends_the_build(shared):
    cell = f"{REF}[n=512, method=flash].seconds"
    with pytest.raises(Exception, match="si needs a unit"):
        shared.html("page", f"# T\n\n{{{{ {cell} / {cell} | si }}}}\n")
