"""Vocabulary, padding and the reversal task."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmnotes.sequence.seq2seq.pairs import (
    END,
    PAD,
    SPECIAL,
    START,
    Vocabulary,
    collate,
    pad,
    reversal,
)

ABC = Vocabulary("abc")


@given(st.text("abc"))
def test_decoding_undoes_encoding(text):
    ids = ABC.encode(text)
    assert all(SPECIAL <= i < len(ABC) for i in ids)
    assert ABC.decode([START, *ids, END, *ABC.encode("ab")]) == text


@pytest.mark.parametrize("number", [-1, -100, len(ABC)])
def test_a_number_that_is_no_symbol_is_named(number):
    with pytest.raises(ValueError, match=f"^ids: got {number}, expected 0 to"):
        ABC.decode([3, number])


def test_an_unknown_symbol_is_named():
    with pytest.raises(ValueError, match="^text: got 'd', expected .* 'abc'"):
        ABC.encode("cad")


def test_a_symbol_twice_is_refused():
    with pytest.raises(ValueError, match="^symbols: got 'aba'"):
        Vocabulary("aba")


def test_short_rows_are_filled_up():
    assert pad([[5], [6, 7, 8]]).tolist() == [[5, PAD, PAD], [6, 7, 8]]


def test_inputs_and_outputs_of_a_batch_are_shifted_by_one():
    batch = collate([("ab", "c"), ("abc", "bc")], ABC, ABC)
    a, b, c = ABC.encode("abc")
    assert batch.source.tolist() == [[a, b, PAD], [a, b, c]]
    assert batch.source_lengths.tolist() == [2, 3]
    assert batch.target_in.tolist() == [[START, c, END], [START, b, c]]
    assert batch.target_out.tolist() == [[c, END, PAD], [b, c, END]]


@pytest.mark.parametrize("pairs", [[], [("a", "b"), ("", "a")]])
def test_empty_sources_are_refused(pairs):
    with pytest.raises(ValueError, match="^pairs: got none or an empty"):
        collate(pairs, ABC, ABC)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 99))
def test_a_reversal_reversed_is_its_source(length, batch, seed):
    got = reversal(length, batch, seed, symbols=4)
    for source, target in zip(got.source, got.target, strict=True):
        assert target[0] == START and target[-1] == END
        assert target[1:-1].tolist()[::-1] == source.tolist()
    assert got.source.min() >= SPECIAL and got.source.max() < SPECIAL + 4
    assert got.source_lengths.tolist() == [length] * batch
    assert torch.equal(got.source, reversal(length, batch, seed, 4).source)


def test_all_symbols_are_drawn():
    found = reversal(50, 20, 0, symbols=8).source.unique()
    assert found.tolist() == list(range(SPECIAL, SPECIAL + 8))


def test_sizes_below_one_are_named():
    with pytest.raises(ValueError, match="^length: got 0"):
        reversal(0, 2, 0)
    with pytest.raises(ValueError, match="^batch: got 0"):
        reversal(2, 0, 0)
