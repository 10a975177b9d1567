"""CLIP's tokenizer against transformers', and files it cannot read."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmnotes.diffusion.latent_diffusion.tokens import (
    END,
    CLIPTokenizer,
    read_tokenizer,
    words,
)
from tests.diffusion.latent_diffusion import captions

TEXTS = [
    "",
    "A small red circle left of a large blue square",
    "  red\t\nCIRCLE ",
    "don't, don'T, it's 'd!",
    "!'s ''s 's's x'll'll",
    "2024: 10x ½ ², 3.5",
    "naïve Ünïcode ΟΔΟΣ İstanbul ß ﬁ",
    "e\u0301 é \u0130 \u212a",
    "日本語 emoji 🙂🙂 a🙂b",
    "a\u00a0b\u2003c\x85d\x1ce",
    "_under_score- --- ... <b>",
]
SIGNS = "aAdsS'tlré0 1½²\u0301 \t.,!_<|>🙂ßΣé\u00a0\x1c"


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return read_tokenizer(captions.lay(tmp_path_factory.mktemp("ours")))


@pytest.fixture(scope="module")
def theirs():
    return captions.theirs()


def test_captions_become_their_ids(ours, theirs):
    assert torch.equal(ours(TEXTS), captions.their_ids(theirs, TEXTS))
    assert ours(TEXTS).shape == (len(TEXTS), captions.LONGEST)


@settings(max_examples=150, deadline=None)
@given(st.text(SIGNS, max_size=12))
def test_any_text_becomes_their_ids(ours, theirs, text):
    assert (
        ours.encode(text)
        == theirs(text, truncation=True, max_length=captions.LONGEST)[
            "input_ids"
        ]
    )


def test_a_caption_by_hand():
    """Four letters, of which c and i are joined first, then ci and r."""
    ids = {"<|startoftext|>": 0, END: 1, "cir": 2, "c</w>": 3, "ci": 4}
    ours = CLIPTokenizer(ids, {("c", "i"): 0, ("ci", "r"): 1}, longest=6)
    assert list(words("CIRC, it's")) == ["circ", ",", "it", "'s"]
    assert ours.pieces("circ") == ["cir", "c</w>"]
    assert ours(["Circ", "circ circ circ"]).tolist() == [
        [0, 2, 3, 1, 1, 1],
        [0, 2, 3, 2, 3, 1],
    ]


@pytest.mark.parametrize("pad", [END, "!!", {"content": "!!", "special": 1}])
def test_the_filling_is_what_the_files_say(pad, tmp_path):
    ours = read_tokenizer(captions.lay(tmp_path, pad))
    name = pad if isinstance(pad, str) else pad["content"]
    theirs = captions.theirs(pad=name)
    expected = captions.their_ids(theirs, ["red"])
    assert torch.equal(ours(["red"]), expected)


def test_the_files_of_newer_versions_are_read(ours, theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").exists()
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).unlink(missing_ok=True)
    assert torch.equal(read_tokenizer(tmp_path)(TEXTS), ours(TEXTS))


def test_half_a_character_is_refused(ours):
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        ours(["\ud83d"])


SPOILED = {
    "vocab.json: cannot be read": ("vocab.json", "{"),
    "vocab.json: ids: got no id for <|startoftext|>, expected one": (
        "vocab.json",
        '{"a": 0}',
    ),
    "merges.txt: got ['a', 'b', 'c'], expected two pieces": (
        "merges.txt",
        "a b c\n",
    ),
    "tokenizer_config.json: cannot be read": ("tokenizer_config.json", ""),
    "vocab.json: ids: got no id for [PAD], expected one": (
        "tokenizer_config.json",
        '{"pad_token": "[PAD]"}',
    ),
}


@pytest.mark.parametrize("message", SPOILED)
def test_what_cannot_be_read_is_named(message, tmp_path):
    captions.lay(tmp_path)
    name, text = SPOILED[message]
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError) as error:
        read_tokenizer(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/{message}")


def test_a_whole_file_without_a_model_is_refused(tmp_path):
    captions.lay(tmp_path)
    (tmp_path / "vocab.json").unlink()
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {}}))
    with pytest.raises(ValueError, match="model: got no vocab and merges"):
        read_tokenizer(tmp_path)
