"""Captioned shapes as a task: what a batch is, and what it is not."""

import torch
from torch import nn

from llmnotes import scenes
from llmnotes.diffusion.ddpm import Data, Denoiser, Schedule
from llmnotes.diffusion.glide import runs
from llmnotes.diffusion.glide.task import (
    EMPTY,
    MOST,
    Drawing,
    emphasised_loss,
    pixels,
    shown,
    spread,
)
from llmnotes.scenes import VOCABULARY
from tests.diffusion.glide import small


def drawing(**options):
    return Drawing(scenes.scenes(1), **dict(steps=50, size=24) | options)


def test_a_batch_is_a_function_of_seed_and_step():
    one, two = drawing(), drawing()
    for a, b in zip(one.batch(7), two.batch(7), strict=True):
        assert torch.equal(a, b)
    for other in (one.batch(8), drawing(seed=1).batch(7)):
        assert not torch.equal(one.batch(7)[0], other[0])
        assert not torch.equal(one.batch(7)[3], other[3])


def test_pictures_are_those_of_their_captions_and_none_is_held_out():
    x0, ids, _, _ = drawing(drop=0.0).batch(0)
    assert -1 <= x0.min() and x0.max() <= 1
    captions = VOCABULARY.decode(ids)
    assert scenes.share_right(shown(x0), captions)["all"] == 1
    assert not any(scenes.parse(c).held_out for c in captions)


def test_pixels_come_back():
    images = torch.rand(2, 3, 5, 7)
    torch.testing.assert_close(shown(pixels(images)), images)


def test_dropped_captions_are_empty_and_as_many_as_was_said():
    few = drawing(drop=0.3, size=64)
    ids = torch.cat([few.batch(i)[1] for i in range(8)])
    empty = (ids == torch.tensor(EMPTY)).all(1)
    assert abs(empty.float().mean() - 0.3) < 0.06
    assert VOCABULARY.decode(ids[empty])[0] == ""
    assert not (drawing(drop=0.0).batch(0)[1] == torch.tensor(EMPTY)).all()


def test_times_are_spread_evenly_and_each_is_uniform():
    draw = torch.Generator().manual_seed(0)
    found = torch.stack([spread(25, 50, draw) for _ in range(400)])
    assert found.min() == 1 and found.max() == 50
    # Every batch has one picture in each pair of steps; which, differs.
    for row in found[:5]:
        assert sorted(((row - 1) // 2).tolist()) == list(range(25))
    each = found[:, 3].double()
    assert abs(each.mean() - 25.5) < 2


def test_the_judged_are_never_learned_from():
    one = drawing()
    assert torch.equal(one.judged[0], drawing(seed=5).judged[0])
    assert not any(torch.equal(one.judged[0][0], x) for x in one.batch(0)[0])


def test_an_untrained_network_errs_as_much_as_there_is_to_say():
    denoiser = runs.untrained(runs.ONE)
    learned = runs.task(denoiser, objects=1)
    x0, _, t, _ = learned.judged
    found = learned.evaluate(denoiser)
    bar = denoiser.schedule.alphas_bar[t]  # in double precision
    weight = (bar / (1 - bar)).clamp(1, MOST)[:, None, None, None]
    assert abs(found - (weight * x0.square()).mean().item()) < 1e-5


def test_an_error_weighs_as_its_snr_between_one_and_five_by_hand():
    class Says(Denoiser):
        def forward(self, xt, t, condition=None):
            return torch.zeros_like(xt)

    bars = torch.tensor([1.0, 0.9, 0.75, 0.4, 0.001]).double()
    denoiser = Says(nn.Identity(), Schedule(1 - bars[1:] / bars[:-1]), Data())
    x0, noise = torch.full((3, 1, 2, 2), 2.0), torch.zeros(3, 1, 2, 2)
    # SNR = .9/.1 = 9, .75/.25 = 3, .4/.6 = 2/3: it weighs 5, 3 and 1.
    for t, weight in ((1, 5.0), (2, 3.0), (3, 1.0)):
        times = torch.full((3,), t)
        found = emphasised_loss(denoiser, x0, times, noise)
        assert abs(found.item() - 4 * weight) < 1e-5
    together = emphasised_loss(denoiser, x0, torch.tensor([1, 2, 3]), noise)
    assert abs(together.item() - 12) < 1e-5


def test_the_loss_is_of_x0_whatever_the_network_says():
    denoiser = runs.untrained(runs.ONE, "velocity")
    learned = runs.task(denoiser, objects=1, size=6)
    x0, ids, t, noise = learned.batch(0)
    schedule = denoiser.schedule
    alpha, sigma = schedule.alpha(t, x0), schedule.sigma(t, x0)
    # An untrained network says v = 0, which means x0 = alpha x_t.
    guess = alpha * schedule.noisy(x0, t, noise)
    weight = (alpha / sigma).square().clamp(1, 5)
    expected = (weight * (guess - x0).square()).mean()
    found = emphasised_loss(denoiser, x0, t, noise, ids)
    torch.testing.assert_close(found, expected)


def test_the_loss_hears_the_caption_of_each_picture():
    denoiser = runs.untrained(runs.ONE)
    small.stirred(denoiser.network, size=0.1)
    x0, ids, t, noise = drawing(size=6, drop=0.0).batch(0)
    found = emphasised_loss(denoiser, x0, t, noise, ids)
    schedule = denoiser.schedule
    alpha, sigma = schedule.alpha(t, x0), schedule.sigma(t, x0)
    said = denoiser(alpha * x0 + sigma * noise, t, ids)
    weight = (alpha / sigma).square().clamp(1, 5)
    expected = (weight * (said - x0).square()).mean()
    torch.testing.assert_close(found, expected)
    for other in (None, ids.roll(1, 0)):
        apart = emphasised_loss(denoiser, x0, t, noise, other) - found
        assert abs(apart) > 1e-4 * found
