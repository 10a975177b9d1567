"""WordPiece against Hugging Face's tokenizers, with MiniLM's vocabulary."""

import functools
import random
import unicodedata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from llmnotes.foundations.tokenizers.wordpiece import (
    SPECIAL,
    WordPiece,
    is_punctuation,
    normalise,
    pieces,
    words,
)
from llmnotes.transformer.bert.files import load_wordpiece, minilm_folder

OURS = load_wordpiece(minilm_folder())
THEIRS = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
THEIRS.no_padding()
THEIRS.no_truncation()


@functools.cache
def known_letters():
    """Characters on which their Unicode tables and Python's agree, and others.

    Theirs are older: of what came into Unicode since, they do not know
    which is a mark, a control character or punctuation. All characters
    below the large blocks of Chinese are looked at, above them every 29th.
    """
    codes = [*range(0x3400), *range(0x3400, 0xD800, 29)]
    codes += range(0xE000, 0x110000, 29)
    there = [c for c in map(chr, codes) if is_assigned(c)]
    agreed, other = [], []
    for start in range(0, len(there), 100):
        some = there[start : start + 100]
        if alike("".join(f"x{c}x\n" for c in some)):
            agreed += some
        else:
            for c in some:
                (agreed if alike(f"x{c}x") else other).append(c)
    return agreed, other


def is_assigned(c):
    return unicodedata.category(c) not in ("Cn", "Co")


def alike(text):
    """Same normal form and same words, as they and we see it."""
    normal = THEIRS.normalizer.normalize_str(text)
    if normal != normalise(text):
        return False
    split = THEIRS.pre_tokenizer.pre_tokenize_str(normal)
    return [word for word, _ in split] == words(normal)


def same(text):
    found = THEIRS.encode(text)
    assert OURS.encode(text) == found.ids
    assert [OURS.vocabulary[i] for i in found.ids] == found.tokens


def test_every_character_is_treated_as_theirs_but_for_newer_unicode():
    agreed, other = known_letters()
    assert len(agreed) > 15_000
    assert len(other) < 0.02 * len(agreed)
    assert min(ord(c) for c in other) > 0x500  # no Latin, Greek, Cyrillic


ODD = [
    "",
    " \t\n\r\u00a0\u2003\u2028\u0085",
    "Hello, World! It's $5.00 (naïve café — “quoted”).",
    "ÀÉÎÕÜ ﬁne ⅷ ①② ㎏ Ǆ ẞ straße İstanbul ıI",
    "ΑΣ ΟΔΥΣΣΕΎΣ ς",  # Σ at a word's end: σ here, ς in str.lower
    "e\u0301 \u0301 a\u0300\u0316 क्षि नमस्ते สวัสดี ありがとう 가각",
    "中文abc中文 𠀀𪜀 カタカナ ﾊﾝ 豈",
    "a\u0000b\u0007c\u200bd\u200de\ufefff\ufffdg\u00adh",
    "don't_stop@example.com #tag 1,000.5 +-=^`|~ C++",
    "x" * 100 + " " + "x" * 101 + " ab" + "é" * 99,
    "[CLS] a [MASK]b[SEP] [mask] [ MASK ] [UNK][PAD] [[MASK]]",
    "🙂 👩‍👩‍👧 🇩🇪 \U0001f9ff",
    "\ue000 \U000f0000 \u0378 ｆｕｌｌ　ｗｉｄｔｈ",
    "unaffable embeddings tokenization antidisestablishmentarianism",
]


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_get_the_same_ids(text):
    same(text)


def test_two_texts_get_the_same_ids_and_types():
    for text, second in zip(ODD, reversed(ODD), strict=True):
        found = THEIRS.encode(text, second)
        assert OURS.encode_pair(text, second) == (found.ids, found.type_ids)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_text_gets_the_same_ids(data):
    agreed, _ = known_letters()
    token = st.sampled_from([*SPECIAL, *OURS.vocabulary[1996:12000:99]])
    letter = st.integers(0, len(agreed) - 1).map(agreed.__getitem__)
    near = st.sampled_from("abcABCéÉüßΣİ ,.-'$_\n\t\u0301\u200d中カ")
    same("".join(data.draw(st.lists(letter | near | token, max_size=20))))


def test_long_mixed_texts_get_the_same_ids():
    agreed, _ = known_letters()
    draw = random.Random(0)
    for _ in range(10):
        same("".join(draw.choices(agreed, k=400)))
        same(" ".join(draw.choices(OURS.vocabulary, k=100)))


def test_by_hand_the_longest_piece_comes_first():
    toy = {p: i for i, p in enumerate(["a", "ab", "abc", "##cd", "##d"])}
    assert pieces("abcd", toy) == ["abc", "##d"]
    toy.pop("##d")  # ab ##cd would fit, but abc has been taken
    assert pieces("abcd", toy) == ["[UNK]"]


def test_no_piece_could_have_been_longer():
    for word in ("embeddings", "unaffable", "transformers", "xylophonist"):
        found = pieces(word, OURS.ids)
        start = 0
        for piece in found:
            mark = "##" if start else ""
            end = start + len(piece) - len(mark)
            longer = (mark + word[start:e] for e in range(end + 1, 99))
            assert not {x for x in longer if len(x) > len(piece)} & set(
                OURS.ids
            )
            start = end
        assert start == len(word)


def test_decoding_gives_the_normal_form_back():
    text = "Embeddings of naïve tokenizers"
    ids = OURS.encode(text)[1:-1]
    assert OURS.decode(ids) == "embeddings of naive tokenizers"


def test_a_batch_is_padded_and_what_is_real_is_known():
    texts = ["one", "a longer text, of several words", "two words"]
    ids, mask = OURS.batch(texts)
    assert ids.shape == mask.shape
    for row, real, text in zip(ids, mask, texts, strict=True):
        assert row[real].tolist() == OURS.encode(text)
        assert (row[~real] == OURS.ids["[PAD]"]).all()


def test_a_text_that_is_too_long_keeps_its_ends():
    text = "word " * 50
    ids, mask = OURS.batch([text], longest=16)
    THEIRS.enable_truncation(16)
    assert ids[0].tolist() == THEIRS.encode(text).ids
    THEIRS.no_truncation()
    assert mask.all() and ids.shape == (1, 16)


def test_all_ascii_symbols_are_punctuation():
    for c in map(chr, range(33, 127)):
        assert is_punctuation(c) == (not c.isalnum())


BAD = {
    "vocabulary: got 'a' twice": [*SPECIAL, "a", "b", "a"],
    "vocabulary: expected \\[MASK\\] in it": [*SPECIAL[:-1], "a"],
}


@pytest.mark.parametrize(("message", "vocabulary"), BAD.items())
def test_vocabularies_that_cannot_be_are_named(message, vocabulary):
    with pytest.raises(ValueError, match=message):
        WordPiece(vocabulary)


def test_no_text_at_all_is_refused():
    with pytest.raises(ValueError, match="texts: got none"):
        OURS.batch([])


@pytest.mark.parametrize("longest", [1, 0, -3])
def test_there_is_room_for_the_two_ends_at_least(longest):
    message = f"^longest: got {longest}, expected at least 2"
    with pytest.raises(ValueError, match=message):
        OURS.batch(["a b a"], longest=longest)
    assert OURS.batch(["a b a"], longest=2)[0].shape == (1, 2)


NO_TEXTS = {
    "got str, expected a list of str": "ab",
    "got none, expected at least one": [],
}
NO_TEXT = {
    "[0]: got int, expected a str": [1],
    "[1]: got list, expected a str": ["a", ["b"]],
    "[0]: got bytes, expected a str": [b"a"],
}


def test_what_is_no_list_of_texts_is_named():
    cases = {f": {why}": texts for why, texts in NO_TEXTS.items()} | NO_TEXT
    for why, texts in cases.items():
        with pytest.raises(ValueError) as error:
            OURS.batch(texts)
        assert str(error.value) == f"texts{why}"
        with pytest.raises(ValueError) as error:
            OURS.batch_pairs(["a"], texts)
        assert str(error.value) == f"seconds{why}"


def test_a_single_letter_and_a_tuple_are_no_mistake():
    assert OURS.batch(("a",))[0].tolist() == [OURS.encode("a")]


@pytest.mark.parametrize("bad", [-1, -100, 30_522])
@pytest.mark.parametrize("kind", [list, torch.tensor])
def test_ids_that_no_piece_has_are_named(bad, kind):
    message = f"^ids: got {bad} at position 1, expected 0 to 30521$"
    with pytest.raises(ValueError, match=message):
        OURS.decode(kind([7, bad, 9]))


def test_ids_of_a_tensor_are_decoded_like_those_of_a_list():
    ids = OURS.encode("a text")
    assert OURS.decode(torch.tensor(ids)) == OURS.decode(ids)
    assert OURS.decode([]) == ""


LENGTHS = st.integers(0, 12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(LENGTHS, LENGTHS), min_size=1), st.integers(3, 19))
def test_pairs_are_cut_padded_and_typed_as_theirs(lengths, longest):
    texts = ["one " * n for n, _ in lengths]
    seconds = ["two, " * m for _, m in lengths]
    THEIRS.enable_truncation(longest)  # the longer first
    THEIRS.enable_padding()
    found = THEIRS.encode_batch(list(zip(texts, seconds, strict=True)))
    THEIRS.no_truncation()
    THEIRS.no_padding()
    ids, mask, types = OURS.batch_pairs(texts, seconds, longest)
    assert ids.tolist() == [row.ids for row in found]
    assert mask.long().tolist() == [row.attention_mask for row in found]
    assert types.tolist() == [row.type_ids for row in found]


def test_pairs_with_room_enough_are_those_of_one_pair():
    texts, seconds = ["a", "some words more"], ["naïve", ""]
    ids, mask, types = OURS.batch_pairs(texts, seconds)
    for at, pair in enumerate(zip(texts, seconds, strict=True)):
        right, kinds = OURS.encode_pair(*pair)
        assert ids[at, mask[at]].tolist() == right
        assert types[at, mask[at]].tolist() == kinds


def test_each_text_has_its_second():
    with pytest.raises(ValueError, match="^seconds: got 1, expected one for"):
        OURS.batch_pairs(["a", "b"], ["c"])
    with pytest.raises(ValueError, match="^longest: got 2, expected at least"):
        OURS.batch_pairs(["a"], ["c"], longest=2)
