"""What the support for races promises, proved on a race of no cost."""

import json

import pytest

from tests import contests

CALLS = []


def runner(name, rate, seed):
    """Best at 0.01 for "low" and at 0.1 for "high"; never at an edge."""
    CALLS.append((name, rate, seed))
    best = {"low": 1e-2, "high": 1e-1}[name]
    return [-abs(rate - best), seed * 10]


RATES = (1e-3, 1e-2, 1e-1, 1.0)


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    """Keep runs in a folder of the test, and run them in this process."""
    monkeypatch.setattr(contests, "KEPT", tmp_path)
    monkeypatch.setattr(contests, "ProcessPoolExecutor", InThisProcess)
    CALLS.clear()


class InThisProcess:
    def __init__(self, *_):
        self.map = map

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_each_contestant_gets_the_rate_that_is_best_for_it():
    best = contests.tuned(
        runner, {("low",): [("low",)], ("high",): [("high",)]}, RATES
    )
    assert best == {("low",): 1e-2, ("high",): 1e-1}
    tried = [(name, rate) for name, rate, _ in CALLS]
    assert sorted(tried) == sorted(
        (n, r) for n in ("low", "high") for r in RATES
    )
    assert {seed for *_, seed in CALLS} == set(contests.TUNING)


def test_among_equals_the_middle_of_the_grid_is_kept():
    def flat(name, rate, seed):
        return [1.0]

    flat.__module__ = __name__
    best = contests.tuned(flat, {("a",): [("a",)]}, (1, 2, 3, 4, 5))
    assert best == {("a",): 3}


def test_lower_is_better_where_the_first_number_is_a_loss():
    def loss(name, rate, seed):
        return [abs(rate - 2)]

    loss.__module__ = __name__
    assert contests.tuned(loss, {("a",): [("a",)]}, (1, 2, 3), min) == {
        ("a",): 2
    }


def test_what_was_run_is_not_run_again(tmp_path):
    jobs = [("low", 1e-2, seed) for seed in range(3)]
    first = contests.runs(runner, jobs)
    assert len(CALLS) == 3
    assert contests.runs(runner, [*jobs, ("low", 1e-2, 3)]) == {
        **first,
        ("low", 1e-2, 3): [0.0, 30],
    }
    assert len(CALLS) == 4
    kept = [json.loads(p.read_text()) for p in tmp_path.glob("*.json")]
    assert sorted(said[1] for said in kept) == [0, 10, 20, 30]


def test_a_run_that_was_cut_short_is_run_again(monkeypatch):
    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(contests.json, "dumps", dies)
    with pytest.raises(KeyboardInterrupt):
        contests.runs(runner, [("low", 1e-2, 0)])
    monkeypatch.undo()
    assert contests.kept(runner, ("low", 1e-2, 0)) is None


def test_changed_code_makes_a_run_another_one(monkeypatch):
    before = contests.home(runner, ("low", 1e-2, 0))
    monkeypatch.setattr(contests, "sources", lambda module: "changed")
    assert contests.home(runner, ("low", 1e-2, 0)) != before
    assert contests.home(runner, ("low", 1e-2, 1)) != contests.home(
        runner, ("low", 1e-2, 0)
    )


@pytest.mark.parametrize("better", [max, min])
def test_a_run_whose_loss_is_no_number_is_the_worst(better):
    def explodes(name, rate, seed):
        if rate == 3:
            raise RuntimeError("loss: got nan by step 100")
        return [rate if better is max else -rate]

    explodes.__module__ = __name__
    assert contests.tuned(explodes, {("a",): [("a",)]}, (1, 2, 3), better) == {
        ("a",): 2
    }
    assert (
        "nan" in contests.kept(explodes, ("a", 3, contests.TUNING[0]))["lost"]
    )


def test_a_rate_is_judged_by_the_mean_of_all_that_it_is_tried_on():
    def two_lags(lag, rate, seed):
        return [{"near": (0, 4, 5), "far": (0, 4, 1)}[lag][rate - 1]]

    two_lags.__module__ = __name__
    both = {("a",): [("near",), ("far",)]}
    assert contests.tuned(two_lags, both, (1, 2, 3)) == {("a",): 2}
    near = {("a",): [("near",)]}
    assert contests.tuned(two_lags, near, (1, 2, 3)) == {("a",): 3}
