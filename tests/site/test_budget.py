"""The table of what each chapter's proof costs."""

import pytest

from tests import budget

BURNS = """
import time

def burn(seconds):
    start = time.process_time()
    while time.process_time() < start + seconds:
        pass

def test_burns():
    burn(0.6)

def test_rests():
    pass
"""
CHILD = """
import subprocess, sys
def test_waits_for_a_child():
    code = "import time\\nwhile time.process_time() < 0.6: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
"""


@pytest.fixture
def books(site, monkeypatch):
    """The books of a site with two written chapters of four."""
    for name in ("basics/first", "later/last"):
        site.write(f"docs/{name}.md", "")
    books = budget.Books(site.root)
    monkeypatch.setattr(budget, "Books", lambda: books)
    return books


@pytest.fixture
def run(pytester, books, monkeypatch):
    """Run test files with the table: the columns of each of its rows."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def go(files, *options):
        for path, text in files.items():
            place = pytester.path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        done = pytester.runpytest_inprocess(
            "-p", "tests.budget", "-p", "xdist", "--budget",
            "--import-mode=importlib", *options,
        )  # fmt: skip
        lines = done.stdout.lines
        start = next(i for i, s in enumerate(lines) if "proof costs" in s)
        return {line[:30].strip(): line[30:].split() for line in lines[start:]}

    return go


@pytest.mark.parametrize("options", [[], ["-n", "1"]], ids=str)
def test_a_chapter_has_its_tests_and_their_seconds_of_processor(run, options):
    table = run(
        {
            "tests/basics/test_first.py": BURNS,
            "tests/later/last/test_model.py": CHILD,
            "tests/test_nothing_else.py": "def test_other(): pass",
        },
        *options,
    )
    count, seconds, share = table["basics/first"]
    assert count == "2"
    assert 0.5 < float(seconds) < 1.2
    assert share in ("3%", "4%", "5%", "6%", "7%", "8%")
    assert 0.5 < float(table["later/last"][1]) < 1.2
    assert table["the house"][0] == "1"


def book_of(books, **spent):
    for row, seconds in spent.items():
        row = row.replace("__", "/")
        books.spent[row], books.tests[row] = seconds, 3
    return books


def test_a_chapter_over_its_budget_is_marked_and_nothing_fails(books):
    book_of(books, basics__first=15.1, later__last=14.9)
    over, under = books.table(60)[1:3]
    assert over.endswith("101% over") and under.endswith("99%")


def test_fifty_chapters_are_projected_from_those_that_stand(books):
    book_of(books, basics__first=10.0, later__last=30.0)
    books.spent[budget.HOUSE] = 40.0
    # 25 times as many chapters of 40 s together, and the house
    assert books.projection(60) == [
        "2 chapters now; 50 like them: 1040 CPU s, 13 min 00 s on this machine"
    ]


def test_a_part_of_the_run_projects_nothing(books):
    assert book_of(books, basics__first=10.0).projection(60) == []


def test_a_page_seen_by_a_test_of_the_site_grows_with_the_chapters(books):
    assert books.whose("tests/site/test_x.py::t[basics/first/]") == (
        budget.PAGES
    )
    assert books.whose("tests/site/test_x.py::t[other]") == budget.HOUSE
    assert books.whose("docs/basics/first.md::line:3") == "basics/first"


LATE = """
import time, pytest

@pytest.fixture(scope="session")
def browser():
    yield
    start = time.process_time()
    while time.process_time() < start + 0.8:
        pass

def test_uses_it(browser):
    pass
"""


def test_what_is_taken_down_last_is_not_booked_on_the_last_test(run):
    table = run({"tests/later/last/test_model.py": LATE})
    assert float(table["later/last"][1]) < 0.4
