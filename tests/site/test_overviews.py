"""Every result stands on the page of its part, and searching skips them."""

import json
import re

import pytest

from llmnotes._site import overviews, results
from tests.site import serving
from tests.site.conftest import ROOT

PART = "# Results\n\n```results\npart: basics\n```\n"
ALL = "# Results\n\n```results\nparts: all\n```\n"
FILES = sorted((ROOT / results.ROOT).glob("*/*.json"))


@pytest.fixture
def filled(with_results, result):
    """Two benches of one chapter, one of another, and what is no chapter's."""
    for bench in (
        "first/bench_first",
        "first/bench_first_tries",
        "bench_second",
    ):
        with_results.write(f"tests/basics/{bench}.py", "")
    for key in ("basics/second", "basics/first_tries", "zoo/lion_cubs"):
        data = {"schema": 1, "chapter": key, "results": {"one": result}}
        path = with_results.root / results.ROOT / f"{key}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(data))
    return with_results


def test_every_file_of_a_part_is_on_its_page_in_the_order_of_the_book(filled):
    html = filled.html("results__basics", PART, basics__second="# Second\n")
    heads = re.findall(r'<h2 id="(\w+)">([^<]*)<', html)
    assert heads == [
        ("first", "First"),
        ("first_tries", "First: tries"),
        ("second", "Second"),
    ]
    ids = re.findall(r'<section id="([\w-]+)"', html)
    assert ids == [
        "basics-first-speed",
        "basics-first_tries-one",
        "basics-second-one",
    ]
    assert 'chapter <a href="../../basics/second/">Second</a>.' in html
    assert "basics/first/" not in html  # it is not written


def test_a_chapter_with_a_longer_name_owns_what_its_bench_wrote(filled):
    config = filled.root / "mkdocs.yml"
    text = config.read_text()
    config.write_text(text.replace("third: Third steps", "first_tries: Last"))
    old = filled.root / "tests/basics/first/bench_first_tries.py"
    old.rename(filled.root / "tests/basics/bench_first_tries.py")
    html = filled.html("results__basics", PART)
    heads = re.findall(r"<h2[^>]*>([^<]*)<", html)
    assert heads == ["First", "Second", "Last"]


def test_a_file_without_a_bench_comes_last_and_is_not_lost(filled):
    (filled.root / "tests/basics/first/bench_first_tries.py").unlink()
    html = filled.html("results__basics", PART)
    heads = re.findall(r"<h2[^>]*>([^<]*)<", html)
    assert heads == ["First", "Second", "First tries"]


def test_the_list_has_every_part_with_counts_and_links(filled):
    html = filled.html(
        "results__all",
        ALL,
        results__basics=PART,
        results__zoo=PART.replace("basics", "zoo"),
    )
    assert '<a href="../basics/">Basics</a></strong>, 3 results: ' in html
    assert '<a href="../basics/#first_tries">First: tries</a> 1, ' in html
    assert '<a href="../zoo/">Zoo</a></strong>, 1 result: ' in html
    assert '<a href="../zoo/#lion_cubs">Lion cubs</a> 1' in html
    assert html.index("basics/") < html.index("zoo/")


def test_a_part_without_a_page_ends_the_build(filled):
    code, output = filled.build(results__all=ALL, results__basics=PART)
    assert code == 1 and "zoo.md" in output


def test_a_part_without_results_ends_the_build(with_results):
    said = with_results.failure("results__later", PART.replace("basics", "x"))
    assert "no results of a part 'x'; one of basics" in said


def test_a_very_long_table_is_a_listing_with_every_row(filled, result):
    many = result | {"rows": [[n, "naive", n / 7] for n in range(101)]}
    data = {"schema": 1, "chapter": "basics/first", "results": {"many": many}}
    filled.write("docs/results/basics/first.json", json.dumps(data))
    html = filled.html("results__basics", PART)
    listed = html[html.index('<pre class="results-text"') :]
    text = listed[listed.index("<code>") + 6 : listed.index("</code>")]
    lines = text.splitlines()
    assert lines[0].split() == "length N (tokens) method time (s)".split()
    assert len(lines) == 102 and lines[-1].split() == ["100", "naive", "14.3"]


@pytest.fixture(scope="module")
def built():
    """The book's own site."""
    return serving.build_if_older()


@pytest.mark.parametrize(
    "path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_no_result_is_missing_on_the_page_of_its_part(path, built):
    part = path.parent.name
    html = (built / "results" / part / "index.html").read_text("utf-8")
    wanted = {
        f"{part}-{path.stem}-{name}"
        for name in json.loads(path.read_text("utf-8"))["results"]
    }
    assert wanted <= set(re.findall(r'<section id="([\w-]+)"', html))


@pytest.mark.parametrize("part", overviews.parts(ROOT))
def test_a_page_of_results_stays_below_400_kB(part, built):
    page = built / "results" / part / "index.html"
    assert page.stat().st_size < 400_000
