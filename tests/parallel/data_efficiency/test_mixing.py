"""Mixing: the rows that `datasets` gives, and epochs that are counted."""

import math
from collections import Counter
from itertools import islice

import pytest

from llmnotes.parallel.data_efficiency import mixing

SIZES = 3, 4, 5


def theirs(sizes, **options):
    """(source, row) of what `datasets` interleaves."""
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    sources = [
        datasets.Dataset.from_dict({"at": [100 * s + r for r in range(n)]})
        for s, n in enumerate(sizes)
    ]
    found = datasets.interleave_datasets(sources, **options)["at"]
    return [divmod(at, 100) for at in found]


def test_in_turn_until_all_are_read_is_that_of_datasets():
    rule = "all_exhausted"
    found = mixing.interleaved(SIZES, mixing.in_turn(3), rule)
    assert found == theirs(SIZES, stopping_strategy=rule)
    assert [10 * s + r for s, r in found] == [
        0, 10, 20, 1, 11, 21, 2, 12, 22, 0, 13, 23, 1, 10, 24,
    ]  # fmt: skip


def test_in_turn_datasets_ends_its_round_where_we_stop():
    found = mixing.interleaved(SIZES, mixing.in_turn(3))
    assert len(found) == 7 and len(theirs(SIZES)) == 9
    assert found == theirs(SIZES)[:7]


@pytest.mark.parametrize("rule", mixing.RULES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_draws_give_the_rows_of_datasets(rule, seed):
    weights = [0.5, 0.3, 0.2]
    said = theirs(
        SIZES, probabilities=weights, seed=seed, stopping_strategy=rule
    )
    sources = (source for source, _ in said)
    assert mixing.interleaved(SIZES, sources, rule) == said
    more = [source for source, _ in said] + [0, 1, 2]  # and stops there
    assert mixing.interleaved(SIZES, more, rule) == said


def test_by_hand_a_tenth_of_the_draws_reads_ten_rows_ten_times():
    sizes, weights = (1000, 1000, 10), (7, 2, 1)
    assert mixing.epochs(weights, sizes, 1000) == pytest.approx([0.7, 0.2, 10])
    counted = Counter(islice(mixing.drawn(weights, seed=0), 1000))
    for source, share in enumerate((0.7, 0.2, 0.1)):
        spread = (1000 * share * (1 - share)) ** 0.5
        assert abs(counted[source] - 1000 * share) < 3 * spread


def test_draws_depend_on_the_seed_alone():
    one = list(islice(mixing.drawn([1, 2], seed=4), 3000))
    assert one == list(islice(mixing.drawn([1, 2], seed=4), 3000))
    assert one != list(islice(mixing.drawn([1, 2], seed=5), 3000))
    assert one[:1024] != one[1024:2048]  # no chunk comes twice


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mixing.shares([1, 0]), "weights: got \\[1, 0\\], expected"),
        (lambda: mixing.epochs([1], [2, 3], 9), "weights: got 1, expected"),
        (lambda: mixing.shares([math.inf, 1]), "weights: got \\[inf, 1\\]"),
        (lambda: mixing.interleaved([2, 2], [-1]), "got -1, expected 0 to 1"),
        (lambda: mixing.interleaved([2, 2], [0]), "sources: got 1, expected"),
        (lambda: mixing.interleaved([2, 0], [0]), "sizes: got \\[2, 0\\]"),
        (lambda: mixing.interleaved([2], [0], "never"), "rule: got 'never'"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
