"""The running average of the weights: by hand, its lag, and who answers."""

import copy

import pytest
import torch
from torch import nn

from llmnotes import checkpoint
from llmnotes.diffusion.ddpm import EMA


def one_weight(value=0.0):
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    return network


def moved(ema, values):
    """Update once at each of some values of the weight."""
    for value in values:
        nn.init.constant_(ema.learner.weight, value)
        ema.update()
    return ema.average.weight.item()


def test_the_average_by_hand():
    ema = EMA(one_weight(), decay=0.5)
    # decays (1+n)/(10+n): .1, 2/11, 3/12
    first = 0.9 * 1.0
    second = 2 / 11 * first + 9 / 11 * 2.0
    third = 3 / 12 * second + 9 / 12 * 3.0
    assert moved(ema, (1.0, 2.0, 3.0)) == pytest.approx(third)


def test_the_decay_never_exceeds_its_end():
    ema = EMA(one_weight(), decay=0.9)
    decays = []
    for _ in range(200):
        decays.append(ema.decay_now())
        ema.update()
    assert decays[0] == 0.1 and decays[-1] == 0.9
    assert decays == sorted(decays)


def test_a_constant_decay_still_shows_the_random_start():
    """After 300 steps with .9999, 97 % of the average is where it began."""
    constant = EMA(one_weight(1.0), decay=0.9999)
    constant.decay_now = lambda: 0.9999
    early = moved(constant, [0.0] * 300)
    assert early == pytest.approx(0.9999**300, rel=1e-4)
    assert early > 0.97
    assert moved(EMA(one_weight(1.0), decay=0.9999), [0.0] * 300) < 1e-12


def test_it_lags_behind_a_weight_that_moves():
    """By decay / (1 - decay) steps, once the start is forgotten."""
    ema = EMA(one_weight(), decay=0.9)
    end = moved(ema, [float(n) for n in range(1, 301)])
    assert 300 - end == pytest.approx(9.0, rel=1e-3)


def test_the_learner_answers_in_training_and_the_average_else():
    ema, x = EMA(one_weight(), decay=0.9), torch.ones(1, 1)
    nn.init.constant_(ema.learner.weight, 5.0)
    assert ema.train()(x).item() == 5.0
    assert ema.eval()(x).item() == 0.0
    ema.train()(x).sum().backward()
    assert ema.average.weight.grad is None
    assert ema.learner.weight.grad is not None


def test_it_follows_an_optimizer():
    ema = EMA(one_weight(), decay=0.0)
    optimizer = torch.optim.SGD(ema.learner.parameters(), lr=1.0)
    ema.follow(optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        (-ema(torch.ones(1, 1))).sum().backward()
        optimizer.step()
    assert ema.updates == 3
    assert ema.average.weight.item() == ema.learner.weight.item() == 3.0


def test_the_average_is_saved_and_read_again(tmp_path):
    ema = EMA(one_weight(), decay=0.9)
    moved(ema, (1.0, 4.0, 2.0))
    optimizer = torch.optim.SGD(ema.learner.parameters(), lr=1.0)
    checkpoint.save(tmp_path, 3, ema, optimizer)
    other = EMA(one_weight(), decay=0.9)
    checkpoint.load(tmp_path, other)
    assert other.updates == 3
    twin = copy.deepcopy(ema)
    assert moved(other, (7.0,)) == moved(twin, (7.0,))


@pytest.mark.parametrize("decay", (-0.1, 1.0, 1.5))
def test_what_is_no_decay_is_refused(decay):
    with pytest.raises(ValueError, match=f"decay: got {decay}, expected 0 to"):
        EMA(one_weight(), decay)
