"""A result fence becomes a chart, a table or a listing, or fails."""

import dataclasses
import re
import shutil
import xml.etree.ElementTree as etree
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from llmnotes._site import charts, drawing, provenance, results, tables

CHART = """chart: basics/first:speed
x: n
y: seconds
by: method
scale: log-log
labels: naive=plain attention, flash=our "flash"
alt: Two lines & one "gap"
caption: The point, with `code`.
"""


def fence(body):
    return f"# T\n\n```results\n{body}\n```\n"


@pytest.fixture(scope="module")
def page(shared):
    """The HTML of a page with the chart above."""
    return shared.html("page", fence(CHART))


def svg_of(html):
    return re.search(r"<svg class=\"chart wide\".*?</svg>", html, re.S)[0]


def rows_of(html):
    body = html[html.index("<tbody>") : html.index("</tbody>")]
    return [
        re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)
        for row in re.findall(r"<tr>(.*?)</tr>", body)
    ]


def test_a_chart_is_small_and_well_formed(page):
    svg = svg_of(page)
    assert len(svg.encode()) < 15_000
    root = etree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'Two lines & one "gap"'
    assert root[0].tag == "title" and root[0].text == root.get("aria-label")


def test_a_chart_has_only_the_colours_of_the_page(page):
    svg = svg_of(page)
    assert "#" not in re.sub(r'(href="|url\()#', "", svg)
    assert "var(--c1)" in svg and "var(--c2)" in svg
    assert "font-family:inherit" in svg and "DejaVu" not in svg


def test_a_chart_says_its_axes_ticks_and_lines_in_words(page):
    svg = svg_of(page)
    words = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"length N (tokens)", "time", "plain attention"} <= set(words)
    assert {"512", "1,024", "2,048", "10 ms"} <= set(words)


def test_the_same_data_gives_the_same_bytes_and_ids_are_unique(shared):
    other = CHART.replace("scale: log-log", "scale: linear-linear")
    text = fence(CHART) + fence(other)
    html = shared.html("page", text)
    ids = re.findall(r' id="(c[^"]*)"', html)
    assert ids and len(ids) == len(set(ids))
    shutil.rmtree(shared.root / "build/kept")
    assert shared.html("page", text) == html


@pytest.mark.parametrize("kind", ["line", "scatter", "bar"])
def test_every_kind_is_drawn_small(kind):
    series = {
        name: ([2**i for i in range(9)], [k * 3.0**i for i in range(9)])
        for k, name in enumerate("abcdef", 1)
    }
    column = {"name": "n", "unit": "s"}
    chart = drawing.Chart(series, column, column, kind, "log-log")
    svg = drawing.svg(chart, "id", "alt")
    etree.fromstring(svg)
    assert len(svg) < (30_000 if kind == "bar" else 15_000)
    assert all(f"var(--c{i})" in svg for i in range(1, 7))


def test_a_bar_below_zero_is_drawn_to_the_left():
    column = {"name": "n", "unit": ""}
    bars = {}
    for value in (2, -2):
        chart = drawing.Chart({"": (["a", "b"], [3, value])}, column, column)
        chart = dataclasses.replace(chart, kind="bar")
        svg = drawing.svg(chart, "id", "alt")
        bars[value] = re.findall(r'<path d="([^"]*)"[^>]*var\(--c1\)', svg)
    left = [re.findall(r"[ML] ?([\d.]+)", bar) for bar in bars[-2]]
    edges = [sorted(set(map(float, xs))) for xs in left]
    assert len(edges) == 2
    assert edges[1][-1] == edges[0][0] > edges[1][0]  # they meet at zero
    assert len(bars[2]) == 2 and bars[2] != bars[-2]


def test_the_lines_of_a_scatter_use_up_no_colour():
    series = {"roof": ([1, 9], [2, 2]), "ours": ([3], [1])}
    column = {"name": "n", "unit": ""}
    chart = drawing.Chart(
        series, column, column, "scatter", lines=frozenset({"roof"})
    )
    svg = drawing.svg(chart, "id", "alt")
    assert "var(--c1)" in svg and "var(--c2)" not in svg


@given(
    st.lists(st.floats(0, 300), min_size=1, max_size=6).map(sorted),
    st.floats(1, 30),
)
def test_labels_never_touch_and_move_only_if_need_be(heights, gap):
    places = drawing.spread(heights, gap)
    steps = [b - a for a, b in zip(places, places[1:], strict=False)]
    assert all(step > gap - 1e-6 for step in steps)
    near = [b - a < gap for a, b in zip(heights, heights[1:], strict=False)]
    if not any(near):
        assert places == pytest.approx(heights)
    assert sum(places) == pytest.approx(sum(heights))


def test_a_phone_gets_a_drawing_whose_text_is_as_large_as_it_is_drawn(page):
    svg = re.search(r"<svg class=\"chart narrow\".*?</svg>", page, re.S)[0]
    root = etree.fromstring(svg)
    assert float(root.get("viewBox").split()[2]) < 345
    sizes = re.findall(r"font-size:([\d.]+)px", svg)
    assert sizes and min(map(float, sizes)) >= 12
    assert re.findall(r">([^<]+)</text>", svg) == re.findall(
        r">([^<]+)</text>", svg_of(page)
    )


def test_a_chart_alone_carries_its_numbers_below_one_short_line(page):
    html = page
    assert "<figcaption>The point, with <code>code</code>.<" in html
    below = html[html.index("</figure>") :]
    assert "<summary>Numbers · timing · 2 Jan 2026</summary>" in below
    assert below.index("<summary>") < below.index("<table")
    assert '<a href="../results/basics/first.json">data</a>' in below
    assert "Abacus" not in html


@pytest.mark.parametrize(
    "kind, said",
    [
        ({"kind": "exact"}, "exact · 2 Jan 2026"),
        ({"kind": "tolerance", "tolerance": 0.01}, "tolerance 0.01 · 2 Jan"),
        ({"kind": "trained", "seeds": [0]}, "1 seed · 2 Jan 2026"),
        ({"kind": "trained", "seeds": [0, 1, 2]}, "3 seeds · 2 Jan 2026"),
    ],
)
def test_the_short_line_says_what_the_numbers_are(result, kind, said):
    assert said in provenance.brief(result | kind, None)


def test_very_many_numbers_stand_on_the_page_of_the_results(
    shared, monkeypatch
):
    pages = {
        "results__basics__first": results.stub("basics/first"),
        "results__index": "# Results\n",
    }
    assert "<table" in shared.html("page", fence(CHART), **pages)
    monkeypatch.setattr(charts, "MANY", 3)
    html = shared.html("page", fence(CHART), **pages)
    below = html[html.index("</figure>") :]
    assert "<table" not in below
    link = 'href="../results/basics/first/#basics-first-speed">All '
    assert link in below


def test_a_band_shows_the_lowest_and_the_highest():
    column = {"name": "n", "unit": ""}
    plain = drawing.Chart({"a": ([1, 2], [2, 3])}, column, column)
    band = dataclasses.replace(plain, spread={"a": ([1, 2], [4, 5])})
    before, after = (drawing.svg(c, "id", "alt") for c in (plain, band))
    assert "fill-opacity" in after and "fill-opacity" not in before
    band = re.search(r'<use href="#([^"]*)"[^>]*fill-opacity', after)[1]
    corners = re.search(rf'<path id="{band}" d="([^"]*)"', after)[1]
    points = re.findall(r"[ML] ([\d.]+) (-?[\d.]+)", corners)
    heights = {}
    for x, y in points:
        heights.setdefault(x, set()).add(-float(y))
    widths = [max(ys) - min(ys) for ys in heights.values()]
    assert len(widths) == 2 and widths[0] == pytest.approx(widths[1])
    assert widths[0] > 10  # from the lowest to the highest, at every x


def test_a_line_of_many_points_has_no_marks():
    column = {"name": "n", "unit": ""}
    few, many = (
        drawing.svg(
            drawing.Chart({"": (list(range(n)), [1.0] * n)}, column, column),
            "id",
            "alt",
        )
        for n in (20, 21)
    )
    assert few.count("<use") >= 20 > many.count("<use")


def test_a_chart_with_a_table_has_no_second_table(shared):
    both = f"{CHART}table: basics/first:speed"
    html = shared.html("page", fence(both))
    assert html.count("<table") == 1 and 'class="data"' not in html


def test_a_prediction_is_folded_under_its_outcome_once_on_a_page(shared):
    body = "table: basics/first:speed\noutcome: Flash is `quicker` still."
    html = shared.html("page", fence(body) + fence(CHART))
    assert html.count("Both grow with") == 1
    assert (
        '<details class="prediction"><summary>Flash is <code>quicker</code> '
        "still.</summary><p>Both grow with <code>n</code>; flash &lt; naive"
    ) in html


def test_a_prediction_shown_comes_before_the_figure_its_outcome_after(shared):
    html = shared.html(
        "page", fence(f"{CHART}prediction: show\noutcome: As expected.")
    )
    asked = html.index("Predicted before measuring:")
    assert asked < html.index("<figure") < html.index("As expected.")


def test_nobody_predicts_an_exact_count_unless_the_page_says_so(result):
    assert charts._mode(result | {"kind": "exact"}, {}) == "none"
    shown = {"prediction": "show"}
    assert charts._mode(result | {"kind": "exact"}, shown) == "show"
    assert charts._mode(result, {}) == "fold"


@pytest.mark.parametrize(
    "lines, cause",
    [
        ("prediction: hide", "prediction 'hide' is not one of show, fold"),
        ("prediction: none\noutcome: So.", "outcome without its prediction"),
    ],
)
def test_a_prediction_that_cannot_be_shown_ends_the_build(
    shared, lines, cause
):
    failure = shared.failure("page", fence(f"{CHART}{lines}"))
    assert cause in failure


def test_a_table_is_accessible(shared):
    html = shared.html("page", fence("table: basics/first:speed"))
    assert '<div class="results-table" tabindex="0" role="group"' in html
    assert "<caption>Flash needs a quarter of the time</caption>" in html
    assert '<th scope="col" class="num">length N <span' in html
    assert '<span class="unit">(tokens)</span>' in html
    assert '<th scope="row" class="num">512</th>' in html
    assert "<td>naive</td>" in html
    assert '<td class="num">0.0102</td>' in html


def test_columns_and_rows_are_picked(shared):
    body = (
        "table: basics/first:speed\ncolumns: seconds, n\n"
        "where: method=flash, n=512|2048\nformat: seconds=si"
    )
    html = shared.html("page", fence(body))
    assert rows_of(html) == [["2.56 ms", "512"], ["10.2 ms", "2,048"]]


def test_three_columns_make_one_column_per_method(shared):
    body = (
        "table: basics/first:speed\nx: n\nby: method\ny: seconds\n"
        "labels: naive=plain\nformat: seconds=.4f\nbest: min"
    )
    html = shared.html("page", fence(body))
    assert ">plain <span" in html
    assert html.count('aria-label="best:"') == 3
    assert rows_of(html)[0][:2] == ["512", "0.0102"]
    assert rows_of(html)[0][2].endswith("<strong>0.0026</strong>")


@pytest.mark.parametrize(
    "rule, best",
    [
        ("min seconds", {(1, 2)}),
        ("max seconds", {(4, 2)}),
        ("min seconds per n", {(1, 2), (3, 2), (5, 2)}),
    ],
)
def test_the_best_value_is_found(result, rule, best):
    found = tables.best_cells(
        result["columns"], result["rows"], rule, pivoted=False
    )
    assert found == best


def test_words_may_hold_commas():
    found = tables.conditions("mask=window, 3 wide|all, n = 512")
    assert found == {"mask": ["window, 3 wide", "all"], "n": ["512"]}


def test_a_listing_keeps_its_columns(shared):
    body = "text: basics/first:speed\ncolumns: n, method\nwhere: n=512|1024"
    html = shared.html("page", fence(body))
    assert "<code>  512  naive\n  512  flash\n1,024  naive\n" in html
    assert '<pre class="results-text" tabindex="0"' in html


def test_an_overview_has_every_result_of_the_chapter(shared):
    html = shared.html("page", fence("overview: basics/first"))
    assert '<section id="basics-first-speed"' in html
    assert html.count("<table") == 1


def test_a_fence_inside_a_tab_is_whole(shared):
    inside = "".join(f"    {line}\n" for line in fence(CHART)[5:].splitlines())
    html = shared.html("page", f'# T\n\n=== "One"\n\n{inside}\nOut\n')
    assert html.index("tabbed-block") < html.index("<figure")
    assert html.index("</figure>") < html.index("Out")


@pytest.mark.parametrize(
    "old, new, cause",
    [
        ("first:speed", "none:speed", "basics/none:speed: no result file"),
        ("first:speed", "first:none", "no result 'none'"),
        ("x: n", "x: m", "basics/first:speed: no column 'm'"),
        ("by: method", "by: way", "no column 'way'"),
        ("x: n\n", "", "a chart needs `x`"),
        ('alt: Two lines & one "gap"\n', "", "a chart needs `alt`"),
        ("scale: log-log", "scale: logarithmic", "scale 'logarithmic'"),
        ("x: n", "x: n\nkind: pie", "kind 'pie'"),
        ("x: n", "x: n\nwhere: n=1", "no row where n=1"),
        ("x: n", "x: n\nwhere: n<9", "condition 'n<9'"),
        ("x: n", "x: n\ncolour: red", "unknown option 'colour: red'"),
        ("chart: basics/first:speed", "", "needs one of overview, chart"),
        ("x: n", "x: method", "column 'method' holds words"),
    ],
)
def test_what_is_missing_ends_the_build(shared, old, new, cause):
    body = CHART.replace(old, new)
    said = shared.failure("basics__second", fence(body))
    assert re.search(cause, said)


def test_a_file_that_is_no_result_file_ends_the_build(with_results):
    with_results.write("docs/results/basics/first.json", '{"schema": 1}')
    said = with_results.failure("page", fence(CHART))
    assert "first.json" in said and "is a required property" in said


def test_hostile_words_stay_words(result):
    bad = '<script>"&'
    result = result | {"title": bad, "prediction": bad, "command": bad}
    columns = [{"name": "n", "unit": bad, "label": bad}]
    html = tables.table(columns, [[bad]], bad, {})
    html += provenance.prediction(result) + provenance.line(result, None)
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, _: tags.append(tag)
    parser.feed(html)
    assert "script" not in tags


@pytest.mark.parametrize(
    "value, shown",
    [
        (1e-6, "10⁻⁶"),
        (5e-7, "5·10⁻⁷"),
        (2.5e-5, "2.5·10⁻⁵"),
        (0.5, "0.5"),
        (-0.25, "−0.25"),
        (1500.0, "1,500"),
        (0, "0"),
    ],
)
def test_a_tick_says_no_digit_too_many(value, shown):
    assert drawing._tick(value, "") == shown


@pytest.mark.parametrize(
    "low, high, ticks",
    [
        (1, 16, [1, 2, 4, 8, 16]),
        (64, 4096, [64, 256, 1024, 4096]),
        (64, 16384, [64, 1024, 16384]),
        (64, 2048, [64, 256, 1024]),  # no step of two or three ends there
    ],
)
def test_powers_of_two_have_room_and_a_tick_at_either_end(low, high, ticks):
    axes = Figure().subplots()
    axes.set_xscale("log")
    drawing._ticks(axes.xaxis, [low, high])
    assert axes.xaxis.get_major_locator().tick_values(0, 1).tolist() == ticks
