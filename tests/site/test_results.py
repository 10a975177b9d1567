"""Result files: valid, compared, and never left half written."""

import copy
import functools
import json
from pathlib import Path

import pytest

from llmnotes._site import provenance, results

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


def a_trained_result(**changes):
    about = {"seeds": [0], "spread": {"n": 0.1}, "example": "one model"}
    result = a_result(kind="trained", **{**about, **changes})
    del result["seed"], result["tolerance"]
    return result


def a_race(**changes):
    """A trained result that ranks two models fairly, but for `changes`."""
    names = ("model", "n", "lowest", "highest")
    grid = {"tried": [1e-3, 1e-2, 1e-1], "best": 1e-2}
    race = {
        "column": "model",
        "baseline": "a",
        "starts": {"a": "normal", "b": "even"},
        "rates": {"a · far": dict(grid), "a · near": grid, "b": dict(grid)},
        "chosen_on": "half of the text",
        "reported_on": "the other half",
    }
    about = {
        "seeds": [0, 1, 2],
        "columns": [{"name": name, "unit": ""} for name in names],
        "rows": [["a", 1.0, 0.5, 1.5], ["b", 2.0, 1.5, 2.5]],
        "race": {**race, **changes.pop("race", {})},
    }
    result = a_trained_result(**{**about, **changes})
    del result["example"]
    return result


def test_a_fair_race_is_written_and_says_what_it_was_tuned_on(tmp_path):
    results.write("part/slug", "one", a_race(), tmp_path)
    kept = results.load("part/slug:one", tmp_path)
    assert kept["race"]["baseline"] == "a"
    said = provenance.whole(kept)
    assert "Rates chosen on half of the text, 3 tried" in said
    assert "a · far 0.01" in said and "reported on the other half" in said


EDGE = {"tried": [1e-3, 1e-2, 1e-1], "best": 1e-1}
SHORT = {"tried": [1e-3, 1e-2], "best": 1e-2}
WIDER = {"tried": [1e-4, 1e-3, 1e-2, 1e-1], "best": 1e-2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [0, 1]}, "got 2 seeds, expected 3 or more"),
        (
            {
                "columns": [
                    {"name": n, "unit": ""} for n in ("model", "n", "x", "y")
                ]
            },
            "show no spread",
        ),
        ({"race": {"rates": {"a": EDGE, "b": EDGE}}}, "edge of its grid"),
        ({"race": {"rates": {"a": SHORT, "b": SHORT}}}, "tried"),
        ({"race": {"rates": {"a": WIDER, "b": EDGE}}}, "different sizes"),
        ({"race": {"rates": {"a": WIDER, "c": WIDER}}}, "race.rates: got"),
        ({"race": {"reported_on": "half of the text"}}, "what is reported"),
        ({"race": {"starts": {"a": "x", "c": "y"}}}, "race.starts"),
        ({"race": {"baseline": "c"}}, "'c' is no contestant"),
        ({"race": {"column": "who"}}, "no column 'who'"),
        ({"example": "one model"}, "either a race or an example"),
    ],
)
def test_an_unfair_race_is_refused(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        results.write("part/slug", "one", a_race() | changes
                      if "race" not in changes else a_race(**changes),
                      tmp_path)  # fmt: skip


def test_what_is_trained_is_a_race_or_an_example(tmp_path):
    result = a_trained_result()
    del result["example"]
    with pytest.raises(ValueError, match="either a race or an example"):
        results.write("part/slug", "one", result, tmp_path)
    with pytest.raises(ValueError, match="only trained results"):
        results.write("part/slug", "one", a_result(example="x"), tmp_path)


@pytest.mark.parametrize("field", ["seeds", "spread"])
def test_a_trained_result_without_seeds_or_spread_is_refused(field, tmp_path):
    result = a_trained_result()
    del result[field]
    with pytest.raises(ValueError, match=field):
        results.write("part/slug", "one", result, tmp_path)


def test_a_spread_of_a_column_that_is_not_there_is_refused(tmp_path):
    result = a_trained_result() | {"spread": {"loss": 0.1}}
    with pytest.raises(ValueError, match="no column 'loss'; it has n"):
        results.write("part/slug", "one", result, tmp_path)


def test_one_seed_says_that_the_spread_was_not_measured():
    one, three = a_trained_result(), a_trained_result() | {"seeds": [0, 1, 2]}
    text = provenance.whole(one)
    assert ", one seed (0); spread not measured. An example: one" in text
    assert ", 3 seeds (0 to 2)." in provenance.whole(three)
    assert "trained again" in text


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


def test_rounding_errors_may_differ_by_their_spread():
    kept = a_result(spread={"n": 1e-4}, rows=[[1e-9], [0.0]])
    for other in (0.0, 9e-5):
        near = {**kept, "rows": [[0.0], [other]]}
        assert results.differences(kept, near) == []
    assert results.differences(kept, {**kept, "rows": [[0.0], [2e-4]]})


def test_without_a_spread_nothing_may_become_the_tolerance_s_square():
    kept = a_result(rows=[[0.0], [0.0]])
    for other, found in ((9e-7, 0), (2e-6, 1)):
        near = {**kept, "rows": [[0.0], [other]]}
        assert len(results.differences(kept, near)) == found


def test_what_is_compared_to_a_tolerance_has_no_column_without_a_limit(
    tmp_path,
):
    with pytest.raises(ValueError, match=r"spread: n: got no limit"):
        results.write(
            "part/slug", "one", a_result(spread={"n": None}), tmp_path
        )


def test_exact_admits_no_difference_and_timing_any():
    exact, timing = a_result(kind="exact"), a_result(kind="timing")
    assert results.differences(exact, changed(2.0 + 1e-12, kind="exact"))
    assert not results.differences(timing, changed(9.0, kind="timing"))


def test_training_may_differ_by_its_spread_and_labels_not_at_all():
    names = [{"name": "model", "unit": ""}, {"name": "loss", "unit": "nat"}]
    columns = [*names, {"name": "seconds", "unit": "s"}]
    old = a_trained_result(columns=columns, rows=[["GPT", 1.5, 10.0]])
    old["spread"] = {"loss": 0.1, "seconds": None}
    assert not results.differences(old, old | {"rows": [["GPT", 1.58, 99.0]]})
    assert results.differences(old, old | {"rows": [["GPT", 1.62, 10.0]]}) == [
        "row 0, loss: 1.5 became 1.62"
    ]
    assert results.differences(old, old | {"rows": [["GRU", 1.5, 10.0]]})
    assert results.differences(old, old | {"spread": {"loss": 9.0}})


def test_a_timing_gets_no_fingerprint_and_is_never_fresh():
    timing = results.confirmed(a_result(kind="timing"), "bench_x", "sources")
    assert "confirmed" not in timing and timing["bench"] == "bench_x"
    assert not results.is_fresh(timing, "sources")
    exact = results.confirmed(a_result(kind="exact"), "bench_x", "sources")
    assert results.is_fresh(exact, "sources")
    assert not results.is_fresh(exact, "other sources")


def test_a_lost_row_or_column_is_a_difference():
    assert results.differences(a_result(), a_result(rows=[[1.0]]))
    other = [{"name": "m", "unit": "", "label": "m"}]
    assert results.differences(a_result(), a_result(columns=other))
