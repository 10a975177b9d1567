"""The score, the rule, and what is kept."""

import pytest

from llmnotes.parallel.data_efficiency import quality


def test_by_hand_two_of_five_words_are_common():
    assert quality.common_share("The cat, and a dog") == 2 / 5
    assert quality.common_share("---") == 0


def test_gophers_rule_wants_two_different_words():
    assert not quality.passes("the cat of".replace("of", "the"))
    assert quality.passes("The cat OF")


def test_the_best_are_kept_until_there_are_enough_characters():
    texts = ["x y", "the end", "x", "to be", "the of"]
    assert quality.best(texts, 12) == [3, 4, 1]
    assert quality.best(texts, 11) == [3, 4]
    assert quality.best(["a", "b"], 2) == [0, 1]  # equals keep their order
    with pytest.raises(ValueError, match="characters: got 99, expected at m"):
        quality.best(texts, 99)
