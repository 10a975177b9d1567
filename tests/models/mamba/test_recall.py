"""Recall of k pairs: the texts say what they claim."""

import pytest
import torch
from torch import Generator, nn

from llmnotes.models.mamba import recall
from llmnotes.models.mamba.recall import (
    NAMES,
    VALUES,
    VOCAB,
    Assignments,
    assignments,
    recalled,
)


def draws(seed=0):
    return Generator().manual_seed(seed)


@pytest.mark.parametrize("pairs", [1, 3, NAMES])
def test_each_name_gets_one_value_and_is_asked_for_once(pairs):
    ids, said = assignments(pairs, 5, draws())
    assert ids.shape == (5, 2 * pairs) and said.shape == (5, pairs)
    for row, answers in zip(ids.tolist(), said.tolist(), strict=True):
        told = dict(divmod(token, VALUES) for token in row[:pairs])
        asked = [token - NAMES * VALUES for token in row[pairs:]]
        assert len(told) == pairs
        assert sorted(asked) == sorted(told)
        assert answers == [told[name] for name in asked]


def test_all_names_values_and_orders_occur():
    ids, said = assignments(NAMES, 400, draws())
    assert set(said.flatten().tolist()) == set(range(VALUES))
    assert set(ids.flatten().tolist()) == set(range(VOCAB))
    first = ids[:, NAMES] - NAMES * VALUES
    assert (first != ids[:, 0] // VALUES).any()
    assert len(set(first.tolist())) == NAMES


def test_a_step_has_the_same_texts_whenever_it_is_asked_for():
    task = Assignments(seed=3)
    steps = [task.batch(step) for step in (0, 1, 0)]
    assert torch.equal(steps[0][0], steps[2][0])
    other = Assignments(seed=4).batch(0)[0]
    assert not torch.equal(other, steps[0][0])
    lengths = {task.batch(step)[1].shape[1] for step in range(200)}
    assert lengths == set(range(1, NAMES + 1))


class Knows(nn.Module):
    """Looks the value up; of every third text it says the next one."""

    def __init__(self, lies=False):
        super().__init__()
        self.lies = lies

    def forward(self, ids):
        logits = torch.zeros(*ids.shape, VOCAB)
        for b, row in enumerate(ids.tolist()):
            told = dict(divmod(t, VALUES) for t in row[: len(row) // 2])
            for t, token in enumerate(row):
                if token >= NAMES * VALUES:
                    value = told[token - NAMES * VALUES]
                    value += self.lies and b % 3 == 0
                    logits[b, t, value % VALUES] = 9
        return logits


def test_who_looks_it_up_is_right_and_a_third_of_lies_is_counted():
    task = Assignments(seed=0)
    assert recalled(Knows(), 5, texts=6) == 1
    assert recalled(Knows(lies=True), 5, texts=6) == pytest.approx(2 / 3)
    assert task.evaluate(Knows()) == 0
    assert task.loss(Knows(), task.batch(0)) < 0.05
    assert task.loss(Knows(lies=True), task.batch(0)) > 1


def test_what_is_judged_was_never_trained_on_and_judges_differ():
    seeds = [recall.HELD_OUT + 64 * p + s for p in range(17) for s in (0, 1)]
    assert min(seeds) > 100 * 2**20 + 1500 and len(set(seeds)) == len(seeds)


class Notes(nn.Module):
    """Writes down what it reads, and whether it was training."""

    def __init__(self):
        super().__init__()
        self.read, self.trained = [], []

    def forward(self, ids):
        self.read.append(ids)
        self.trained.append(self.training)
        return torch.zeros(*ids.shape, VOCAB)


def test_all_numbers_of_pairs_choose_and_other_texts_report():
    chosen, reported = Notes(), Notes()
    Assignments(seed=0).evaluate(chosen)
    for pairs in range(1, NAMES + 1):
        recalled(reported, pairs, 32)
    lengths = [2 * (k + 1) for k in range(NAMES)]
    assert [ids.shape[1] for ids in chosen.read] == lengths
    for one, other in zip(chosen.read, reported.read, strict=True):
        assert not torch.equal(one, other)
    assert chosen.trained == [False] * NAMES and chosen.training


def test_judges_seeds_are_those_that_no_run_begins_at(monkeypatch):
    seen = []
    made = recall.assignments

    def noted(pairs, texts, generator):
        seen.append(generator.initial_seed())
        return made(pairs, texts, generator)

    monkeypatch.setattr(recall, "assignments", noted)
    for pairs in (1, 7):
        for seed in (0, 1):
            recalled(Notes(), pairs, 2, seed)
    assert len(set(seen)) == 4 and min(seen) >= recall.HELD_OUT


@pytest.mark.parametrize("pairs", [0, NAMES + 1])
def test_pairs_that_cannot_be_are_refused(pairs):
    with pytest.raises(ValueError, match=f"pairs: got {pairs}"):
        assignments(pairs, 2, draws())
