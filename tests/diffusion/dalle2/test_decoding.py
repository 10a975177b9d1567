"""The decoder: told an embedding, guided by hiding it."""

import pytest
import torch

from llmnotes.diffusion.dalle2 import beginnings, decode, draw, scaled, told
from llmnotes.diffusion.ddim import DDIM
from llmnotes.diffusion.glide.task import shown
from tests.diffusion.dalle2 import small
from tests.diffusion.dalle2.small import fresh

IMAGES = small.pairs()[1][:3]


def noise(decoder, seed=0):
    return beginnings(decoder, 3, fresh(seed))


def test_it_begins_with_noise_in_the_shape_of_its_pictures():
    found = beginnings(small.painter(), 3, fresh(1))
    assert torch.equal(found, torch.randn(3, 3, 16, 16, generator=fresh(1)))


def test_in_one_step_it_says_what_its_network_says():
    decoder = small.painter()
    x, t = noise(decoder), torch.full((3,), 1000)
    said = decoder.data(x, t, told(IMAGES)).clamp(-1, 1)
    found = decode(decoder, IMAGES, x, steps=1)
    torch.testing.assert_close(found, said)


def test_what_its_network_says_is_the_picture():
    decoder = small.painter()
    x, t = noise(decoder), torch.tensor([1, 400, 1000])
    said = decoder.network(x, t / 1000, told(IMAGES))
    torch.testing.assert_close(decoder.data(x, t, told(IMAGES)), said)


def test_the_scale_leads_away_from_zeros_in_place_of_the_embedding():
    decoder = small.painter()
    x, t = noise(decoder), torch.full((3,), 1000)
    zeros = torch.zeros(3, 1, small.FEATURES)
    with_, without = (decoder.data(x, t, c) for c in (told(IMAGES), zeros))
    assert torch.equal(without, decoder.data(x, t))
    expected = (without + 3 * (with_ - without)).clamp(-1, 1)
    found = decode(decoder, IMAGES, x, scale=3.0, steps=1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_an_embedding_becomes_four_tokens_and_stands_beside_time():
    network = small.painter().network
    read = network.encoder(told(IMAGES))
    assert read.vectors.shape == (3, 4, small.SHAPE.context)
    torch.testing.assert_close(read.summary, read.vectors.mean(1))


def test_a_picture_is_a_function_of_its_noise_and_its_embedding():
    decoder = small.painter().train()
    one, two = (
        decode(decoder, IMAGES, noise(decoder), steps=3) for _ in range(2)
    )
    assert torch.equal(one, two) and decoder.training
    other = decode(decoder, IMAGES.flip(0), noise(decoder), steps=3)
    assert (one[0] - other[0]).abs().max() > 1e-2
    torch.testing.assert_close(one[1], other[1])  # its embedding is the same


def test_draws_are_from_zero_to_one_and_equal_for_equal_seeds():
    decoder = small.painter()
    one, two = (
        draw(decoder, IMAGES, generator=fresh(2), steps=2) for _ in range(2)
    )
    assert torch.equal(one, two) and one.min() >= 0 and one.max() <= 1
    x = decode(decoder, IMAGES, noise(decoder, 2), scale=2.0, steps=2)
    assert torch.equal(one, shown(x))


REFUSED = {
    "unit vectors": (
        lambda: decode(small.painter(), IMAGES / 7**0.5, torch.ones(3, 3, 16,
                                                                    16)),
        "images: got an embedding of length 1, expected √7 = 2.65; `scaled` "
        "makes it",
    ),
    "fewer noises": (
        lambda: decode(small.painter(), IMAGES, torch.ones(2, 3, 16, 16)),
        "x: got batch 2, expected images' 3",
    ),
    "another width": (
        lambda: decode(
            small.painter(),
            scaled(torch.ones(3, 5)),
            torch.ones(3, 3, 16, 16),
        ),
        "images: got 5 features, expected 7, as many as the decoder has "
        "learned",
    ),
    "too many steps": (
        lambda: decode(
            small.painter(), IMAGES, torch.ones(3, 3, 16, 16), steps=2000
        ),
        "steps: got 2000, expected 1 to 1000",
    ),
    "nothing to draw from": (
        lambda: decode(
            small.painter(), IMAGES, torch.ones(3, 3, 16, 16),
            solver=DDIM(0.5),
        ),
        "generator: got None, expected one for DDIM",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)
