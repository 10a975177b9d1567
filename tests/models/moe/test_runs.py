"""That what is measured after training measures what it says."""

import math

import pytest
import torch

from llmnotes.models.moe import active_parameters
from llmnotes.transformer.gpt import parameters
from tests.models.moe.training_runs import (
    CONTESTANTS,
    DENSE,
    LARGE,
    MIXTURE,
    bits,
    loss_of,
    specialised,
)


def test_contestants_have_the_flops_or_the_parameters_of_the_mixture():
    made = {name: kind(shape) for name, (kind, shape) in CONTESTANTS.items()}
    mixture, routers = made[MIXTURE], 4 * 8 * 128
    assert active_parameters(mixture) - routers == parameters(made[DENSE])
    assert parameters(mixture) - routers == parameters(made[LARGE])


def test_by_hand_bits_are_all_or_none():
    even = torch.arange(64)
    assert bits(even % 8, even % 8) == pytest.approx(3)
    assert bits(even % 8, even // 8) == pytest.approx(0)
    one, other = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    # H(¼, ¾) − ½ · H(½, ½)
    right = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75)) - 0.5
    assert bits(one, other) == pytest.approx(right)


def test_a_contestant_can_be_trained():
    ids = torch.arange(900) % 65
    assert loss_of(MIXTURE, 2e-3, 0, ids, ids[:200], steps=1) < 5


@pytest.mark.usefixtures("tiny_shakespeare")
def test_what_experts_are_asked_for_is_measured_in_each_layer():
    layers, loss = specialised(0.02, 0, steps=1, longest=4000)
    assert len(layers) == 4 and 3 < loss < 6
    for source, character, busiest in layers:
        assert 0 <= source <= 1
        assert 0 < character <= 3
        assert 1 / 8 <= busiest <= 1 / 2
