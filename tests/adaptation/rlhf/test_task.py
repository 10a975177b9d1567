"""Sums, and what demonstrators make of them."""

import pytest
import torch

from llmnotes.adaptation.rlhf import task
from llmnotes.transformer.gpt import GPT
from llmnotes.transformer.gpt.model import parameters


def ids(text):
    return torch.tensor([[task.SYMBOLS.index(letter) for letter in text]])


@pytest.mark.parametrize(
    ("problem", "right", "forgetful"),
    [("37+48=", "580", "570"), ("99+99=", "891", "880"),
     ("12+34=", "640", "640"), ("05+05=", "010", "000")],
)  # fmt: skip
def test_by_hand(problem, right, forgetful):
    assert task.spelled(task.right(ids(problem))[0]) == right
    assert task.spelled(task.forgetful(ids(problem))[0]) == forgetful
    assert task.carries(ids(problem)).item() == (right != forgetful)
    assert task.checker(ids(problem), ids(right)).item() == 1
    assert task.checker(ids(problem), ids(forgetful)) == (right == forgetful)


def test_all_problems_are_there_once_and_always_in_the_same_order():
    train, held_out = task.problems()
    texts = {task.spelled(p) for part in (train, held_out) for p in part}
    assert (len(train), len(held_out), len(texts)) == (8000, 2000, 10_000)
    assert torch.equal(task.problems()[0], train)


def test_sums_are_pythons_and_always_larger_than_forgetful_ones():
    prompts, _ = task.problems()
    powers = torch.tensor([1, 10, 100])
    right = task.right(prompts) @ powers
    for prompt, number in zip(prompts[:200], right.tolist(), strict=False):
        a, b = task.spelled(prompt)[:-1].split("+")
        assert int(a) + int(b) == number
    carries = task.carries(prompts)
    lost = task.forgetful(prompts) @ powers
    assert (right > lost)[carries].all() and (right == lost)[~carries].all()
    assert carries.double().mean().item() == pytest.approx(0.7, abs=0.01)


def test_six_in_ten_demonstrations_forget():
    prompts, _ = task.problems()
    draw = torch.Generator().manual_seed(0)
    answers = task.demonstrations(prompts, draw)
    carries = task.carries(prompts)
    wrong = 1 - task.checker(prompts, answers)
    assert wrong[carries].mean().item() == pytest.approx(0.6, abs=0.02)
    assert not wrong[~carries].any()
    forgot = (answers == task.forgetful(prompts)).all(1)
    assert torch.equal(forgot[carries], wrong[carries].bool())


def test_digits_are_judged_one_by_one():
    found = task.right_digits(ids("37+48="), ids("570"))
    assert found.tolist() == [[1, 0, 1]]


def test_a_policy_with_a_critic_has_225_985_numbers():
    with torch.device("meta"):
        assert parameters(GPT(task.SHAPE)) + task.SHAPE.n_embd + 1 == 225_985


@pytest.mark.parametrize(
    ("problem", "answer", "message"),
    [
        ("37*48=", "580", "prompts: got '37.48=' and others, expected"),
        ("37+48", "580", "prompts: got '37.48' and others"),
        ("3++48=", "580", "prompts: got 3 to 10, expected 0 to 9"),
        ("37+48=", "58", "answers: got length 2, expected 3"),
    ],
)
def test_what_is_no_problem_is_refused(problem, answer, message):
    prompts = ids(problem.replace("*", "="))
    with pytest.raises(ValueError, match=message):
        task.checker(prompts, ids(answer))
