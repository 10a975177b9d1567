"""What the page concludes from the autograd chapter's trained models."""

import statistics

from tests.claims import claimed

DIGITS = "foundations/autograd:digits"
HIDDEN, NONE = {"hidden": "256"}, {"hidden": "none"}


def test_ten_splits_and_their_mean():
    table = claimed(
        DIGITS,
        "One split of so few digits is luck to a degree, so here are ten",
    )
    for kind in (HIDDEN, NONE):
        splits = [table("test", split=i, **kind) for i in range(10)]
        mean = table("test", split="mean", **kind)
        assert abs(statistics.mean(splits) - mean) < 1e-9
        assert max(splits) - min(splits) > 0.01


def test_the_splits_not_looked_at_came_out_no_worse():
    table = claimed(DIGITS, "the last five, not looked at, came out no worse.")
    test = [table("test", split=i, **HIDDEN) for i in range(10)]
    assert statistics.mean(test[5:]) >= statistics.mean(test[:5])


def test_without_a_hidden_layer_it_has_not_finished_learning():
    table = claimed(
        DIGITS,
        "Without one we expected 96 % and got",
        "so it has not finished learning",
    )
    mean = {"split": "mean"}
    assert table("test", **NONE, **mean) < 0.96
    assert table("train", **NONE, **mean) < 0.95
    assert table("train", **HIDDEN, **mean) > 0.999
    assert table("test", **HIDDEN, **mean) > 0.97
