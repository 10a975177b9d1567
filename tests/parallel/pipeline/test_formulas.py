"""Closed forms, and what is refused."""

from fractions import Fraction

import pytest

from llmnotes.parallel.pipeline import (
    bubble,
    live,
    traffic,
    zero_bubble_bubble,
)


def test_published_factors_of_interleaving():
    """1 + (p − 1)/(pv): Korthikanti et al. 2022, §4.2.3."""
    for p, v, factor in ((4, 2, 1.375), (8, 4, 1.21875)):
        assert live(p, 64, 0, "interleaved", v) == p * Fraction(factor)
        assert factor == 1 + (p - 1) / (p * v)


def test_by_hand():
    assert [live(4, 8, s, "1f1b") for s in range(4)] == [4, 3, 2, 1]
    assert [live(4, 8, s, "gpipe") for s in range(4)] == [8] * 4
    halves = [2 * live(4, 8, s, "interleaved", 2) for s in range(4)]
    assert halves == [11, 9, 7, 5]
    assert [live(4, 2, s, "1f1b") for s in range(4)] == [2, 2, 2, 1]
    assert traffic(1, 2048, 12288) == 50_331_648
    assert bubble(8, 64, 4) == Fraction(7, 256)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bubble(0, 1), "stages: got 0, expected at least 1"),
        (lambda: bubble(2, 0), "micro_batches: got 0, expected at least 1"),
        (lambda: bubble(2, 2, 0), "chunks: got 0, expected at least 1"),
        (lambda: live(4, 8, 4, "1f1b"), "stage: got 4, expected 0 to 3"),
        (
            lambda: live(4, 8, 0, "1F1B"),
            "schedule: got '1F1B', expected one of gpipe, 1f1b, interleaved",
        ),
        (
            lambda: zero_bubble_bubble(4, 3),
            "micro_batches: got 3, expected at least stages = 4",
        ),
        (lambda: traffic(1, 0, 3), "length: got 0, expected at least 1"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_long_weight_part_is_beyond_the_formula_of_zero_bubble():
    with pytest.raises(ValueError, match="weight: got 2, expected at most"):
        zero_bubble_bubble(4, 8, forward=1, input=1, weight=2)
