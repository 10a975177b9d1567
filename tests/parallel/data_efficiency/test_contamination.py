"""Contamination: a planted paragraph is found, and named by its place."""

import unicodedata

import pytest

from llmnotes import data
from llmnotes.parallel.data_efficiency.contamination import (
    Index,
    Span,
    words,
)

TWELVE = "one two three four five six seven eight nine ten eleven twelve"
BEFORE, AFTER = "Nothing of this is known.\n\n", "\n\nNor is that.\n"


def test_a_planted_paragraph_is_found_by_its_offset():
    text = data.text()
    training, fresh = text[:200_000], BEFORE * 40
    paragraph = training[training.index("\n\n", 90_000) + 2 :][:600]
    planted = fresh[:400] + paragraph + fresh[400:]
    (span,) = Index(training).found(planted)
    # The ends may fall into a word.
    assert abs(span.start - 400) < 12 and abs(span.stop - 1000) < 12
    assert abs(span.at - training.index(paragraph)) < 12


def test_by_hand_thirteen_words_are_one_run():
    training = "zero. " + TWELVE + " thirteen"
    index = Index(training)
    assert index.found(TWELVE + " thirteen") == [Span(0, 71, 6)]
    assert index.found(BEFORE + TWELVE + " thirteen" + AFTER) == [
        Span(len(BEFORE), len(BEFORE) + 71, 6)
    ]


def test_fewer_words_than_a_run_are_never_found():
    assert Index(TWELVE).found(TWELVE) == []
    assert Index(TWELVE, 12).found(TWELVE) == [Span(0, len(TWELVE), 0)]
    assert Index(TWELVE, 14).share("") == 0


def test_case_punctuation_and_line_breaks_hide_nothing():
    changed = TWELVE.title().replace(" ", ",\n")
    assert len(Index(TWELVE, 8).found(changed)) == 1


def test_accents_that_stand_apart_are_those_that_do_not():
    text = "Le café déjà été à côté de la forêt où l'élève a rêvé près du lac"
    apart = unicodedata.normalize("NFD", text)
    assert Index(text).share(apart) == Index(apart).share(text) == 1
    assert words(apart).said == words(text).said


def test_one_other_word_in_the_middle_hides_it():
    words = TWELVE.split()
    words[6] = "other"
    assert Index(TWELVE, 8).found(" ".join(words)) == []
    assert len(Index(TWELVE, 6).found(" ".join(words))) == 1


def test_the_share_counts_words_in_spans():
    index = Index(TWELVE, 4)
    text = "one two three four and then six seven eight nine"
    assert [text[s.start : s.stop] for s in index.found(text)] == [
        "one two three four", "six seven eight nine",
    ]  # fmt: skip
    assert index.share(text) == 8 / 10


def test_a_known_run_names_its_first_place():
    assert Index(f"{TWELVE}. {TWELVE}", 12).found(TWELVE)[0].at == 0


def test_refusals():
    with pytest.raises(ValueError, match="n: got 0, expected"):
        Index("a", 0)
