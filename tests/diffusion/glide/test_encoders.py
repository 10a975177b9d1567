"""Encoders: padding is not seen, nothing is a condition, misfits are named."""

import pytest
import torch

from llmnotes.diffusion.glide import CaptionConfig, Vectors
from tests.diffusion.glide import small

IDS = small.IDS


def test_padding_is_not_seen():
    encoder = small.captions()
    short, long = IDS[:2, :4], IDS[:2]
    a, b = encoder(short), encoder(long)
    torch.testing.assert_close(a.vectors, b.vectors[:, :4])
    torch.testing.assert_close(a.summary, b.summary)
    net, x, time = small.network(), small.pictures(2), torch.rand(2)
    torch.testing.assert_close(net(x, time, short), net(x, time, long))


def test_the_order_of_words_is_seen():
    encoder = small.captions()
    turned = IDS[2:, [0, 3, 2, 1, 4]]
    there, here = encoder(turned).summary, encoder(IDS[2:]).summary
    assert not torch.allclose(there, here, atol=1e-3)


def test_the_summary_is_the_mean_of_the_words():
    read = small.captions()(IDS)
    torch.testing.assert_close(read.summary[0], read.vectors[0, :4].mean(0))
    torch.testing.assert_close(read.summary[2], read.vectors[2].mean(0))


def test_nothing_is_the_empty_caption_in_the_form_of_the_others():
    encoder = small.captions()
    nothing = encoder.nothing(IDS[:, :4])
    assert nothing.tolist() == [[1, 6, 0, 0]] * 3
    assert nothing.dtype == IDS.dtype
    assert encoder.silence(2).tolist() == [list(small.EMPTY)] * 2


def test_vectors_are_read_as_a_set_and_zeros_say_nothing():
    encoder = small.stirred(Vectors(4, 10, tokens=3))
    sent = torch.randn(2, 5, 4)
    read = encoder(sent)
    assert read.vectors.shape == (2, 15, 10) and read.visible is None
    flipped = encoder(sent.flip(1))
    torch.testing.assert_close(read.summary, flipped.summary)
    assert torch.equal(encoder.nothing(sent), torch.zeros(2, 5, 4))
    assert torch.equal(encoder.silence(2), torch.zeros(2, 1, 4))


@pytest.mark.parametrize(
    "ids, message",
    [
        (IDS.float(), "ids: got torch.float32, expected an integer dtype"),
        (IDS[0], r"ids: got shape \(5,\), expected \(batch, length\)"),
        (IDS.repeat(1, 2), "ids: got length 10, expected at most length = 5"),
        (IDS + 2, "ids: got 2 to 8, expected 0 to 6"),
    ],
)
def test_ids_that_are_none_are_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        small.captions()(ids)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"heads": 3}, "heads: got 3, expected a divisor of width = 10"),
        ({"empty": (0, 0, 0)}, r"empty: got \(0, 0, 0\), expected ids bel"),
        ({"empty": (1, 7)}, r"empty: got \(1, 7\), expected ids below 7"),
        ({"depth": -1}, "depth: got -1, expected at least 0"),
    ],
)
def test_encoders_that_cannot_be_are_refused(wrong, message):
    shape = dict(vocab=7, empty=small.EMPTY, width=10, depth=2, heads=2)
    with pytest.raises(ValueError, match=message):
        CaptionConfig(**shape | wrong)


def test_vectors_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"vectors: got shape \(2, 4\)"):
        Vectors(4, 10)(torch.zeros(2, 4))
