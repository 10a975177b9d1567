"""Result files: valid, compared, and never left half written."""

import copy
import functools
import json
from pathlib import Path

import pytest

from llmnotes._site import results

FILES = sorted(results.ROOT.glob("*/*.json"))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_committed_file_is_valid_and_named_as_its_chapter(path):
    chapter = path.relative_to(results.ROOT).with_suffix("").as_posix()
    assert results.read(chapter)["chapter"] == chapter


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_committed_file_was_made_from_committed_code(path):
    for name, result in json.loads(path.read_text())["results"].items():
        assert not result["run"]["commit"].endswith("-dirty"), name


@functools.cache
def this_machine():
    return results.provenance(threads=2)


def a_result(**changes):
    return {
        "kind": "tolerance",
        "tolerance": 1e-3,
        "title": "A table",
        "prediction": "One",
        "command": "make bench name=part/slug",
        "seed": 0,
        "run": this_machine(),
        "columns": [{"name": "n", "unit": "tokens", "label": "length"}],
        "rows": [[1.0], [2.0]],
        **changes,
    }


def test_what_is_written_is_read(tmp_path):
    results.write("part/slug", "one", a_result(), tmp_path)
    results.write("part/slug", "two", a_result(seed=None), tmp_path)
    assert results.load("part/slug:one", tmp_path) == a_result()
    assert results.load("part/slug:two", tmp_path)["seed"] is None


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    results.write("part/slug", "one", a_result(), tmp_path)
    before = results.path_of("part/slug", tmp_path).read_text()

    def die(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", die)
    with pytest.raises(KeyboardInterrupt):
        results.write("part/slug", "one", a_result(rows=[[9.0]]), tmp_path)
    monkeypatch.undo()
    assert results.path_of("part/slug", tmp_path).read_text() == before


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"kind": "guess"}, "kind"),
        ({"rows": [[1.0, 2.0]]}, r"rows\[0\]: got 2 cells, expected 1"),
        ({"rows": []}, "rows"),
        ({"prediction": ""}, "prediction"),
        ({"run": {}}, "run"),
        ({"columns": [{"name": "n"}]}, "columns"),
    ],
)
def test_a_file_that_breaks_the_schema_is_refused(changes, where, tmp_path):
    with pytest.raises(ValueError, match=where):
        results.write("part/slug", "one", a_result(**changes), tmp_path)
    assert not results.path_of("part/slug", tmp_path).exists()


def test_a_tolerance_result_without_a_tolerance_is_refused(tmp_path):
    result = a_result()
    del result["tolerance"]
    with pytest.raises(ValueError, match="tolerance"):
        results.write("part/slug", "one", result, tmp_path)


def test_a_missing_file_or_result_is_named(tmp_path):
    with pytest.raises(LookupError, match=r"no result file .*slug\.json"):
        results.load("part/slug:one", tmp_path)
    results.write("part/slug", "one", a_result(), tmp_path)
    with pytest.raises(LookupError, match="no result 'two'.*it has one"):
        results.load("part/slug:two", tmp_path)


def changed(value, **changes):
    new = copy.deepcopy(a_result(**changes))
    new["rows"][1][0] = value
    return new


def test_tolerance_is_relative_and_says_where_it_is_exceeded():
    assert results.differences(a_result(), changed(2.001)) == []
    assert results.differences(a_result(), changed(2.01)) == [
        "row 1, n: 2.0 became 2.01"
    ]


def test_exact_admits_no_difference_and_timing_any():
    exact, timing = a_result(kind="exact"), a_result(kind="timing")
    assert results.differences(exact, changed(2.0 + 1e-12, kind="exact"))
    assert not results.differences(timing, changed(9.0, kind="timing"))


def test_a_lost_row_or_column_is_a_difference():
    assert results.differences(a_result(), a_result(rows=[[1.0]]))
    other = [{"name": "m", "unit": "", "label": "m"}]
    assert results.differences(a_result(), a_result(columns=other))
