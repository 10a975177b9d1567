"""Learning byte pairs against Hugging Face's trainer, joint for joint."""

import json

import pytest
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from llmnotes import corpora
from llmnotes.foundations.tokenizers import plain_train, train
from llmnotes.foundations.tokenizers.files import written
from llmnotes.foundations.tokenizers.training import Learner, joined

BOTH = pytest.mark.parametrize("learn", [plain_train, train])
REFERENCE = corpora.text()


def theirs(text, vocabulary):
    """Vocabulary and merges of Hugging Face's trainer."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False
    )
    found.train_from_iterator([text], trainer)
    model = json.loads(found.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def ours(text, vocabulary, learn=train):
    found = learn(text, vocabulary)
    merges = [(written(a), written(b)) for a, b in found.merges]
    return {written(piece): i for piece, i in found.ids.items()}, merges


@BOTH
def test_the_joints_are_hugging_faces(learn):
    text = REFERENCE[:60_000]
    assert ours(text, 700, learn) == theirs(text, 700)


def test_2000_pieces_of_a_whole_text_are_hugging_faces():
    assert ours(REFERENCE, 2000) == theirs(REFERENCE, 2000)


@settings(max_examples=30, deadline=None)
@given(st.text(st.sampled_from("aab 中é"), min_size=1, max_size=60))
def test_plain_and_compiled_learn_the_same_of_any_text(text):
    size = 256
    for more in (1, 2, 3, 5, 8):
        try:
            plain = plain_train(text, 256 + more)
        except ValueError as error:
            with pytest.raises(ValueError) as quick:
                train(text, 256 + more)
            assert str(quick.value) == str(error)
            break
        quick = train(text, 256 + more)
        assert quick.merges == plain.merges and quick.ids == plain.ids
        size = quick.size
    assert size >= 256


def test_by_hand_the_commonest_pair_is_joined_first():
    found = plain_train("aaabdaaabac", 259)
    made = [b"".join(pair) for pair in found.merges]
    assert made == [b"aa", b"ab", b"aaab"]
    assert found.pieces("aaabdaaabac") == [b"aaab", b"d", b"aaab", b"a", b"c"]


def test_counts_after_joints_are_those_of_counting_anew():
    learner = Learner([([1, 1, 1, 1, 2], 3), ([1, 2, 1, 1], 2), ([2, 1], 1)])
    for new in (3, 4, 5):
        pair = learner.commonest()
        learner.join(pair, new)
        fresh = Learner((list(row), n) for row, n in learner.words)
        assert +learner.pairs == fresh.pairs
    assert joined([1, 1, 1], (1, 1), 9) == [9, 1]


@BOTH
def test_what_was_learned_from_is_not_more_pieces_than_before(learn):
    found = learn(REFERENCE[:5000], 400)
    assert found.size == 400
    assert len(found.encode(REFERENCE[:5000])) < 5000 / 1.5
    assert found.decode(found.encode("ünknown 中 \x00")) == "ünknown 中 \x00"


def test_hugging_face_loads_what_we_trained_and_gives_its_ids(tmp_path):
    found = train(REFERENCE[:20_000], 500)
    found.save(tmp_path)
    other = hf.GPT2Tokenizer.from_pretrained(tmp_path)
    text = REFERENCE[30_000:31_000] + " naïve 中文"
    assert other.encode(text) == found.encode(text)


@BOTH
@pytest.mark.parametrize(
    ("text", "size", "message"),
    [
        ("abc", 255, "^vocabulary: got 255, expected at least 256$"),
        ("abab", 999, "^vocabulary: got 999, expected at most 258: the text"),
        ("", 257, "^vocabulary: got 257, expected at most 256: the text"),
        ("\ud800", 256, "^text: got '.ud800' at position 0, half of a"),
    ],
)
def test_what_cannot_be_learned_is_named(learn, text, size, message):
    with pytest.raises(ValueError, match=message):
        learn(text, size)
