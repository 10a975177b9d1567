"""A text that must be downloaded is asked for, and its absence is told."""

import pytest

from llmnotes import corpora

ASKS = """
def test_reads(tiny_shakespeare):
    assert tiny_shakespeare == "play"
"""
FORGETS = """
from llmnotes import data
def test_reads():
    data.text("tiny_shakespeare")
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a test file under this plugin alone: what pytest says."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def go(text, *options):
        pytester.makepyfile(text)
        return pytester.runpytest_inprocess(
            "-p", "tests.texts", "-rs", *options
        )

    return go


@pytest.fixture
def nowhere(monkeypatch):
    monkeypatch.setattr(corpora, "find", lambda name: None)


@pytest.fixture
def here(monkeypatch, tmp_path):
    play = tmp_path / "play.txt"
    play.write_text("play")
    monkeypatch.setattr(corpora, "find", lambda name: play)


def test_without_the_text_a_test_is_skipped_with_the_way_to_it(run, nowhere):
    done = run(ASKS)
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(
        "SKIPPED *`llmnotes data get tiny_shakespeare`, or set "
        "LLMNOTES_DATA_DIR to the folder that holds it"
    )


def test_with_the_text_it_runs_and_is_found_by_its_mark(run, here):
    run(ASKS, "-m", "text").assert_outcomes(passed=1)
    run(ASKS, "-m", "not text").assert_outcomes(deselected=1)


def test_who_reads_it_without_asking_fails_even_where_it_is(run, here):
    done = run(FORGETS)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines("*take the fixture tiny_shakespeare*")
    assert corpora.find("tiny_shakespeare").name == "play.txt"
