"""A picture in two halves: put together again, varied, and between two."""

import pytest
import torch

from llmnotes import scenes
from llmnotes.diffusion.dalle2 import (
    Halves,
    angle,
    between,
    decode,
    halved,
    scaled,
    slerp,
    varied,
)
from llmnotes.diffusion.ddim import DDIM
from llmnotes.diffusion.glide.task import pixels
from tests.diffusion.dalle2 import small
from tests.diffusion.dalle2.small import fresh

X0 = pixels(scenes.batch(0, 0, 3).images)
STEPS = 40


def both(rounds=3):
    """Both halves of three pictures, and the decoder."""
    decoder = small.exact()
    return decoder, halved(
        small.clip(), decoder, X0, steps=STEPS, rounds=rounds
    )


def test_the_first_half_is_what_clip_sees():
    clip = small.clip().train()
    halves = halved(clip, small.painter(), X0, steps=2)
    expected = scaled(clip.embed_images(X0)).detach()
    torch.testing.assert_close(halves.images, expected)
    assert clip.training and not halves.images.requires_grad


def test_both_halves_together_are_the_picture():
    decoder, halves = both()
    found = varied(decoder, halves, eta=0.0, steps=STEPS)
    assert (found - X0).square().mean().sqrt() < 5e-3
    one = varied(decoder, both(1)[1], eta=0.0, steps=STEPS)
    assert (one - X0).square().mean().sqrt() > 2e-2  # one round is coarse


def test_the_other_half_belongs_to_this_embedding_alone():
    """Told of another picture, the same noise becomes something else."""
    decoder, halves = both()
    other = halves._replace(images=-halves.images)
    found = varied(decoder, other, eta=0.0, steps=STEPS)
    assert (found - X0).square().mean().sqrt() > 1e-2


def test_the_more_is_drawn_the_farther_a_variation_lies():
    decoder, halves = both()
    far = [
        (varied(decoder, halves, eta=eta, generator=fresh(), steps=STEPS) - X0)
        .square().mean().sqrt().item()
        for eta in (0.0, 0.3, 1.0)
    ]  # fmt: skip
    assert far[0] < far[1] < far[2]


def test_a_variation_is_ddim_with_eta_from_this_noise():
    decoder, halves = both(1)
    found = varied(decoder, halves, eta=0.7, generator=fresh(3), steps=4)
    expected = decode(
        decoder, halves.images, halves.x, steps=4, solver=DDIM(0.7),
        generator=fresh(3),
    )  # fmt: skip
    assert torch.equal(found, expected)
    other = varied(decoder, halves, eta=0.7, generator=fresh(4), steps=4)
    assert not torch.equal(found, other)


def some(seed):
    """Halves of nothing in particular, both on their spheres."""
    x = small.noise(2, 3, 4, 5, seed=seed)
    x = x / x.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return Halves(scaled(small.noise(2, 7, seed=seed + 10)), x)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_between_two_both_halves_turn_together(share):
    first, second = some(1), some(2)
    found = between(first, second, share)
    for one, middle, two in zip(first, found, second, strict=True):
        whole = angle(one, two)
        torch.testing.assert_close(angle(one, middle), share * whole)
        length = one.flatten(1).norm(dim=1)
        torch.testing.assert_close(middle.flatten(1).norm(dim=1), length)


def test_one_noise_for_all_shares_is_the_papers_other_way():
    first, second = some(1), some(2)
    middle = slerp(first.images, second.images, 0.4)
    found = first._replace(images=middle)
    assert torch.equal(found.images, between(first, second, 0.4).images)
    assert torch.equal(found.x, first.x)


REFUSED = {
    "an eta beyond": (
        lambda: varied(*both(1), eta=1.5),
        "eta: got 1.5, expected 0 to 1",
    ),
    "nothing to draw from": (
        lambda: varied(*both(1), eta=0.5),
        "generator: got None, expected one for DDIM",
    ),
    "a share beyond": (
        lambda: between(some(1), some(2), -0.1),
        "share: got -0.1, expected 0 to 1",
    ),
    "pictures of another size": (
        lambda: halved(small.clip(), small.painter(), X0[:, :, :8]),
        "images: got (3, 8, 16), expected channels, rows and columns",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)
