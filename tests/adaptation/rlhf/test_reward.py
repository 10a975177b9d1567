"""Reward model and critic read what the policy reads; Bradley and Terry."""

import math

import pytest
import torch
import torch.nn.functional as F

from llmnotes.adaptation.rlhf import (
    ActorCritic,
    RewardModel,
    answer_logits,
    bradley_terry_loss,
)
from tests.adaptation.rlhf.small import every_answer, policy

CHOSEN = torch.tensor([2.0, -1.0, 0.5])
REJECTED = torch.tensor([1.0, 1.0, 0.0])


def test_the_loss_is_cross_entropy_of_who_wins():
    expected = F.binary_cross_entropy_with_logits(
        CHOSEN - REJECTED, torch.ones(3)
    )
    torch.testing.assert_close(bradley_terry_loss(CHOSEN, REJECTED), expected)


def test_equal_rewards_cost_ln_2_and_a_constant_costs_nothing():
    loss = bradley_terry_loss(CHOSEN, CHOSEN)
    assert loss.item() == pytest.approx(math.log(2))
    moved = bradley_terry_loss(CHOSEN + 40, REJECTED + 40)
    torch.testing.assert_close(moved, bradley_terry_loss(CHOSEN, REJECTED))


def test_the_better_is_raised_as_much_as_the_worse_is_lowered():
    chosen, rejected = (x.clone().requires_grad_() for x in (CHOSEN, REJECTED))
    bradley_terry_loss(chosen, rejected).backward()
    torch.testing.assert_close(chosen.grad, -rejected.grad)
    assert (chosen.grad < 0).all()


def test_the_actor_says_what_its_policy_says_and_the_critic_nothing_yet():
    model = ActorCritic(policy()).double()
    logits, values = model(*every_answer())
    expected = answer_logits(policy(), *every_answer())
    torch.testing.assert_close(logits, expected)
    assert values.shape == logits.shape[:2] and not values.any()


def test_a_value_is_from_before_its_token():
    """Another last token changes no value; another first, the second's."""
    torch.manual_seed(0)
    model = ActorCritic(policy()).double()
    torch.nn.init.normal_(model.head.weight)
    prompts, answers = every_answer()
    values = model(prompts, answers)[1]
    assert torch.equal(values[0], values[1])  # answers 00 and 01
    assert values[0, 0] == values[3, 0] != values[0, 1]  # 00 and 10
    assert values[0, 1] != values[3, 1]


def test_a_reward_sees_the_whole_answer():
    torch.manual_seed(0)
    model = RewardModel(policy()).double()
    rewards = model(*every_answer())
    assert rewards.unique().numel() == len(rewards)


@pytest.mark.parametrize(
    ("chosen", "rejected", "message"),
    [
        (CHOSEN, REJECTED[:2], "rejected: got batch 2, expected chosen's 3"),
        (CHOSEN / 0, REJECTED, "chosen: got inf at 0, expected finite"),
        (CHOSEN, REJECTED * math.nan, "rejected: got nan at 0"),
        (CHOSEN[None], REJECTED, r"chosen: got shape \(1, 3\), expected"),
    ],
)
def test_what_cannot_be_is_refused(chosen, rejected, message):
    with pytest.raises(ValueError, match=message):
        bradley_terry_loss(chosen, rejected)


def test_a_reward_model_refuses_answers_to_other_prompts():
    prompts, answers = every_answer()
    with pytest.raises(ValueError, match="answers: got batch 2, expected pro"):
        RewardModel(policy()).double()(prompts, answers[:2])
