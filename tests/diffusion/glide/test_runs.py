"""Runs: they learn, say the same for a seed, and are judged by a program."""

import torch

from llmnotes import scenes
from llmnotes.diffusion.glide import runs
from llmnotes.diffusion.glide.model import DiTConfig
from llmnotes.diffusion.glide.task import shown
from llmnotes.scenes import VOCABULARY
from tests.diffusion.glide import small

TINY = DiTConfig(width=16, heads=2, depth=1)


def fresh(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_few_steps_lower_the_loss():
    denoiser = runs.untrained(TINY)
    learned = runs.task(denoiser, objects=1, size=16)
    before = learned.evaluate(denoiser)
    config = runs.config(steps=8, rate=1e-2)
    history = runs.learn(denoiser, learned, config, progress=False)
    assert history[-1].validation_loss < 0.7 * before


def test_all_weights_of_the_blocks_are_muons_and_all_move():
    denoiser = runs.untrained(TINY)
    before = {n: p.clone() for n, p in denoiser.named_parameters()}
    learned = runs.task(denoiser, objects=1, size=4)
    # What begins at zero wakes up from the last layer to the first word.
    runs.learn(denoiser, learned, runs.config(steps=8), progress=False)
    still = [
        name
        for name, p in denoiser.named_parameters()
        if torch.equal(p, before[name])
    ]
    assert not still


def test_equal_seeds_draw_equal_pictures_in_the_range_of_pictures():
    denoiser = runs.untrained(TINY)
    captions = ["a small red circle", "a large blue triangle"]
    one, two, other = (
        runs.draw(denoiser, captions, generator=fresh(s), steps=2)
        for s in (0, 0, 1)
    )
    assert torch.equal(one, two) and one.shape == (2, 3, 16, 16)
    assert 0 <= one.min() and one.max() <= 1 and torch.isfinite(other).all()


def test_the_scale_leads_away_from_the_empty_caption():
    denoiser = runs.untrained(TINY)
    small.stirred(denoiser.network)
    captions, t = ["a small red circle"] * 2, torch.tensor([1000, 1000])
    ids, x = (
        VOCABULARY.encode(captions),
        torch.randn(2, 3, 16, 16, generator=fresh()),
    )
    with_, without = (denoiser.data(x, t, i) for i in (ids, None))
    expected = shown((without + 3 * (with_ - without)).clamp(-1, 1))
    found = runs.draw(
        denoiser, captions, generator=fresh(), scale=3.0, steps=1
    )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_the_held_out_pairs_are_never_learned_from():
    for objects in (1, 2):
        learned = runs.task(runs.untrained(TINY), objects, size=64, drop=0.0)
        told = VOCABULARY.decode(learned.batch(0)[1])
        assert not any(scenes.parse(caption).held_out for caption in told)
        assert all(len(scenes.parse(c).things) == objects for c in told)


def test_what_is_asked_has_held_out_pairs_only_where_it_should():
    for held_out in (False, True):
        captions, wanted = runs.asked(20, held_out=held_out)
        assert all(s.held_out == held_out for s in wanted)
        told = map(scenes.parse, captions)
        assert all(map(scenes.same, told, wanted))


def test_a_network_that_knows_nothing_draws_nothing_right():
    found = runs.right(runs.untrained(TINY), count=6, steps=2)
    assert set(found) >= {"number", "colours", "relation", "all"}
    assert found["all"] == 0
