"""Inpainting: known pixels come back as they were, and noise is conserved."""

import math

import pytest
import torch
from diffusers import RePaintScheduler

from llmnotes.diffusion.ddim import DDIM, sample
from llmnotes.diffusion.ddim.model import points
from llmnotes.diffusion.ddpm import Schedule, cosine
from llmnotes.diffusion.glide.inpainting import back, inpaint, put
from tests.diffusion.glide import small


def fresh(seed=0):
    return torch.Generator().manual_seed(seed)


def half(batch=3):
    """A mask that knows the left."""
    mask = torch.zeros(batch, 1, 6, 9, dtype=torch.bool)
    mask[..., :4] = True
    return mask


@pytest.mark.parametrize("rounds", (1, 3))
@pytest.mark.parametrize("eta", (0.0, 1.0))
def test_known_pixels_come_back_to_the_last_bit(rounds, eta):
    denoiser, mask = small.denoiser(small.network()), half()
    known = 3 * small.pictures()  # beyond the clip, too
    found = inpaint(
        denoiser, known, mask, small.IDS, generator=fresh(), steps=5,
        rounds=rounds, solver=DDIM(eta=eta),
    )  # fmt: skip
    whole = mask.expand_as(found)
    assert torch.equal(found[whole], known[whole])
    assert not torch.equal(found[~whole], known[~whole])
    assert found[~whole].abs().max() <= 1


def test_what_stands_under_the_unknown_does_not_matter():
    denoiser, mask = small.denoiser(small.network()), half()
    known = small.pictures()
    other = torch.where(mask, known, 7.0)
    one, two = (
        inpaint(denoiser, x, mask, small.IDS, generator=fresh(), steps=4)
        for x in (known, other)
    )
    assert torch.equal(one, two)


def test_what_is_drawn_sees_what_is_known():
    denoiser, mask = small.denoiser(small.network()), half()
    known = small.pictures()
    one, two = (
        inpaint(denoiser, x, mask, small.IDS, generator=fresh(), steps=4)
        for x in (known, known.roll(1, 0))
    )
    assert not torch.allclose(
        one[~mask.expand_as(one)], two[~mask.expand_as(two)]
    )


def test_with_nothing_known_it_is_sampling():
    denoiser, mask = small.denoiser(small.network()), ~half() & half()
    found = inpaint(
        denoiser, small.pictures(), mask, small.IDS, generator=fresh(),
        steps=6, solver=DDIM(),
    )  # fmt: skip
    plain = sample(
        denoiser, (3, 2, 6, 9), small.IDS, generator=fresh(), steps=6
    )
    torch.testing.assert_close(found, plain)


def test_rounds_are_calls_of_the_network_but_for_the_last_step():
    denoiser, calls = small.denoiser(small.network()), []
    denoiser.network.register_forward_hook(lambda *_: calls.append(1))
    inpaint(
        denoiser, small.pictures(), half(), small.IDS, generator=fresh(),
        steps=5, rounds=3,
    )  # fmt: skip
    assert len(calls) == 4 * 3 + 1


def test_known_pixels_are_as_noisy_as_the_rest():
    then = points(Schedule(cosine(100)), [60])[0]
    known = torch.full((1, 1, 300, 300), 0.5)
    mask = torch.zeros(known.shape, dtype=torch.bool)
    mask[..., :150] = True
    x = torch.full_like(known, 7.0)
    found = put(x, known, mask, then, lambda: torch.randn_like(known))
    assert (found[~mask] == 7).all()
    assert found[mask].mean() == pytest.approx(0.5 * then.alpha, abs=0.02)
    assert found[mask].std() == pytest.approx(then.sigma, abs=0.02)


def test_going_back_adds_as_much_noise_as_the_step_took():
    schedule = Schedule(cosine(100))
    now, then = points(schedule, [80, 60])
    x = 0.5 * then.alpha + then.sigma * torch.randn(
        400_000, generator=fresh(), dtype=torch.float64
    )
    y = back(x, then, now, torch.randn(x.shape, generator=fresh(1)).double())
    assert y.mean() == pytest.approx(0.5 * now.alpha, abs=3e-3)
    assert y.std() == pytest.approx(now.sigma, abs=3e-3)
    # DALLE2-pytorch subtracts deviations where squares belong.
    wrong = now.sigma - now.alpha / then.alpha * then.sigma
    kept = now.alpha / then.alpha
    assert math.hypot(kept * then.sigma, wrong) < 0.9 * now.sigma


def test_going_back_is_that_of_diffusers():
    scheduler = RePaintScheduler(beta_schedule="linear")
    scheduler.set_timesteps(1000)
    schedule = Schedule(scheduler.betas.double())
    x = torch.randn(2, 3, 5, 7, generator=fresh())
    theirs = scheduler.undo_step(x, 400, generator=fresh(1))
    now, then = points(schedule, [401, 400])
    noise = torch.randn(x.shape, generator=fresh(1))
    torch.testing.assert_close(back(x, then, now, noise), theirs)


@pytest.mark.parametrize("training", (True, False))
def test_modes_and_gradients_are_left_as_they_were(training):
    denoiser = small.denoiser(small.network()).train(training)
    denoiser.network.h[0].eval()
    found = inpaint(
        denoiser, small.pictures(), half(), small.IDS, generator=fresh(),
        steps=2,
    )  # fmt: skip
    assert denoiser.training == training and not denoiser.network.h[0].training
    assert not found.requires_grad


@pytest.mark.parametrize(
    "mask, options, message",
    [
        (half().float(), {}, "mask: got torch.float32, expected bool"),
        (half()[..., 1:], {}, "mask: got columns 8, expected known's 9"),
        (half(2), {}, "mask: got batch 2, expected known's 3"),
        (half()[:, 0], {}, r"mask: got shape \(3, 6, 9\), expected"),
        (half(), {"rounds": 0}, "rounds: got 0, expected at least 1"),
        (half(), {"steps": 21}, "steps: got 21, expected 1 to 20"),
    ],
)
def test_masks_and_counts_that_cannot_be_are_refused(mask, options, message):
    denoiser = small.denoiser(small.network())
    with pytest.raises(ValueError, match=message):
        inpaint(
            denoiser, small.pictures(), mask, small.IDS, generator=fresh(),
            **options,
        )  # fmt: skip
