"""What belongs to a chapter, and what `make test name=` runs of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from llmnotes._site import owner
from llmnotes._site.book import book
from tests.site.conftest import ROOT

KEYS = ["basics/first", "basics/first_steps", "later/first"]


@pytest.mark.parametrize(
    "path, key",
    [
        ("docs/basics/first.md", "basics/first"),
        ("docs/results/later/first.json", "later/first"),
        ("docs/results/basics/first_more.json", "basics/first"),
        ("tests/basics/test_first.py", "basics/first"),
        ("tests/basics/bench_first_more.py", "basics/first"),
        ("tests/basics/test_first_steps.py", "basics/first_steps"),
        ("tests/basics/test_first_steps_more.py", "basics/first_steps"),
        ("tests/basics/first/test_other.py", "basics/first"),
        ("tests/basics/first/deep/bench_x.py", "basics/first"),
        ("src/llmnotes/later/first.py", "later/first"),
        ("src/llmnotes/later/first/model.py", "later/first"),
        ("src/llmnotes/basics/firstly.py", None),
        ("src/llmnotes/later/first_steps.py", "later/first"),
        ("src/llmnotes/basics/__init__.py", None),
        ("tests/test_first.py", None),
        ("tests/site/test_first.py", None),
        ("docs/index.md", None),
        ("mkdocs.yml", None),
    ],
)
def test_a_file_belongs_to_the_longest_chapter_its_place_names(path, key):
    assert owner.owner(Path(path), KEYS) == key


def test_every_chapter_that_stands_has_its_page_its_tests_and_its_benches():
    for chapter in owner.written(ROOT):
        found = owner.files(ROOT, chapter.key)
        homes = chapter.homes()
        wanted = homes["page"] + homes["tests"] + homes["benchmark"]
        assert set(wanted) <= set(found)
        assert len(wanted) >= 2


def test_no_file_runs_for_two_chapters_and_none_of_a_part_for_nobody():
    runs = [
        path
        for key in book(ROOT)
        for path in begun(key)
        if path.suffix == ".py"
    ]
    assert len(runs) == len(set(runs))
    parts = {key.split("/")[0] for key in book(ROOT)}
    there = {
        path.relative_to(ROOT)
        for part in parts
        for kind in ("test", "bench")
        for path in (ROOT / "tests" / part).rglob(f"{kind}_*.py")
    }
    assert there == {p for p in runs if p.parts[0] == "tests"}


def begun(key):
    try:
        return owner.files(ROOT, key)
    except ValueError:
        return []


@pytest.mark.parametrize("docstring, runs", [(">>> 1\n1", 1), ("None", 0)])
def test_a_module_runs_where_its_docstring_has_an_example(
    site, docstring, runs
):
    site.write("src/llmnotes/basics/first.py", f'"""{docstring}"""\n')
    site.write("tests/basics/test_first.py", "")
    found = owner.files(site.root, "basics/first")
    module = Path("src/llmnotes/basics/first.py")
    assert found.count(module) == runs


def test_an_example_in_a_docstring_is_a_test(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeconftest((ROOT / "src/conftest.py").read_text())
    pytester.makepyfile(
        right='"""\n>>> 1 + 1\n2\n"""', wrong='"""\n>>> 1 + 1\n3\n"""'
    )
    done = pytester.runpytest_inprocess()
    done.assert_outcomes(passed=1, failed=1)


@pytest.mark.parametrize(
    "name, words",
    [
        ("basics/second", "got 'basics/second', expected part/slug"),
        ("", "got '', expected part/slug"),
        ("basics/first", "basics/first has no file yet"),
    ],
)
def test_a_name_without_files_is_one_line_and_not_the_whole_suite(
    name, words, tmp_path
):
    (tmp_path / "mkdocs.yml").write_text(
        "extra: {book: {basics: {first: First}}}"
    )
    done = subprocess.run(
        [sys.executable, "-m", "llmnotes._site.owner", name],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert words in done.stderr and len(done.stderr.splitlines()) == 1
