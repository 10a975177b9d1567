"""Runs of both stages: they learn, and say the same for a seed."""

import pytest
import torch

from llmnotes import scenes
from llmnotes.diffusion.glide import DiTConfig
from llmnotes.diffusion.glide import runs as glide
from llmnotes.diffusion.glide.task import pixels
from llmnotes.diffusion.latent_diffusion import runs
from llmnotes.diffusion.latent_diffusion.config import AutoencoderConfig
from llmnotes.diffusion.latent_diffusion.task import LatentDrawing

SMALL = AutoencoderConfig(
    latent_channels=3,
    block_out_channels=(4, 6, 8),
    norm_num_groups=2,
    scaling_factor=1.0,
)
TINY = DiTConfig(
    channels=3, rows=4, columns=4, patch=1, width=16, heads=2, depth=1
)
CAPTIONS = ["a small red circle", "a large blue triangle"]


def fresh(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def learned():
    """An autoencoder after a few steps, and the losses before and after."""
    model = runs.untrained_autoencoder(SMALL)
    task = runs.encoding(model, objects=1, size=8)
    before = task.evaluate(model)
    config = runs.config(steps=12, rate=1e-2)
    history = runs.learn_autoencoder(model, task, config, progress=False)
    return model, before, history[-1].validation_loss


def test_a_few_steps_lower_the_autoencoders_loss(learned):
    _, before, after = learned
    assert after < 0.8 * before


def test_latents_are_measured_after_training_and_have_deviation_1(learned):
    model, *_ = learned
    factor = model.config.scaling_factor
    pictures = runs.measured(scenes.scenes(1))
    assert factor != 1
    deviation = model.to_latents(pictures, fresh(3)).std().item()
    assert deviation == pytest.approx(1, abs=0.02)
    runs.rescale(model, pictures)
    assert model.config.scaling_factor == factor  # no matter how it was


def test_a_few_steps_lower_the_denoisers_loss_and_leave_the_first_stage(
    learned,
):
    model = learned[0]
    before = {n: p.clone() for n, p in model.state_dict().items()}
    denoiser = runs.untrained(TINY)
    task = runs.task(denoiser, model, objects=1, size=16)
    assert isinstance(task, LatentDrawing)
    start = task.evaluate(denoiser)
    history = runs.learn(
        denoiser, task, runs.config(steps=10, rate=1e-2), progress=False
    )
    assert history[-1].validation_loss < 0.9 * start
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_network_of_latents_has_as_many_tokens_as_that_of_pixels():
    assert runs.LATENTS.patches == glide.TWO.patches == 16
    depths = {(c.depth, c.width) for c in (runs.LATENTS, glide.TWO)}
    assert len(depths) == 1


def test_equal_seeds_draw_equal_pictures(learned):
    denoiser = runs.untrained(TINY, "noise")
    one, two, other = (
        runs.draw(denoiser, learned[0], CAPTIONS, generator=fresh(s), steps=2)
        for s in (0, 0, 1)
    )
    assert one.shape == (2, 3, 16, 16) and 0 <= one.min() <= one.max() <= 1
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert not one.requires_grad


def test_at_a_low_strength_little_changes(learned):
    """The network knows nothing and says 0: what is kept shows."""
    images = scenes.batch(0, 0, 4, scenes.scenes(1)).images
    denoiser = runs.untrained(TINY, "noise")  # ε = 0: nothing is moved
    again = runs.rebuilt(learned[0], images)
    apart = [
        (runs.changed(
            denoiser, learned[0], images, CAPTIONS * 2, strength=strength,
            generator=fresh(), steps=10,
        ) - again).square().mean().item()
        for strength in (0.1, 0.4, 0.7)
    ]  # fmt: skip
    assert apart == sorted(apart) and apart[0] < 0.3 * apart[2]


def test_pictures_go_there_and_back_through_the_mean(learned):
    model = learned[0]
    images = scenes.batch(0, 0, 3, scenes.scenes(2)).images
    x0 = model.to_latents(pixels(images)).detach()
    torch.testing.assert_close(
        runs.rebuilt(model, images), runs.decoded(model, x0)
    )


@pytest.mark.parametrize("objects", [1, 2])
def test_one_thing_gets_another_colour_and_no_pair_is_held_out(objects):
    wanted = scenes.batch(0, 0, 60, scenes.scenes(objects)).scenes
    found = runs.recoloured(wanted)
    assert found == runs.recoloured(wanted)
    assert found != runs.recoloured(wanted, seed=1)
    for old, new in zip(wanted, found, strict=True):
        assert not new.held_out and new.relation == old.relation
        pairs = list(zip(old.things, new.things, strict=True))
        assert sum(a != b for a, b in pairs) == 1
        assert all((a.size, a.shape) == (b.size, b.shape) for a, b in pairs)
    moved = [
        [
            a.colour != b.colour
            for a, b in zip(o.things, n.things, strict=True)
        ].index(True)
        for o, n in zip(wanted, found, strict=True)
    ]
    assert set(moved) == set(range(objects))
