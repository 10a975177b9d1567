"""Policies learn from rewards; batches are functions of step and weights."""

import copy

import pytest
import torch

from llmnotes.adaptation.rlhf import ActorCritic, log_probs, sample
from llmnotes.adaptation.rlhf.runs import (
    GRPO,
    PPO,
    Imitation,
    Process,
    Reinforce,
    generator,
    learn,
    right_share,
)
from llmnotes.adaptation.rlhf.task import (
    DIGITS,
    checker,
    problems,
    right,
)
from tests.adaptation.rlhf.small import adder

PROMPTS = problems()[0][:500]


def sevens(prompts, answers):
    """A reward that is easy to earn: sevens."""
    return (answers == 7).float().mean(1)


def each_seven(prompts, answers):
    """The same, digit by digit."""
    return (answers == 7).float()


def earned(policy):
    """How many sevens it writes, of all digits."""
    answers = sample(policy, PROMPTS[:200], DIGITS, generator=generator(9))
    return sevens(None, answers).mean().item()


def given(policy, reward=sevens, seed=0):
    return policy, PROMPTS, PROMPTS[:5], reward, seed


@pytest.mark.parametrize(
    ("kind", "reward"),
    [(GRPO, sevens), (Reinforce, sevens), (Process, each_seven)],
)
def test_a_policy_learns_to_earn(kind, reward):
    policy = adder()
    before = earned(policy)
    learn(policy, kind(*given(policy, reward)), rate=2e-2, steps=15)
    assert before < 0.2 and earned(policy) > 0.4


def test_ppo_learns_to_earn_and_a_nat_has_its_price():
    found = []
    for beta in (0.0, 3.0):
        model, reference = ActorCritic(adder()), adder()
        task = PPO(model, reference, *given(None)[1:], 64, beta=beta)
        learn(model, task, rate=1e-2, steps=30)
        found.append(earned(model.gpt))
    free, dear = found
    assert free > 0.5 and dear < 0.2


@pytest.mark.parametrize("kind", (GRPO, Reinforce))
def test_a_batch_is_a_function_of_its_step_and_of_the_weights(kind):
    policy = adder()
    task, other = (kind(*given(policy)) for _ in range(2))
    for step in (3, 0, 3):
        for a, b in zip(task.batch(step), other.batch(step), strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(task.batch(3)[1], task.batch(4)[1])
    changed = kind(*given(policy, seed=1))
    assert not torch.equal(task.batch(3)[0], changed.batch(3)[0])


def test_a_group_has_one_prompt_and_advantages_of_its_own():
    policy = adder()
    task = GRPO(*given(policy), groups=5, size=7)
    prompts, answers, advantages = task.batch(0)
    groups = prompts.view(5, 7, -1)
    assert (groups == groups[:, :1]).all()
    assert advantages.view(5, 7).mean(1).abs().max() < 1e-6
    assert task.size == len(prompts) == 35


def test_dead_groups_are_counted_and_change_nothing():
    policy = adder()
    task = GRPO(*given(policy, lambda p, y: torch.ones(len(p))))
    assert not task.batch(0)[2].any() and task.dead == [1.0]
    before = [p.clone() for p in policy.parameters()]
    learn(policy, task, rate=1e-2, steps=2)
    after = policy.parameters()
    assert all(map(torch.equal, before, after))


def test_kl_holds_grpo_back():
    found = []
    for beta in (0.0, 3.0):
        policy = adder()
        task = GRPO(*given(policy), reference=adder(), beta=beta)
        learn(policy, task, rate=2e-2, steps=15)
        found.append(earned(policy))
    assert found[1] < 0.15 < found[0] / 2


def test_a_digit_answers_for_itself_and_for_what_follows():
    """Only the last digit's reward differs: all digits are blamed for it."""
    policy = adder()
    task = Process(*given(policy, each_seven), groups=1, size=2)
    found = task.judge(torch.tensor([[1.0, 0, 0], [1.0, 0, 1]]))
    assert (found[1] > 0).all() and torch.allclose(found[0], -found[1])
    found = task.judge(torch.tensor([[1.0, 0, 0], [0.0, 0, 0]]))
    assert found[0, 0] > 0 and not found[:, 1:].any()


def test_ppo_looks_at_its_answers_twice_and_remembers_who_drew_them():
    model = ActorCritic(adder())
    task = PPO(model, adder(), *given(None)[1:], 16)
    first, second, third = (task.batch(step) for step in range(3))
    assert first is second and third is not first
    prompts, answers, old, advantages, returns = first
    expected = log_probs(model.gpt, prompts, answers)
    torch.testing.assert_close(old, expected.detach())
    assert advantages.mean().abs() < 1e-6
    # No critic, no KL yet: all that is earned comes at the end.
    expected = sevens(prompts, answers)
    torch.testing.assert_close(returns[:, -1], expected)


def test_ppos_reward_falls_by_beta_for_a_nat():
    model, reference = ActorCritic(adder()), adder(1)
    given_ = *given(None)[1:3], lambda p, y: torch.zeros(len(p)), 0
    task = PPO(model, reference, *given_, 16, beta=0.5)
    prompts, answers, old, _, returns = task.batch(0)
    paid = log_probs(reference, prompts, answers) - old
    torch.testing.assert_close(returns[:, -1], 0.5 * paid[:, -1].detach())


def test_imitation_learns_what_it_is_shown():
    policy, few = adder(), PROMPTS[:4]
    task = Imitation(few, right(few), few, 8, 0)
    learn(policy, task, rate=2e-2, steps=60)
    assert right_share(policy, few) > 0.6
    assert task.evaluate(policy) == pytest.approx(1 - right_share(policy, few))


def test_the_share_of_right_answers_is_what_sampling_finds():
    policy, few = adder(), PROMPTS[:4]
    task = Imitation(few, right(few), few, 8, 0)
    learn(policy, task, rate=1e-2, steps=30)
    many = few.repeat(500, 1)
    drawn = checker(many, sample(policy, many, DIGITS, generator=generator(1)))
    assert right_share(policy, few) == pytest.approx(drawn.mean().item(),
                                                     abs=0.04)  # fmt: skip


def test_the_rate_falls_to_nothing():
    policy = adder()
    task = Imitation(PROMPTS, right(PROMPTS), PROMPTS[:5], 4, 0)
    history = learn(policy, task, rate=1e-3, steps=3, every=1)
    rates = [row.learning_rate for row in history]
    assert rates == pytest.approx([1e-3, 5e-4, 0])


def test_a_run_is_the_same_twice():
    found = []
    for _ in range(2):
        policy = adder()
        learn(policy, GRPO(*given(policy)), rate=1e-2, steps=3)
        found.append(copy.deepcopy(policy.state_dict()))
    one, two = found
    assert all(torch.equal(one[name], two[name]) for name in one)
