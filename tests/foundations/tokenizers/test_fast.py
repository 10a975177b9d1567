"""Byte pairs, compiled and plain, against tiktoken on GPT-2's real ranks."""

import random
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmnotes.foundations.tokenizers import (
    ByteBPE,
    PlainBPE,
    gpt2_ranks,
    plain_train,
)
from llmnotes.foundations.tokenizers.fast_encoding import LONG
from llmnotes.foundations.tokenizers.files import END_OF_TEXT
from llmnotes.foundations.tokenizers.splitting import check_text
from llmnotes.foundations.tokenizers.tables import (
    key_of,
    number_of,
    piece_table,
    row_of,
)
from tests.foundations.tokenizers.alphabets import ODD, TEXT, openai, real_gpt2

TOY = plain_train("low lower lowest newest widest aaaa " * 3, 270)
LOWEST = np.array(TOY.encode("lowest"))


@pytest.fixture(scope="module")
def plain():
    return PlainBPE.from_tiktoken(gpt2_ranks())


def same(text):
    ids = real_gpt2().encode(text)
    assert ids == openai().encode_ordinary(text)
    assert real_gpt2().decode(ids) == text
    assert b"".join(real_gpt2().pieces(text)) == text.encode()


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_get_the_ids_of_tiktoken_and_come_back(text, plain):
    same(text)
    assert plain.encode(text) == real_gpt2().encode(text)


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_any_text_gets_the_ids_of_tiktoken_and_comes_back(text):
    same(text)


@settings(max_examples=100, deadline=None)
@given(TEXT)
def test_plain_and_compiled_give_the_same_ids(plain, text):
    assert plain.encode(text) == real_gpt2().encode(text)


def test_all_of_tiny_shakespeare(tiny_shakespeare, plain):
    same(tiny_shakespeare)
    some = tiny_shakespeare[:20_000]
    assert plain.encode(some) == openai().encode_ordinary(some)


def test_100_kb_without_a_space_get_tiktokens_ids():
    draw = random.Random(0)
    same("".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=100_000)))


@pytest.mark.parametrize("length", [LONG - 1, LONG, LONG + 1, 3 * LONG])
@pytest.mark.parametrize("letters", ["x", "ab", "ετ", "中文字"])
def test_words_around_the_change_of_method_get_tiktokens_ids(length, letters):
    same(letters * (length // len(letters.encode())) + " and more")


def test_words_met_again_get_the_ids_of_the_first_time():
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefgh", k=n)) for n in range(1, 14)] * 9
    draw.shuffle(words)
    same(" ".join(words))
    same("".join(draw.choices("ab 12'\n", k=30_000)))  # the cache is full


def test_a_special_token_is_one_id_if_it_may_be():
    text = f"one{END_OF_TEXT}two {END_OF_TEXT}{END_OF_TEXT} <|endoftext>"
    theirs = openai().encode(text, allowed_special="all")
    assert real_gpt2().encode(text) == theirs and 50_256 in theirs
    plainly = real_gpt2().encode(text, special=False)
    assert plainly == openai().encode_ordinary(text)
    assert real_gpt2().decode(plainly) == real_gpt2().decode(theirs) == text


def test_long_words_of_one_hash_are_told_apart():
    """The hash is handed in, so we can say that two words have the same."""
    s = np.frombuffer(b"ninebytes" + b"othernine", np.uint8)
    key, ends = key_of(s, 0, 9), np.array([9])
    pieces = piece_table(s[:9], ends)
    assert number_of(s, 0, 9, key, pieces, s[:9], ends) == 0
    assert number_of(s, 9, 9, key, pieces, s[:9], ends) == -1
    met = np.zeros((4, 4), np.int64)
    first = row_of(s, 0, 9, key, met)
    met[first, :3] = key, 9, 0
    assert row_of(s, 0, 9, key, met) == first
    assert row_of(s, 9, 9, key, met) == (first + 1) % 4


def test_the_first_letters_need_no_compiled_loop(monkeypatch):
    """Texts of 6 letters; the loop takes over when 12 have been read."""
    monkeypatch.setattr(ByteBPE, "few", 12)
    quick, loop = ByteBPE(TOY.ids, TOY.merges), Mock(side_effect=[LOWEST] * 2)
    monkeypatch.setattr(quick, "array", loop)
    for uses in (0, 1, 2):
        assert quick.encode("lowest") == LOWEST.tolist()
        assert loop.call_count == uses


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 50_256), max_size=12))
def test_any_ids_are_decoded_as_by_tiktoken(ids):
    assert real_gpt2().decode(ids) == openai().decode(ids)


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("lowernstid a"), max_size=30))
def test_learned_joints_give_the_same_ids_plain_and_compiled(text):
    quick = ByteBPE(TOY.ids, TOY.merges)
    assert quick.encode(text) == TOY.encode(text)
    assert quick.decode(quick.encode(text)) == text


def test_a_saved_tokenizer_is_read_back(tmp_path):
    ids = TOY.ids | {}
    saved = ByteBPE(ids, TOY.merges, {END_OF_TEXT: len(ids)})
    saved.save(tmp_path)
    again = ByteBPE.from_gpt2(tmp_path)
    assert again.ids == saved.ids and again.special == saved.special
    assert list(again.merges) == list(saved.merges)
    with pytest.raises(ValueError, match="^merges: got None, expected pairs"):
        real_gpt2().save(tmp_path)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("a\udc80", r"^text: got '\\udc80' at position 1, half of a surr"),
        (b"a", "^text: got bytes, expected a str"),
        (None, "^text: got NoneType, expected a str"),
    ],
)
def test_what_is_no_text_is_named(bad, message):
    with pytest.raises(ValueError, match=message):
        check_text(bad)
    if isinstance(bad, str):
        for go in (real_gpt2().encode, real_gpt2().pieces):
            with pytest.raises(ValueError, match=message):
                go(bad)


def test_an_id_twice_and_a_spoiled_line_are_named(tmp_path):
    with pytest.raises(ValueError, match="^ids: got one of them twice"):
        PlainBPE(TOY.ids, TOY.merges, {END_OF_TEXT: 0})
    path = tmp_path / "cut.tiktoken"
    path.write_bytes(gpt2_ranks().read_bytes()[:2000])  # 256 bytes need more
    with pytest.raises(ValueError, match="cut.tiktoken: "):
        ByteBPE.from_tiktoken(path)
