"""Unigram against all ways to cut a text, and against SentencePiece."""

import io
import itertools
import math
import random
from collections import Counter

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from llmnotes import corpora
from llmnotes.foundations.tokenizers import Unigram
from llmnotes.foundations.tokenizers.unigram import (
    OTHERS,
    expected,
    normalised,
    pruned,
    viterbi,
)
from tests.foundations.tokenizers.alphabets import ODD, TEXT

LEARNED = Unigram.train(corpora.text()[:8000], 420)


def cuts(word, scores):
    """Every way to cut a word into pieces, with its log probability."""
    for marks in itertools.product([0, 1], repeat=len(word) - 1):
        places = [0, *(i + 1 for i, m in enumerate(marks) if m), len(word)]
        pieces = [word[a:b] for a, b in itertools.pairwise(places)]
        if all(p in scores for p in pieces):
            yield pieces, sum(scores[p] for p in pieces)


def some_scores(seed, letters="abc", longest=3):
    draw = random.Random(seed)
    pieces = ["".join(p) for n in range(1, longest + 1)
              for p in itertools.product(letters, repeat=n)]  # fmt: skip
    kept = [p for p in pieces if len(p) == 1 or draw.random() < 0.6]
    return normalised({p: draw.random() + 0.01 for p in kept})


@given(st.text("abc", min_size=1, max_size=8), st.integers(0, 99))
def test_the_best_cut_is_the_best_of_all(word, seed):
    scores = some_scores(seed)
    found = viterbi(word, scores, 3, -99.0)
    best = max(score for _, score in cuts(word, scores))
    assert sum(scores[p] for p in found) == pytest.approx(best)
    assert "".join(found) == word


@settings(max_examples=50, deadline=None)
@given(st.text("abc", min_size=1, max_size=7), st.integers(0, 99))
def test_expected_counts_are_those_of_all_cuts(word, seed):
    scores, right = some_scores(seed), Counter()
    total = sum(math.exp(score) for _, score in cuts(word, scores))
    for pieces, score in cuts(word, scores):
        for piece in pieces:
            right[piece] += 5 * math.exp(score) / total
    counts, fit = expected({word: 5}, scores)
    assert fit == pytest.approx(5 * math.log(total))
    assert counts == pytest.approx({p: right[p] for p in scores})


def test_no_round_of_em_makes_the_text_less_likely():
    words = {"abcab": 3, "cabba": 2, "abab": 4, "c": 1, "bca": 2}
    scores, before = some_scores(7), -math.inf
    for _ in range(8):
        counts, fit = expected(words, scores)
        assert fit >= before - 1e-9
        before = fit
        scores = normalised({p: n for p, n in counts.items() if n > 1e-12})


def test_by_hand_two_pieces_that_cut_a_word_two_ways():
    shares = {"a": 0.1, "b": 0.2, "c": 0.2, "ab": 0.3, "bc": 0.2}
    scores = {piece: math.log(share) for piece, share in shares.items()}
    # abc: ab c 0.06, a bc 0.02, a b c 0.004; together 0.084
    counts, fit = expected({"abc": 1}, scores)
    assert viterbi("abc", scores, 2, -99.0) == ["ab", "c"]
    assert fit == pytest.approx(math.log(0.084))
    assert counts["ab"] == pytest.approx(0.06 / 0.084)
    assert counts["a"] == pytest.approx(0.024 / 0.084)


def test_what_others_replace_cheaply_is_dropped_first():
    scores = normalised({"a": 40, "b": 40, "ab": 39, "ba": 1})
    counts = {"a": 10.0, "b": 10.0, "ab": 30.0, "ba": 0.5}
    assert set(pruned(scores, counts, {"a", "b"}, 3)) == {"a", "b", "ab"}


def alike(tokenizer, ours, theirs):
    """The same ids, or as likely: where two cuts tie, either may be taken."""
    pieces = tokenizer.model.pieces
    scores = [sum(pieces[i].score for i in ids) for ids in (ours, theirs)]
    return ours == theirs or scores[0] == pytest.approx(scores[1], abs=1e-4)


def theirs_of(path):
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def test_its_library_gives_the_ids_of_what_we_trained(tmp_path):
    LEARNED.save(tmp_path / "ours.model")
    theirs = theirs_of(tmp_path / "ours.model")
    again = Unigram.from_model(tmp_path / "ours.model")
    for text in (*ODD, *corpora.text()[9000:12_000].split("\n")):
        ids = LEARNED.encode(text)
        assert ids == again.encode(text)
        assert alike(LEARNED, ids, theirs.encode(text))


def test_what_its_library_trained_gives_its_ids(tmp_path):
    body, lines = io.BytesIO(), corpora.text()[:9000].split("\n")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=body, vocab_size=400,
        model_type="unigram", normalization_rule_name="identity",
        remove_extra_whitespaces=False, minloglevel=2, num_threads=1,
    )  # fmt: skip
    path = tmp_path / "theirs.model"
    path.write_bytes(body.getvalue())
    ours, theirs = Unigram.from_model(path), theirs_of(path)
    for text in (*ODD, *lines):
        assert alike(ours, ours.encode(text), theirs.encode(text))


@settings(max_examples=100, deadline=None)
@given(TEXT)
def test_any_text_comes_back(text):
    back = LEARNED.decode(LEARNED.encode(text))
    assert back == text.replace("▁", " ")


def test_as_many_pieces_as_were_asked_for_and_all_letters():
    assert LEARNED.size == 420
    assert set(LEARNED.ids) >= set(corpora.text()[:8000]) - {" "}
    total = sum(math.exp(score) for score in LEARNED.scores.values())
    assert total == pytest.approx(1, abs=0.02)  # scores are float32


LETTERS = len(OTHERS) + 4  # ▁, a, b, c


@pytest.mark.parametrize(
    ("text", "size", "message"),
    [
        (
            "ab c",
            262,
            f"^vocabulary: got 262, expected at least {LETTERS}",
        ),
        ("ab c", 999, f"^vocabulary: got 999, expected at most {LETTERS}"),
        ("ab c", 0, "^vocabulary: got 0, expected at least 1$"),
        ("a\udfff", 300, "^text: got '.udfff' at position 1, half of a"),
    ],
)
def test_what_cannot_be_learned_is_named(text, size, message):
    with pytest.raises(ValueError, match=message):
        Unigram.train(text, size)
