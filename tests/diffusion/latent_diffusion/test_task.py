"""What both stages learn: the loss by hand, its gradients, its batches."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmnotes import scenes
from llmnotes.diffusion.glide.task import EMPTY, shown
from llmnotes.diffusion.latent_diffusion import (
    SMALL_AUTOENCODER,
    Autoencoder,
    AutoencoderConfig,
    DiagonalGaussian,
    scaling_factor,
)
from llmnotes.diffusion.latent_diffusion.task import (
    Encoding,
    LatentDrawing,
    autoencoder_loss,
)
from llmnotes.scenes import VOCABULARY
from tests.diffusion.latent_diffusion.witness import (
    AUTOENCODERS,
    draw,
    our_autoencoder,
)

ONE = AUTOENCODERS["one block"] | dict(in_channels=3)
AMONG = scenes.scenes(1)


class ByHand(Autoencoder):
    """One picture of two numbers, one latent."""

    def __init__(self):
        torch.nn.Module.__init__(self)

    def encode(self, pictures):
        at = 1, 1, 1, 1
        return DiagonalGaussian(
            torch.full(at, 2.0), torch.full(at, math.log(4.0))
        )

    def decode(self, latents):
        return torch.cat([latents, -latents], -1)


def test_the_loss_of_two_pixels_by_hand():
    """z = 2 + 2 · ½ = 3, errors 3 and -4; KL = ½(4 + 4 - 1 - ln 4)."""
    pictures = torch.tensor([[[[0.0, 1.0]]]])
    noise = torch.full((1, 1, 1, 1), 0.5)
    found = autoencoder_loss(ByHand(), pictures, noise, weight=0.1)
    kl = (7 - math.log(4)) / 2
    assert found.item() == pytest.approx((9 + 16 + 0.1 * kl) / 2, rel=1e-6)


def test_every_gradient_is_the_slope_of_the_loss():
    """Along a direction through all weights, by central differences."""
    model = our_autoencoder(ONE)
    pictures, noise = draw(2, 3, 6, 4), draw(2, 5, 3, 2, seed=2)
    weights = list(model.parameters())
    ways = [draw(*w.shape, seed=i) for i, w in enumerate(weights)]
    loss = autoencoder_loss(model, pictures, noise, 0.3)
    slopes = torch.autograd.grad(loss, weights)
    ends = []
    with torch.no_grad():
        for sign in (1, -1):
            for w, way in zip(weights, ways, strict=True):
                w.add_(way, alpha=sign * 1e-6)
            ends.append(autoencoder_loss(model, pictures, noise, 0.3).item())
            for w, way in zip(weights, ways, strict=True):
                w.sub_(way, alpha=sign * 1e-6)
    expected = sum(
        float((s * w).sum()) for s, w in zip(slopes, ways, strict=True)
    )
    measured = (ends[0] - ends[1]) / 2e-6
    assert measured == pytest.approx(expected, rel=1e-5)
    assert all(slope.abs().max() > 0 for slope in slopes)


@settings(max_examples=12)
@given(
    batch=st.integers(1, 3),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    depth=st.integers(1, 3),
    latent=st.integers(1, 3),
)
def test_any_size_that_fits_comes_back(batch, rows, columns, depth, latent):
    config = AutoencoderConfig(
        block_out_channels=(4, 6, 4)[:depth],
        latent_channels=latent,
        norm_num_groups=2,
    )
    model = Autoencoder(config).double()
    f = 2 ** (depth - 1)
    assert config.factor == f
    pictures = draw(batch, 3, rows * f, columns * f)
    latents = model.encode(pictures)
    assert latents.mean.shape == (batch, latent, rows, columns)
    assert model.decode(latents.mean).shape == pictures.shape
    at_zero = torch.zeros_like(latents.mean)
    whole = autoencoder_loss(model, pictures, at_zero, 2.0)
    error = (model(pictures)[0] - pictures).square().mean()
    kl = latents.kl().mean() * batch / pictures.numel()
    torch.testing.assert_close(whole, error + 2.0 * kl)


@settings(max_examples=20)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    scale=st.floats(0.01, 100),
)
def test_scaled_latents_have_variance_one_whatever_their_mean(shape, scale):
    latents = 3 + scale * draw(*shape, 7)
    scaled = latents * scaling_factor(latents)
    mean = scaled.mean()
    assert (scaled - mean).square().mean().item() == pytest.approx(1)
    assert scaling_factor(2 * latents) == pytest.approx(
        scaling_factor(latents) / 2
    )


def test_the_factor_of_three_numbers_by_hand():
    """1, 2, 3: variance 2/3, not 1, and no channel of its own."""
    latents = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    assert scaling_factor(latents) == pytest.approx(1.5**0.5)


def test_latents_that_do_not_differ_have_no_factor():
    message = "latents: got a standard deviation of 0.0, expected more than 0"
    with pytest.raises(ValueError, match=message):
        scaling_factor(torch.ones(2, 3, 4, 4))


def encoding(**options):
    return Encoding(SMALL_AUTOENCODER, AMONG, **dict(size=3) | options)


def test_batches_of_the_first_stage_are_a_function_of_seed_and_step():
    one, two = encoding(), encoding()
    for a, b in zip(one.batch(4), two.batch(4), strict=True):
        assert torch.equal(a, b)
    pictures, noise = one.batch(4)
    assert pictures.shape == (3, 3, 16, 16) and noise.shape == (3, 8, 4, 4)
    assert pictures.min() < -0.5 and pictures.max() > 0.5
    for other in (one.batch(5), encoding(seed=1).batch(4)):
        assert not torch.equal(pictures, other[0])
        assert not torch.equal(noise, other[1])


def test_a_weight_below_0_is_refused():
    for weight in (-0.1, float("nan")):
        with pytest.raises(ValueError, match=f"weight: got {weight}, expect"):
            encoding(weight=weight)


@pytest.fixture(scope="module")
def latents():
    torch.manual_seed(0)
    model = Autoencoder(replace(SMALL_AUTOENCODER, scaling_factor=2.5))
    return LatentDrawing(model, AMONG, steps=50, size=6, drop=0.5)


def test_latents_are_those_of_the_pictures_drawn_and_scaled(latents):
    x0, ids, t, noise = latents.batch(3)
    assert x0.shape == noise.shape == (6, 8, 4, 4)
    assert t.min() >= 1 and t.max() <= 50 and not x0.requires_grad
    drawn = scenes.batch(0, 3, 6, AMONG)
    there = latents.autoencoder.encode(2 * drawn.images - 1)
    z = (x0 / 2.5 - there.mean) / (there.logvar / 2).exp()
    assert abs(z.mean()) < 0.2 and abs(z.std() - 1) < 0.15
    told = VOCABULARY.encode(drawn.captions)
    empty = torch.tensor(EMPTY)
    for row, full in zip(ids, told, strict=True):
        assert torch.equal(row, full) or torch.equal(row, empty)
    assert any(torch.equal(row, empty) for row in ids)
    assert shown(2 * drawn.images - 1).shape[1:] == (3, 16, 16)


def test_batches_of_latents_are_a_function_of_seed_and_step(latents):
    for a, b in zip(latents.batch(2), latents.batch(2), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(latents.batch(2)[0], latents.batch(3)[0])
    assert not torch.equal(latents.batch(2)[0], latents.batch(2)[3])
