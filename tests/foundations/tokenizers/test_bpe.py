"""GPT-2's tokenizer against Hugging Face's, on a vocabulary made here."""

import base64
import json
import random
import sys
import unicodedata
from collections import Counter

import pytest
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from llmnotes.foundations.tokenizers.bpe import PlainBPE
from llmnotes.foundations.tokenizers.files import BYTES, END_OF_TEXT, written
from llmnotes.foundations.tokenizers.splitting import split

TEXT = """The lower newest widest: they're low, we'll see, isn't it? It's 1,000
naïve cafés in 2026 — Ünïcödé!   def f(x):\n\t\treturn x ** 2  # ЖЗИ 中文 🙂🙂
"""
SHOWN = {b: c for c, b in BYTES.items()}


def learned(joints=150):
    """Joints of the commonest pairs in TEXT, the plainest way."""
    words = [[bytes([b]) for b in w.encode()] for w in split(TEXT * 2)]
    found = []
    for _ in range(joints):
        pairs = Counter(p for w in words for p in zip(w, w[1:], strict=False))
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        found.append(best)
        for w in words:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == best:
                    w[i : i + 2] = [w[i] + w[i + 1]]
                i += 1
    return found


def scrambled():
    """The same in another order: a joint may come before what it joins."""
    found = learned()
    random.Random(0).shuffle(found)
    return found


def lay(folder, merges):
    """The two files of such a tokenizer, ids in no order."""
    pieces = [bytes([b]) for b in range(256)]
    pieces += [a + b for a, b in merges]
    pieces = [written(p) for p in dict.fromkeys(pieces)] + [END_OF_TEXT]
    random.Random(1).shuffle(pieces)
    ids = {piece: i for i, piece in enumerate(pieces)}
    (folder / "vocab.json").write_text(json.dumps(ids), "utf-8")
    lines = [f"{written(a)} {written(b)}" for a, b in merges]
    text = "\n".join(["#version: 0.2", *lines]) + "\n"
    (folder / "merges.txt").write_bytes(text.encode())
    return folder


@pytest.fixture(scope="module", params=[learned, scrambled])
def both(request, tmp_path_factory):
    folder = lay(tmp_path_factory.mktemp("bpe"), request.param())
    return PlainBPE.from_gpt2(folder), hf.GPT2Tokenizer.from_pretrained(folder)


def same(both, text):
    ours, theirs = both
    ids = ours.encode(text)
    assert ids == theirs.encode(text)
    assert ours.decode(ids) == text == theirs.decode(ids)


ODD = [
    "",
    " ",
    TEXT,
    "a b  c   d    ",
    "\n\n a\t\tb \r\n\u00a0\u00a0c\u3000\u2028d \x1c\x1d\x85",
    "it's they'RE 're ''s 'll'd 't' don't'",
    "abc123 4½ ⅷ٣x²",
    " !?  ...\u200b\u00ad x_y",
    "e\u0301 \u0301 क्षि नमस्ते สวัสดี",
    "👩‍👩‍👧 🇩🇪 \U0001f9ff\x00\x7f",
    f"one{END_OF_TEXT}two {END_OF_TEXT}{END_OF_TEXT} <|endoftext>",
    "low" * 200,
]


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_get_the_same_ids(both, text):
    same(both, text)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_text_gets_the_same_ids(both, data):
    near = st.sampled_from("aeltorsw nd,.'1 \n\t\u00a0é中🙂\u0301")
    letter = st.sampled_from(AGREED)
    token = st.sampled_from([END_OF_TEXT, "'re", "  ", "newest"])
    text = "".join(data.draw(st.lists(near | letter | token, max_size=30)))
    same(both, text)


def agreed():
    """Characters that their Unicode tables and Python's see alike."""
    codes = (*range(0x3000), *range(0x3000, sys.maxunicode, 211))
    there = [chr(c) for c in codes if not 0xD800 <= c < 0xE000]
    seen = []
    for start in range(0, len(there), 100):
        some = there[start : start + 100]
        if alike(some):
            seen += some
        else:
            seen += [c for c in some if alike([c])]
    return seen, sorted(set(there) - set(seen))


CUT = pre_tokenizers.ByteLevel(add_prefix_space=False)


def alike(characters):
    """A letter, a number and a sign beside it show of what kind each is."""
    text = "\n".join(f"x{c}x1{c}1-{c}-{c}{c}" for c in characters)
    spans = [span for _, span in CUT.pre_tokenize_str(text)]
    return [text[a:b] for a, b in spans] == list(split(text))


AGREED, OTHER = agreed()


def test_every_character_is_of_the_kind_that_it_is_for_them():
    assert len(AGREED) > 15_000
    assert len(OTHER) < 0.02 * len(AGREED)  # newer Unicode, there or here
    assert all(ord(c) > 0x500 for c in OTHER)


def test_by_hand_the_lowest_rank_is_joined_first_and_the_left_of_equals():
    single = {bytes([b]): b for b in range(256)}
    merges = {(b"a", b"b"): 1, (b"b", b"c"): 0, (b"a", b"a"): 2}
    made = {b"ab": 300, b"bc": 301, b"aa": 302}
    toy = PlainBPE(single | made, merges)
    assert toy.join(b"abc") == [b"a", b"bc"]
    assert toy.join(b"abab") == [b"ab", b"ab"]
    assert toy.join(b"aaa") == [b"aa", b"a"]
    assert toy.decode(toy.encode("abcaaa")) == "abcaaa"
    assert toy.size == 303


def test_a_file_of_ranks_gives_the_ids_of_the_two_files(tmp_path):
    merges = learned()
    pieces = [bytes([b]) for b in range(256)]
    pieces += dict.fromkeys(a + b for a, b in merges)
    lines = (
        f"{base64.b64encode(p).decode()} {i}" for i, p in enumerate(pieces)
    )
    path = tmp_path / "toy.tiktoken"
    path.write_text("\n".join(lines) + "\n")
    ranks = PlainBPE.from_tiktoken(path, {END_OF_TEXT: len(pieces)})
    files = PlainBPE.from_gpt2(lay(tmp_path, merges))
    for text in ODD:
        ids = ranks.encode(text)
        assert [ranks.vocabulary[i] for i in ids] == [
            files.vocabulary[i] for i in files.encode(text)
        ]
        assert ranks.decode(ids) == text
    assert ranks.encode(END_OF_TEXT) == [len(pieces)]


def test_text_of_strangers_can_be_kept_from_ending_a_text(both):
    ours, _ = both
    end = ours.special[END_OF_TEXT]
    assert ours.encode(END_OF_TEXT) == [end]
    plain = ours.encode(END_OF_TEXT, special=False)
    assert end not in plain and ours.decode(plain) == END_OF_TEXT


def test_half_a_letter_is_shown_as_what_it_is_not(both):
    ours, theirs = both
    ids = ours.encode("é🙂")
    assert ours.decode(ids[:-1]) == theirs.decode(ids[:-1])


def test_half_of_a_surrogate_pair_is_refused(both):
    ours, _ = both
    message = r"^text: got '\\ud83d' at position 1, half of a surrogate pair"
    for go in (ours.encode, ours.pieces):
        with pytest.raises(ValueError, match=message):
            go("a\ud83d")


def test_long_words_take_no_square_of_their_length(both):
    ours, _ = both
    text = "x" * 5000
    assert ours.decode(ours.encode(text)) == text


@pytest.mark.parametrize("bad", [-1, 10_000])
def test_ids_that_no_piece_has_are_named(both, bad):
    with pytest.raises(ValueError, match=f"^ids: got {bad} at position 1, ex"):
        both[0].decode([0, bad])


def spoil(folder, file, text):
    (folder / file).write_text(text, "utf-8")


def small(**change):
    ids = {SHOWN[b]: b for b in range(256)} | {"ab": 256} | change
    return json.dumps({k: v for k, v in ids.items() if v != "gone"})


SPOILED = {
    "vocab.json: cannot be read": ("vocab.json", "{"),
    "vocab.json: got [], expected a JSON object": ("vocab.json", "[]"),
    "merges.txt: ids: got no id for b'bc', expected one": (
        "merges.txt", "a b\nb c\n",
    ),
    "merges.txt: merges: got (b'a', b'b', b'c'), expected two pieces": (
        "merges.txt", "a b c\n",
    ),
    "merges.txt: merges: got (b'ab',), expected two": ("merges.txt", "ab"),
    "merges.txt: got '中', expected characters": ("merges.txt", "中 a"),
    "merges.txt: ids: got no id for b'a', expected": (
        "vocab.json", small(a="gone"),
    ),
    "merges.txt: ids: got None, expected 0 or more": (
        "vocab.json", small(a=None),
    ),
    "merges.txt: ids: got -1, expected 0 or more": (
        "vocab.json", small(a=-1),
    ),
    "vocab.json: got 'a b', expected characters": (
        "vocab.json", small(**{"a b": 9}),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("message", "change"), SPOILED.items())
def test_files_that_are_not_right_are_named(message, change, tmp_path):
    spoil(tmp_path, "vocab.json", small())
    spoil(tmp_path, "merges.txt", "#version: 0.2\na b\n")
    assert PlainBPE.from_gpt2(tmp_path).encode("ab") == [256]
    spoil(tmp_path, *change)
    with pytest.raises(ValueError) as error:
        PlainBPE.from_gpt2(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/{message}")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="vocab.json: cannot be read: No su"):
        PlainBPE.from_gpt2(tmp_path)
    path = tmp_path / "toy.tiktoken"
    with pytest.raises(ValueError, match="toy.tiktoken: cannot be read"):
        PlainBPE.from_tiktoken(path)
    path.write_text("aGk= one\n")
    with pytest.raises(ValueError, match="toy.tiktoken: invalid literal"):
        PlainBPE.from_tiktoken(path)


def test_bytes_are_written_as_characters_that_one_can_see():
    assert sorted(BYTES.values()) == list(range(256))
    assert BYTES["Ġ"] == ord(" ") and BYTES["Ċ"] == ord("\n")
    assert all(unicodedata.category(c)[0] not in "ZC" for c in BYTES)
