"""Every result stands on the page of its file, and a list leads there."""

import json
import re

import pytest

from llmnotes._site import results
from tests.site import serving
from tests.site.conftest import ROOT

ALL = "# Results\n\n```results\nfiles: all\n```\n"
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


def pages(*keys):
    """The page of each file, as `Site.build` takes them."""
    stubs = {
        f"results__{key.replace('/', '__')}": results.stub(key) for key in keys
    }
    return {"results__index": "# Results\n", **stubs}


EVERY = "basics/first", "basics/first_tries", "basics/second", "zoo/lion_cubs"


def test_a_file_has_a_page_with_its_title_and_the_way_to_its_chapter(filled):
    html = filled.html(
        "results__basics__second",
        results.stub("basics/second"),
        basics__second="# Second\n",
        results__index="# Results\n",
    )
    assert re.findall(r"<h1[^>]*>([^<]*)<", html) == ["Results: Second"]
    assert re.findall(r'<section id="([\w-]+)"', html) == ["basics-second-one"]
    assert '1 result of the chapter <a href="../../../basics/second/">' in html
    assert '<a href="../../">All results</a>' in html


def test_a_second_file_says_what_its_name_adds_and_links_to_no_chapter(filled):
    html = filled.html(
        "results__basics__first_tries",
        results.stub("basics/first_tries"),
        results__index="# Results\n",
    )
    assert "<h1" in html and "Results: First: tries" in html
    assert "<p>1 result. <a" in html  # the chapter is not written


def titles(site):
    html = site.html("results__all", ALL, **pages(*EVERY))
    return re.findall(r"<li><a[^>]*>([^<]*)<", html)


def test_the_list_has_every_file_in_the_order_of_the_book(filled):
    assert titles(filled) == ["First", "First: tries", "Second", "Lion cubs"]


def test_a_chapter_with_a_longer_name_owns_what_its_bench_wrote(filled):
    config = filled.root / "mkdocs.yml"
    text = config.read_text()
    config.write_text(text.replace("third: Third steps", "first_tries: Last"))
    old = filled.root / "tests/basics/first/bench_first_tries.py"
    old.rename(filled.root / "tests/basics/bench_first_tries.py")
    assert titles(filled) == ["First", "Second", "Last", "Lion cubs"]


def test_a_file_without_a_bench_comes_last_and_is_not_lost(filled):
    (filled.root / "tests/basics/first/bench_first_tries.py").unlink()
    assert titles(filled) == ["First", "Second", "First tries", "Lion cubs"]


def test_the_list_counts_and_links(filled):
    html = filled.html("results__all", ALL, **pages(*EVERY))
    assert '<a href="../basics/first/">First</a>, 1 result</li>' in html
    assert '<a href="../zoo/lion_cubs/">Lion cubs</a>, 1 result</li>' in html
    assert html.index(">Basics<") < html.index(">Zoo<")


def test_a_file_without_a_page_ends_the_build(filled):
    code, output = filled.build(results__all=ALL, **pages(*EVERY[:-1]))
    assert code == 1 and "lion_cubs.md" in output


def test_a_page_without_results_ends_the_build(with_results):
    said = with_results.failure(
        "results__basics__last", results.stub("basics/last")
    )
    assert "no result file docs/results/basics/last.json" in said


def test_who_records_a_result_lays_its_page(tmp_path, result):
    results.write("basics/first", "speed", result, tmp_path)
    page = tmp_path / "basics/first.md"
    assert page.read_text() == "```results\nfile: basics/first\n```\n"


def test_a_very_long_table_is_a_listing_with_every_row(filled, result):
    many = result | {"rows": [[n, "naive", n / 7] for n in range(101)]}
    data = {"schema": 1, "chapter": "basics/first", "results": {"many": many}}
    filled.write("docs/results/basics/first.json", json.dumps(data))
    html = filled.html(
        "results__basics__first",
        results.stub("basics/first"),
        results__index="# Results\n",
    )
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
def test_no_result_is_missing_on_the_page_of_its_file(path, built):
    part = path.parent.name
    page = built / "results" / part / path.stem / "index.html"
    html = page.read_text("utf-8")
    assert len(html) < 400_000
    wanted = {
        f"{part}-{path.stem}-{name}"
        for name in json.loads(path.read_text("utf-8"))["results"]
    }
    assert wanted == set(re.findall(r'<section id="([\w-]+)"', html))
