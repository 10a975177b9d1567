"""Duplicates: equal ones by a digest, similar ones beside all pairs."""

import random
from itertools import combinations

import numpy as np
import pytest

from llmnotes.parallel.data_efficiency import duplicates
from llmnotes.parallel.data_efficiency.duplicates import (
    PRIME,
    MinHash,
    chance,
    digest,
    first_of_each,
    greedy,
    jaccard,
    joined,
    normalised,
    shingles,
    threshold,
    verified,
)
from tests.parallel.data_efficiency.pairs import (
    CHAIN,
    hits,
    pairs_of,
    similar_sets,
    squares,
)


def test_case_spaces_and_punctuation_do_not_make_another_text():
    texts = ["A cat, a dog.", "a  CAT — a\ndog", "a cat", "ﬁne", "fine"]
    assert first_of_each(texts) == [0, 2, 3]
    assert normalised("A cat,\n a dog.") == "a cat a dog"


def test_texts_without_words_are_not_all_the_same():
    assert first_of_each(["---", "...", "", "---"]) == [0, 1, 2]
    assert len(shingles("...")) == 0
    sets = [shingles("..."), shingles("---"), shingles("a b"), shingles("c")]
    assert MinHash(bands=4, rows=2).candidates(sets) == set()


def test_a_short_text_is_one_shingle():
    assert len(shingles("one two", wide=5)) == 1
    assert len(shingles("a b c d e f g", wide=5)) == 3


def test_a_digest_is_the_same_number_for_ever():
    # `hash` is salted: another one in each process.
    said = "6eda1d6f0337894464a66e34f5d33507"
    assert digest("a cat").hex() == said


def test_by_hand_two_bands_of_one_row_at_a_half():
    # One band fails with chance 1/2, both with 1/4.
    assert chance(0.5, bands=2, rows=1) == 0.75
    # Both rows of a band agree with chance 1/4; three bands fail: (3/4)^3.
    assert chance(0.5, bands=3, rows=2) == 1 - 27 / 64


@pytest.mark.parametrize(
    ("bands", "rows", "similarity", "expected"),
    [
        (20, 5, 0.2, 0.0064), (20, 5, 0.5, 0.4701), (20, 5, 0.8, 0.9996),
        (14, 8, 0.7, 0.5645), (14, 8, 0.85, 0.9884), (450, 20, 0.75, 0.7605),
        (450, 20, 0.8, 0.994583), (9, 13, 0.8, 0.398844),
        (5, 11, 0.8, 0.361780),
    ],
)  # fmt: skip
def test_the_curve_of_published_bands(bands, rows, similarity, expected):
    found = chance(similarity, bands=bands, rows=rows)
    assert found == pytest.approx(expected, abs=6e-5)


def test_bands_and_rows_exchanged_find_nothing():
    assert chance(0.8, bands=20, rows=450) < 1e-40
    assert threshold(bands=20, rows=5) == pytest.approx(0.549, abs=5e-4)
    assert threshold(bands=450, rows=20) == pytest.approx(0.7368, abs=5e-5)
    assert threshold(bands=9, rows=13) == pytest.approx(0.8445, abs=5e-5)


def test_no_two_numbers_fall_together(monkeypatch):
    # All of a small prime's numbers, then some of the true one.
    monkeypatch.setattr(duplicates, "PRIME", 24_001)
    a, b = (x[:5].tolist() for x in MinHash(bands=5, rows=1).permutations())
    for one, other in zip(a, b, strict=True):
        assert one and len({(one * x + other) % 24_001 for x in range(24_001)})
        moved = {(one * x + other) % 24_001 for x in range(24_001)}
        assert len(moved) == 24_001
    # The same with a number that shares a factor with the modulus.
    assert len({(7112 * x + 13067) % 24_000 for x in range(24_000)}) == 3000


def test_products_do_not_wrap():
    minhash, x = MinHash(bands=3, rows=7), PRIME - 1
    a, b = minhash.permutations()
    exact = [(int(i) * x + int(j)) % PRIME for i, j in zip(a, b, strict=True)]
    found = minhash.signature(np.array([x], np.uint64))
    assert found.ravel().tolist() == exact and found.shape == (3, 7)


@pytest.mark.parametrize("similarity", [0.5, 0.8])
def test_signatures_agree_as_often_as_sets_are_alike(similarity):
    rng, agreed = random.Random(3), []
    minhash = MinHash(bands=16, rows=8, seed=5)
    for _ in range(300):
        one, other = similar_sets(similarity, rng)
        same = minhash.signature(one) == minhash.signature(other)
        agreed.append(same.mean())
    sd = (similarity * (1 - similarity) / 128) ** 0.5
    assert np.mean(agreed) == pytest.approx(similarity, abs=4 * sd / 300**0.5)
    assert np.std(agreed) == pytest.approx(sd, rel=0.15)


@pytest.mark.parametrize(("bands", "rows"), [(20, 5), (9, 13)])
@pytest.mark.parametrize("similarity", [0.5, 0.8])
def test_pairs_are_found_as_often_as_the_curve_says(bands, rows, similarity):
    count = 2000
    found = hits(similarity, bands=bands, rows=rows, count=count)
    p = chance(similarity, bands=bands, rows=rows)
    assert abs(found - p) <= 3 * (p * (1 - p) / count) ** 0.5 + 1 / count


def test_verified_candidates_are_pairs_of_all_against_all():
    rng = random.Random(0)
    sets = [s for _ in range(60) for s in similar_sets(0.8, rng)]
    sets += [s for _ in range(60) for s in similar_sets(0.3, rng)]
    every = {
        (i, j): jaccard(sets[i], sets[j])
        for i, j in combinations(range(len(sets)), 2)
    }
    minhash = MinHash(bands=30, rows=3)
    candidates = minhash.candidates(sets)
    found = verified(sets, candidates, 0.6)
    assert found == {p: j for p, j in every.items() if j >= 0.6}
    assert len(candidates) > len(found)  # some were only candidates
    with pytest.raises(ValueError, match="least: got 0, expected above 0"):
        verified(sets, candidates, 0)


def test_candidates_agree_in_all_rows_of_a_band():
    rng = random.Random(2)
    sets = [s for _ in range(20) for s in similar_sets(0.5, rng)]
    minhash = MinHash(bands=6, rows=3)
    said = [minhash.signature(s) for s in sets]
    assert minhash.candidates(sets) == {
        (i, j)
        for i, j in combinations(range(len(sets)), 2)
        if (said[i] == said[j]).all(axis=1).any()
    }


def test_a_chain_is_one_cluster_or_every_other_text():
    sets = [np.arange(30 * i, 30 * i + 170, dtype=np.uint64) for i in CHAIN]
    similar = set(verified(sets, set(combinations(CHAIN, 2)), 0.6))
    assert similar == {(i, i + 1) for i in range(49)}
    assert jaccard(sets[0], sets[1]) == 0.7 and jaccard(*sets[:3:2]) < 0.5
    assert joined(50, similar) == [0]
    assert greedy(50, similar) == list(range(0, 50, 2))


def test_union_find_and_search_agree_on_random_graphs():
    rng = random.Random(1)
    for count in (1, 7, 30):
        pairs = pairs_of(count, rng)
        assert joined(count, pairs) == squares(count, pairs)
        kept = greedy(count, pairs)
        both = set(combinations(kept, 2))
        assert not both & pairs  # no two that are kept are alike


def test_refusals():
    with pytest.raises(ValueError, match="bands: got 0, expected"):
        MinHash(bands=0, rows=5)
    with pytest.raises(ValueError, match="wide: got 0, expected"):
        shingles("a b", wide=0)
