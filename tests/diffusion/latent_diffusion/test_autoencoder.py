"""The autoencoder against diffusers' AutoencoderKL, by hand, and refusals."""

import math

import pytest
import torch

from llmnotes.diffusion.latent_diffusion import (
    SD1_AUTOENCODER,
    SMALL_AUTOENCODER,
    Autoencoder,
    DiagonalGaussian,
)
from llmnotes.diffusion.latent_diffusion.autoencoder import gaussian
from tests.diffusion.latent_diffusion.witness import (
    AUTOENCODERS,
    apart,
    draw,
    gradients,
    our_autoencoder,
    their_autoencoder,
)

BATCH = 3
ONE = AUTOENCODERS["one block"]


@pytest.fixture(scope="module", params=AUTOENCODERS)
def pair(request):
    """Ours and theirs with the same weights."""
    shape = AUTOENCODERS[request.param]
    theirs = their_autoencoder(shape)
    return our_autoencoder(shape, theirs), theirs


@pytest.fixture(scope="module")
def one():
    return our_autoencoder(ONE)


def some_pictures(config, rows=2, columns=1):
    """As many as a batch, in multiples of what is allowed."""
    grid = rows * config.factor, columns * config.factor
    return draw(BATCH, config.in_channels, *grid).requires_grad_()


def noise(seed=3):
    return torch.Generator().manual_seed(seed)


def test_latents_and_pictures_are_those_of_diffusers(pair):
    ours, theirs = pair
    for grid in ((2, 1), (1, 3)):
        pictures = some_pictures(ours.config, *grid)
        found = ours.encode(pictures)
        expected = theirs.encode(pictures).latent_dist
        assert apart(found.mean, expected.mean) < 1e-10
        assert apart(found.logvar, expected.logvar) < 1e-10
        assert apart(found.kl(), expected.kl()) < 1e-10
        assert torch.equal(found.mode(), found.mean)
        latents = draw(*found.mean.shape)
        pictures = theirs.decode(latents).sample
        assert apart(ours.decode(latents), pictures) < 1e-10


def test_a_seed_draws_the_latents_that_diffusers_draws(pair):
    ours, theirs = pair
    pictures = some_pictures(ours.config)
    drawn = ours.encode(pictures).sample(noise())
    expected = theirs.encode(pictures).latent_dist.sample(noise())
    assert apart(drawn, expected) < 1e-10
    assert not torch.equal(drawn, ours.encode(pictures).sample(noise(4)))


def test_every_gradient_is_that_of_diffusers(pair):
    """Of a drawn reconstruction and the KL, as in training."""
    ours, theirs = pair
    pictures = some_pictures(ours.config)
    out, latents = ours(pictures, noise())
    found = gradients(ours, out + latents.kl().sum(), pictures)
    there = theirs.encode(pictures).latent_dist
    out = theirs.decode(there.sample(noise())).sample + there.kl().sum()
    for name, expected in gradients(theirs, out, pictures).items():
        # A constant in all keys changes no softmax.
        assert expected.abs().max() > 1e-6 or name.endswith("to_k.bias"), name
        assert apart(found.pop(name), expected) < 1e-10, name
    assert not found


def test_stable_diffusion_has_so_many_parameters():
    with torch.device("meta"):
        full, small = map(Autoencoder, (SD1_AUTOENCODER, SMALL_AUTOENCODER))
    assert sum(p.numel() for p in full.parameters()) == 83_653_863
    assert sum(p.numel() for p in small.parameters()) == 148_835


def test_the_kl_of_two_numbers_by_hand():
    """Means 1 and 0, variances 1 and e: ½(1 + 1 - 1 - 0) + ½(e - 1 - 1)."""
    place = (1, 1, 1, 2)
    mean = torch.tensor([1.0, 0.0]).view(place)
    logvar = torch.tensor([0.0, 1.0]).view(place)
    expected = torch.tensor([0.5 + (math.e - 2) / 2])
    torch.testing.assert_close(DiagonalGaussian(mean, logvar).kl(), expected)


def test_a_sample_has_mean_and_deviation_of_the_gaussian():
    shape = 1, 2, 300, 200
    mean = torch.full(shape, 0.5, dtype=torch.float64)
    latents = DiagonalGaussian(mean, torch.full_like(mean, 2 * math.log(3)))
    drawn = latents.sample(noise())
    assert abs(drawn.mean() - 0.5) < 0.05  # six standard errors
    assert abs(drawn.std() - 3) < 0.05
    assert drawn.dtype == torch.float64


def test_no_variance_is_infinite():
    moments = torch.tensor([0.0, 1e4]).view(1, 2, 1, 1)
    assert gaussian(moments).logvar.item() == 20
    assert gaussian(-moments).logvar.item() == -30
    assert gaussian(moments).kl().isfinite()


def test_what_diffusion_sees_is_scaled_and_scaled_back(one):
    pictures, scale = some_pictures(one.config), 0.18215
    latents = one.to_latents(pictures)
    assert torch.equal(latents, one.encode(pictures).mean * scale)
    drawn = one.to_latents(pictures, noise())
    assert torch.equal(drawn, one.encode(pictures).sample(noise()) * scale)
    assert torch.equal(one.to_pictures(latents), one.decode(latents / scale))
    assert apart(one.to_pictures(latents), one(pictures)[0]) < 1e-12


def test_small_pictures_become_four_by_four_latents():
    small = Autoencoder(SMALL_AUTOENCODER)
    pictures = torch.randn(2, 3, 16, 16)
    latents = small.encode(pictures).mean
    assert latents.shape == (2, 8, 4, 4)
    assert small.decode(latents).shape == pictures.shape


REFUSALS = {
    "pictures: got 3 channels, expected in_channels = 2": (
        lambda one: one.encode(draw(1, 3, 4, 4))
    ),
    "pictures: got 5 rows and 4 columns, expected multiples of 2": (
        lambda one: one.encode(draw(1, 2, 5, 4))
    ),
    "pictures: got 4 rows and 7 columns, expected multiples of 2": (
        lambda one: one(draw(1, 2, 4, 7), noise())
    ),
    "pictures: got shape (2, 4, 4), expected (batch, channels, rows, c": (
        lambda one: one.encode(draw(2, 4, 4))
    ),
    "pictures: got torch.uint8, expected a float dtype": (
        lambda one: one.encode(draw(1, 2, 4, 4).byte())
    ),
    "latents: got 2 channels, expected latent_channels = 5": (
        lambda one: one.decode(draw(1, 2, 3, 3))
    ),
    "latents: got shape (5, 3, 3), expected (batch, latent_channels, ": (
        lambda one: one.decode(draw(5, 3, 3))
    ),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_what_does_not_fit_is_refused_by_name(one, message):
    with pytest.raises(ValueError) as error:
        REFUSALS[message](one)
    assert str(error.value).startswith(message)
