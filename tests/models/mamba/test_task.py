"""The two tasks: what their texts hold, and that they can be scored."""

import pytest
import torch
from torch import nn

from llmnotes.models.mamba import task
from llmnotes.models.mamba.task import (
    ASK,
    BLANK,
    COUNT,
    MARK,
    SYMBOLS,
    VOCAB,
    Recall,
    copying,
    induction,
    right,
)


def draw(make, length=20, batch=50):
    return make(length, batch, torch.Generator().manual_seed(0))


def test_symbols_stand_among_blanks_in_the_order_that_is_asked_for():
    ids, said = draw(copying)
    assert ids.shape == (50, 24)
    assert (ids[:, -COUNT:] == ASK).all()
    for row, answer in zip(ids[:, :-COUNT], said, strict=True):
        assert row[row != BLANK].tolist() == answer.tolist()
        assert (row < ASK).all()
    places = {tuple((row != BLANK).tolist()) for row in ids}
    assert len(places) > 40


def test_the_mark_stands_twice_and_its_follower_is_asked_for():
    ids, said = draw(induction)
    for row, answer in zip(ids.tolist(), said.tolist(), strict=True):
        assert row.count(MARK) == 2
        assert row[-1] == MARK
        assert answer == [row[row.index(MARK) + 1]]
        assert answer[0] < SYMBOLS


@pytest.mark.parametrize("length", [4, 7])
def test_the_first_mark_stands_anywhere_but_in_the_last_two_places(length):
    ids, _ = draw(induction, length, 300)
    places = {row.index(MARK) for row in ids.tolist()}
    assert places == set(range(length - 2))


class Knowing(nn.Module):
    """Says what stood behind the first mark."""

    def forward(self, ids):
        place = (ids == MARK).long().argmax(1, keepdim=True)
        said = ids.gather(1, place + 1)
        logits = torch.zeros(*ids.shape, VOCAB)
        logits[:, -1].scatter_(1, said, 1.0)
        return logits


def test_who_knows_is_right_and_who_guesses_is_not():
    assert right(Knowing(), induction, 30) == 1
    assert Recall(induction, 30, 0).evaluate(Knowing()) == 0
    assert right(Knowing(), copying, 30) < 0.3


def test_batches_are_functions_of_seed_and_step():
    task, other = Recall(copying, 16, 0), Recall(copying, 16, 1)
    first, again = task.batch(3), task.batch(3)
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], task.batch(4)[0])
    assert not torch.equal(first[0], other.batch(3)[0])


def test_a_text_without_room_is_refused():
    with pytest.raises(ValueError, match="length: got 3, expected at least 4"):
        draw(copying, 3)
    with pytest.raises(ValueError, match="length: got 3, expected at least 4"):
        draw(induction, 3)


def test_training_choosing_and_reporting_draw_with_seeds_of_their_own():
    seen = []

    def draw(length, batch, generator):
        seen.append(generator.initial_seed())
        return task.induction(length, batch, generator)

    class Silent(torch.nn.Module):
        def forward(self, ids):
            return torch.zeros(*ids.shape, task.VOCAB)

    for seed in (0, 1, 100):
        for step in (0, 1, 1999):
            task.Recall(draw, 9, seed).batch(step)
    for length in (9, 10):
        task.right(Silent(), draw, length, texts=4)
        task.Recall(draw, length, 0).evaluate(Silent())
    assert len(set(seen)) == len(seen) == 13
    assert min(seen[9:]) > max(seen[:9])
