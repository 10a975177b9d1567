"""Captions as rows of ids of one length, and back."""

import pytest
import torch

from llmnotes.scenes.scene import scenes
from llmnotes.scenes.telling import captions
from llmnotes.scenes.vocabulary import LENGTH, VOCABULARY, Vocabulary


def test_every_caption_fits_the_length_and_comes_back():
    told = [text for s in scenes(2, None)[::41] for text in captions(s)]
    told += [text for s in scenes(1, None) for text in captions(s)]
    ids = VOCABULARY.encode(told)
    assert ids.shape == (len(told), LENGTH) and ids.dtype == torch.int64
    assert VOCABULARY.decode(ids) == told
    lengths = (ids != VOCABULARY.pad).sum(1)
    assert lengths.max() == LENGTH and lengths.min() == 4 + 2
    marks = (ids == VOCABULARY.start) | (ids == VOCABULARY.end)
    assert (marks.sum(1) == 2).all() and marks[:, 0].all()
    ends = ids.argmax(1)  # as OpenAI's CLIP finds the end
    assert (ids.gather(1, ends[:, None]) == VOCABULARY.end).all()
    torch.testing.assert_close(ends, lengths - 1)


def test_by_hand_six_words_between_two_marks():
    ids = Vocabulary(8).encode(["a small red circle"])
    names = [VOCABULARY.symbols[i] for i in ids[0].tolist()]
    assert names == [
        *("[start]", "a", "small", "red", "circle", "[end]", "[pad]", "[pad]")
    ]
    assert VOCABULARY.size == 30
    assert (VOCABULARY.pad, VOCABULARY.start, VOCABULARY.end) == (0, 1, 29)


def test_no_captions_are_no_rows_and_a_row_without_end_is_read():
    assert VOCABULARY.encode([]).shape == (0, LENGTH)
    assert VOCABULARY.decode(torch.tensor([[2, 3]])) == ["a small"]
    assert VOCABULARY.decode(torch.tensor([[1, 2, 29, 3]])) == ["a"]


@pytest.mark.parametrize(
    ("go", "said"),
    [
        (
            lambda: VOCABULARY.encode(["a smaller red circle"]),
            "caption: got the unknown word 'smaller' at position 1.*'small'",
        ),
        (lambda: VOCABULARY.encode("a"), "captions: got the string 'a'"),
        (
            lambda: VOCABULARY.encode(["a " * 15]),
            "caption: got 15 words, expected at most 14",
        ),
        (
            lambda: VOCABULARY.decode(torch.tensor([[1, 30]])),
            "ids: got 30, expected 0 to 29",
        ),
        (
            lambda: VOCABULARY.decode(torch.tensor([[-1]])),
            "ids: got -1, expected 0 to 29",
        ),
        (lambda: Vocabulary(2), "length: got 2, expected at least 3"),
    ],
)
def test_what_is_no_caption_or_no_id_is_refused(go, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        go()
