"""The copy and adding tasks: what is shown, asked, judged and learned."""

import pytest
import torch

from llmnotes.sequence.lstm.task import (
    TASKS,
    Answerer,
    adding_batch,
    adding_loss,
    adding_score,
    copy_batch,
    copy_score,
    learn,
    score,
)
from llmnotes.sequence.rnn import RNN


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("lag", [0, 1, 7])
def test_copy_shows_waits_and_asks(lag):
    x, shown = copy_batch(5, lag, generator(), symbols=4, width=3)
    assert x.shape == (5, 3 + lag + 3, 6) and (x.sum(-1) == 1).all()
    ids = x.argmax(-1)
    assert torch.equal(ids[:, :3], shown)
    assert (ids[:, 3 : 3 + lag] == 4).all()  # blanks
    assert (ids[:, 3 + lag] == 5).all()  # the cue
    assert (ids[:, 4 + lag :] == 4).all()
    assert shown.min() == 0 and shown.max() == 3


@pytest.mark.parametrize("lag", [0, 1, 7])
def test_adding_marks_one_number_on_each_side_of_the_wait(lag):
    x, total = adding_batch(200, lag, generator(), edge=5)
    values, marks = x.unbind(-1)
    assert x.shape == (200, 10 + lag, 2)
    assert (marks[:, :5].sum(1) == 1).all()
    assert (marks[:, 5 + lag :].sum(1) == 1).all()
    assert (marks.sum(1) == 2).all()
    torch.testing.assert_close((values * marks).sum(1), total[:, 0])
    assert (marks.sum(0) > 0).sum() == 10  # every place of the edges is used


def test_what_may_be_remembered_alone_decides_the_answer():
    """The same seed gives the same question; another one another."""
    for task in TASKS.values():
        a, b, c = (task.batch(8, 3, generator(s)) for s in (1, 1, 2))
        assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
        assert not torch.equal(a[1], c[1])


def test_a_copier_is_always_right_and_a_guesser_one_time_in_eight():
    x, shown = copy_batch(2000, 4, generator())
    perfect = torch.zeros(2000, 10, 8)
    perfect[:, -3:] = torch.nn.functional.one_hot(shown, 8).float()
    assert copy_score(perfect, shown) == 1
    one = copy_score(torch.eye(8)[0].expand(2000, 10, 8), shown)
    assert one == pytest.approx(1 / 8, abs=0.02)


def test_always_saying_one_costs_a_sixth_and_is_right_one_time_in_13():
    x, total = adding_batch(20_000, 2, generator())
    one = torch.ones(20_000, 12, 1)
    assert adding_loss(one, total).item() == pytest.approx(1 / 6, abs=0.005)
    # The sum has a triangular density: 2 · 0.04 - 0.04² around its top.
    assert adding_score(one, total) == pytest.approx(0.0784, abs=0.006)


def test_a_network_learns_to_recall_over_a_short_lag():
    torch.manual_seed(0)
    task = TASKS["copy"]
    model = Answerer(RNN, task, 48)
    before = score(model, task, lag=2)
    taken = learn(model, task, lag=2, steps=300)
    assert before < 0.2 and score(model, task, lag=2) > 0.9
    assert taken < 300 and taken % 100 == 0  # it stopped when it was enough


def test_training_repeats_itself_to_the_bit():
    def trained():
        torch.manual_seed(0)
        model = Answerer(RNN, TASKS["add"], 5)
        learn(model, TASKS["add"], lag=2, steps=5)
        return model.head.weight

    assert torch.equal(trained(), trained())
