"""Any tokenizer from disk, and bits per byte."""

import math
import pickle
import shutil

import pytest

from llmnotes import corpora
from llmnotes.foundations.tokenizers import (
    ByteBPE,
    SentencePieceBPE,
    Unigram,
    WordPiece,
    bits_per_byte,
    gpt2_ranks,
    load,
    mistral_model,
    train,
    wheels,
)
from llmnotes.foundations.tokenizers.saved import numbered
from llmnotes.foundations.tokenizers.wordpiece import SPECIAL

TEXT = corpora.text()[:4000]


def lay_pairs(folder):
    train(TEXT, 300).save(folder)


def lay_unigram(folder):
    Unigram.train(TEXT, 380).save(folder / "tokenizer.model")


def lay_ranks(folder):
    shutil.copy(gpt2_ranks(), folder)


def lay_mistral(folder):
    shutil.copy(mistral_model("v3"), folder)


def lay_words(folder):
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, "a", "##b"]))


@pytest.mark.parametrize(
    ("lay", "kind"),
    [
        (lay_pairs, ByteBPE),
        (lay_unigram, Unigram),
        (lay_ranks, ByteBPE),
        (lay_mistral, SentencePieceBPE),
        (lay_words, WordPiece),
    ],
)
def test_a_file_and_its_folder_give_the_tokenizer_it_holds(
    lay, kind, tmp_path
):
    lay(tmp_path)
    found = load(tmp_path)
    assert type(found) is kind
    for file in tmp_path.iterdir():
        assert type(load(file)) is kind
        with pytest.raises((pickle.UnpicklingError, ValueError)):
            pickle.loads(file.read_bytes())
    ids = found.encode("a ab")
    assert [i for i, _ in numbered(tmp_path, "a ab")] == ids
    assert len(found.pieces("a ab")) == len(ids) - 2 * (kind is WordPiece)


def test_pieces_are_shown_so_that_all_of_them_is_seen(tmp_path):
    shown = [piece for _, piece in numbered(gpt2_ranks(), " a\n\x00é🙂  b")]
    assert shown[:3] == ["·a", "\\n", "\\x00"]
    assert "".join(shown).endswith("··b") and "\\xf0" in "".join(shown)


def test_what_is_no_tokenizer_is_named(tmp_path):
    with pytest.raises(ValueError, match="gone: got no file or folder of"):
        load(tmp_path / "gone")
    with pytest.raises(ValueError, match="got no tokenizer, expected one of"):
        load(tmp_path)
    for name, body in (("a.model", b"\x80"), ("b.model", b""), ("c", b"{}")):
        (tmp_path / name).write_bytes(body)
        with pytest.raises(ValueError, match=f"{name}: got no file of Sen"):
            load(tmp_path / name)


def test_what_is_not_installed_comes_with_the_command(monkeypatch):
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    message = "pip install --no-deps openai-whisper brings it"
    with pytest.raises(RuntimeError, match=message):
        gpt2_ranks()


def test_by_hand_two_bits_a_byte():
    # Four tokens of ln 16 nats are 16 bits, for 8 bytes.
    assert bits_per_byte(math.log(16), [1, 2, 3, 4], "éééé") == 2


def test_the_same_guess_costs_the_same_with_any_tokenizer():
    """A model that gives each byte 1/256, whatever pieces it sees."""
    for tokenizer in (train(TEXT, 300), ByteBPE.from_tiktoken(gpt2_ranks())):
        pieces = tokenizer.pieces(TEXT)
        losses = [len(piece) * math.log(256) for piece in pieces]
        mean = sum(losses) / len(losses)
        assert bits_per_byte(mean, pieces, TEXT) == pytest.approx(8)


@pytest.mark.parametrize(
    ("loss", "text", "message"),
    [
        (-0.1, "a", "^loss: got -0.1, expected 0 or more"),
        (math.nan, "a", "^loss: got nan, expected 0 or more"),
        (1.0, "", "^text: got nothing, expected at least one"),
    ],
)
def test_what_costs_no_bits_is_named(loss, text, message):
    with pytest.raises(ValueError, match=message):
        bits_per_byte(loss, [1], text)
