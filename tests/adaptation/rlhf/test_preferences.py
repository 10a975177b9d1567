"""Pairs, the best of several answers, and answers that are kept."""

import pytest
import torch

from llmnotes.adaptation.rlhf import RewardModel, log_probs
from llmnotes.adaptation.rlhf.preferences import (
    DPO,
    Comparisons,
    Pairs,
    best_of,
    keep_what_is_right,
    pairs,
    ranked,
    sampled_pairs,
    vote,
)
from llmnotes.adaptation.rlhf.runs import learn
from llmnotes.adaptation.rlhf.task import DIGITS, checker, problems
from tests.adaptation.rlhf.small import adder


def some(count, seed=0):
    """Pairs of the first problems."""
    return pairs(problems()[0][: count + seed])


def test_pairs_are_right_against_wrong_where_something_is_carried():
    prompts, chosen, rejected = some(100)
    assert 50 < len(prompts) < 90
    assert checker(prompts, chosen).all()
    assert not checker(prompts, rejected).any()


def test_a_pass_visits_every_pair_once_and_a_step_its_own():
    numbers = torch.arange(23)
    task = Pairs((numbers, -numbers, numbers), None, 5, 0)
    assert task.steps == 4
    passes = [
        torch.cat([task.batch(step)[0] for step in range(first, first + 4)])
        for first in (0, 4)
    ]
    for seen in passes:
        assert len(seen.unique()) == 20
    assert not torch.equal(*passes)
    again = Pairs((numbers, -numbers, numbers), None, 5, 0)
    assert torch.equal(again.batch(6)[1], task.batch(6)[1])
    assert torch.equal(again.batch(6)[0], -task.batch(6)[1])


def test_a_reward_model_learns_to_rank():
    torch.manual_seed(0)
    model = RewardModel(adder())
    known = some(40)
    before = ranked(model, *known)
    task = Comparisons(known, known, 9, 0)
    learn(model, task, rate=1e-2, steps=20)
    assert before < 0.9 < ranked(model, *known)
    assert task.evaluate(model) == pytest.approx(1 - ranked(model, *known))


def test_dpo_widens_the_margin_and_leaves_its_reference_alone():
    reference, model = adder(), adder()
    prompts, chosen, rejected = known = some(40)
    before = {n: p.clone() for n, p in reference.named_parameters()}
    learn(model, DPO(reference, known, prompts, 9, 0), rate=1e-2, steps=10)
    with torch.no_grad():
        gained, lost = (
            (log_probs(model, prompts, y) - log_probs(reference, prompts, y))
            .sum(1)
            .mean()
            for y in (chosen, rejected)
        )
    assert gained > lost + 1
    assert all(torch.equal(p, before[n])
               for n, p in reference.named_parameters())  # fmt: skip


def first(prompts, answers):
    """Give 1 for a unit of 3."""
    return (answers[:, 0] == 3).float()


def value(prompts, answers):
    """Give what the digits are worth, the first one most."""
    return (answers @ torch.tensor([100, 10, 1])).float()


def test_only_what_earns_a_reward_is_kept():
    prompts = problems()[0][:300]
    kept, answers = keep_what_is_right(adder(), prompts, first, 0, draws=3)
    assert len(kept) == len(answers) and (answers[:, 0] == 3).all()
    assert 30 < len(kept) < 300  # about a tenth of 900
    nothing, _ = keep_what_is_right(adder(), prompts, lambda p, y: first(p, y)
                                    * 0, 0)  # fmt: skip
    assert not len(nothing)


def test_pairs_of_its_own_are_its_best_and_its_worst_answer():
    prompts = problems()[0][:60]
    found, chosen, rejected = sampled_pairs(adder(), prompts, first, 0, 5)
    assert (chosen[:, 0] == 3).all() and (rejected[:, 0] != 3).all()
    assert 10 < len(found) < 40  # 1 - (11/12)^5 of 60 is 21
    known = {tuple(p) for p in prompts.tolist()}
    assert {tuple(p) for p in found.tolist()} <= known


def test_the_best_of_n_is_the_one_with_the_highest_score():
    prompts = problems()[0][:7]
    best = best_of(adder(), prompts, value, 0, 5)
    many = prompts.repeat_interleave(5, dim=0)
    # The same draw again, looked at row by row.
    drawn = []
    best_of(adder(), prompts, lambda p, y: drawn.append((p, y)) or value(p, y),
            0, 5)  # fmt: skip
    assert torch.equal(drawn[0][0], many)
    scores = value(*drawn[0]).view(7, 5).amax(1)
    assert torch.equal(value(prompts, best), scores)
    assert best.shape == (7, DIGITS)


def test_a_vote_elects_what_came_most_often(monkeypatch):
    module = "llmnotes.adaptation.rlhf.preferences.sample"
    drawn = torch.tensor(
        [[1, 2, 3], [4, 5, 6], [4, 5, 6], [7, 7, 7], [7, 7, 8], [7, 7, 7]]
    )
    monkeypatch.setattr(module, lambda *args, **kwargs: drawn)
    elected = vote(adder(), problems()[0][:2], 0, 3)
    assert elected.tolist() == [[4, 5, 6], [7, 7, 7]]
