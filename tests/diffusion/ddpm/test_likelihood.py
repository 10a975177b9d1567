"""Learning for likelihood: the task, three guesses, and a calmer γ."""

import functools
import math

import pytest
import torch

from llmnotes.diffusion.ddpm import likelihood
from llmnotes.diffusion.ddpm.continuous import diffusion
from llmnotes.diffusion.ddpm.log_snr import Gamma
from llmnotes.diffusion.ddpm.task import digits


@functools.cache
def task(size=64):
    (learn, _), (judge, _) = digits()
    return likelihood.Likelihood(learn, judge, size=size)


def test_a_batch_is_a_function_of_seed_and_step():
    first, again, next_one = (task().batch(step) for step in (3, 3, 4))
    for a, b, c in zip(first, again, next_one, strict=True):
        torch.testing.assert_close(a, b)
        assert not torch.equal(a, c)
    assert first[0].shape == (64, 64)


def test_times_are_spread_but_not_in_order():
    _, t, _ = task().batch(0)
    gaps = t.sort().values.diff()
    torch.testing.assert_close(gaps, torch.full_like(gaps, 1 / 64))
    assert (t.diff() < 0).sum() > 16


@pytest.mark.parametrize("name", likelihood.GUESSES)
def test_every_guess_learns_and_its_average_follows(name):
    guess = likelihood.untrained(name, seed=0, width=16, depth=1)
    with torch.no_grad():
        before = task().evaluate(guess.eval())
    likelihood.learn(
        guess.train(), task(), likelihood.config(20, 1e-2), progress=False
    )
    assert guess.network.updates == 20
    with torch.no_grad():
        assert task().evaluate(guess.eval()) < before < math.inf
        assert task().evaluate(guess.train()) < before


def test_the_loss_is_the_bits_of_the_middle_term():
    guess = likelihood.untrained("levels", width=16, depth=1)
    batch = task().batch(0)
    nats = diffusion(guess, Gamma(), *batch).mean()
    expected = float(nats.detach()) / 64 / math.log(2)
    assert float(task().loss(guess, batch).detach()) == pytest.approx(expected)


def test_before_learning_anything_levels_cost_what_a_level_is():
    """log2 17 = 4.09 bits, of which this is what the ends leave."""
    guess = likelihood.untrained("levels", width=16, depth=1)
    with torch.no_grad():
        for weight in guess.network.average.write.parameters():
            weight.zero_()
        found = task().evaluate(guess.eval())
    assert found == pytest.approx(math.log2(17), abs=0.1)


def test_a_calmer_gamma_varies_less_and_leaves_the_guess_alone():
    guess = likelihood.untrained("levels", width=16, depth=1).eval()
    gamma = likelihood.calm(guess, task(), steps=60, rate=0.2)
    assert all(p.grad is None for p in guess.parameters())
    x0, _, noise = task().judged
    t = torch.rand(len(x0), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        line, calm = (
            diffusion(guess, g, x0, t, noise) for g in (Gamma(), gamma)
        )
    assert float(calm.std()) < 0.8 * float(line.std())
    assert float(calm.mean()) == pytest.approx(float(line.mean()), rel=0.1)
