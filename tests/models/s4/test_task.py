"""The digits, cut into parts that share nothing; contestants of one size."""

import pytest
import torch

from llmnotes import data
from llmnotes.models.s4.task import PARTS, Digits, digits
from tests.models.s4.training_runs import (
    CONTESTANTS,
    ONE,
    built,
    copied,
    read_digits,
)


def test_parts_are_all_digits_and_share_none():
    found = torch.cat([digits(part)[0].flatten(1) for part in PARTS])
    images, _ = data.images("digits")
    everything = 2 * torch.from_numpy(images).flatten(1) - 1
    assert len(found) == len(everything) == 1797
    rows = [sorted(map(tuple, part.tolist())) for part in (found, everything)]
    assert rows[0] == rows[1]


def test_no_digit_is_judged_that_was_trained_on():
    for part in ("chosen", "reported"):
        task = Digits(1, 5, 0, part)
        assert torch.equal(task.x, digits("train")[0])
        assert torch.equal(task.judged[0], digits(part)[0])


def test_an_evaluation_is_the_share_of_wrong_answers():
    task = Digits(1, 5, 0, "chosen")

    class Seven(torch.nn.Module):
        def forward(self, x):
            return torch.eye(10)[7].expand(len(x), x.shape[1], 10)

    x, y = digits("chosen")
    assert x.min() == -1 and x.max() == 1
    sevens = (y == 7).double().mean().item()
    assert task.evaluate(Seven()) == pytest.approx(1 - sevens)


def test_a_longer_digit_is_the_same_picture():
    short, labels = digits("chosen")
    long, same = digits("chosen", scale=3)
    assert long.shape == (300, 24 * 24, 1)
    assert torch.equal(labels, same)
    picture = long.view(300, 24, 24)
    assert torch.equal(picture[:, 1::3, 2::3].flatten(1), short[..., 0])


def test_a_batch_depends_on_seed_and_step_alone():
    one, other = (Digits(1, 5, seed, "chosen") for seed in (0, 1))
    assert torch.equal(one.batch(3)[0], Digits(1, 5, 0, "chosen").batch(3)[0])
    assert not torch.equal(one.batch(3)[0], one.batch(4)[0])
    assert not torch.equal(one.batch(3)[0], other.batch(3)[0])


@pytest.mark.parametrize(("input", "output"), [(1, 10), (10, 8)])
def test_contestants_are_of_one_size_within_a_twelfth(input, output):
    sizes = [
        sum(p.numel() for p in built(name, input, output, 64).parameters())
        for name in CONTESTANTS
    ]
    assert max(sizes) < 13 / 12 * min(sizes)


@pytest.mark.parametrize("name", CONTESTANTS)
def test_every_contestant_answers_at_every_place(name):
    model = built(name, 10, 8, 7)
    x, _ = ONE.batch(3, 5, torch.Generator().manual_seed(0))
    assert model(x).shape == (3, 7, 8)


def test_runs_can_be_begun():
    (right,) = read_digits("S4D", 1, "chosen", 1e-3, 0, steps=2)
    assert 0 <= right <= 1
    (right,) = copied("RNN", 3, 1e-3, 0, steps=2)
    assert 0 <= right <= 1


def test_a_run_that_explodes_is_lost_and_ends_no_race():
    with pytest.raises(RuntimeError):
        read_digits("S4D", 1, "chosen", 1e4, 0, steps=5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: digits("test"),
            "part: got 'test', expected one of train, chosen, reported",
        ),
        (lambda: digits("train", 0), "scale: got 0, expected at least 1"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message
