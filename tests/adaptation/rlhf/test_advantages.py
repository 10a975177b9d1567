"""GAE against its sums, groups against trl's numbers, refusals."""

import math

import pytest
import torch
from trl.trainer.utils import nanstd

from llmnotes.adaptation.rlhf import (
    alive,
    centred_advantages,
    gae,
    group_advantages,
    whitened,
)

BATCH, LENGTH = 3, 5
LENGTHS = torch.tensor([5, 1, 3])
MASK = torch.arange(LENGTH) < LENGTHS[:, None]


def numbers(seed, shape=(BATCH, LENGTH)):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=draw, dtype=torch.float64)


def by_its_sum(rewards, values, discount, trace):
    """Equation 16 as it is printed: Σ (γλ)^l δ_{t+l}, for one answer."""
    after = [*values[1:], 0.0]
    steps = zip(rewards, after, values, strict=True)
    deltas = [r + discount * a - v for r, a, v in steps]
    return [
        sum((discount * trace) ** k * d for k, d in enumerate(deltas[t:]))
        for t in range(len(deltas))
    ]


@pytest.mark.parametrize("discount", (1.0, 0.9, 0.0))
@pytest.mark.parametrize("trace", (1.0, 0.7, 0.0))
def test_gae_is_its_sum_and_padding_is_not_there(discount, trace):
    rewards, values = numbers(0), numbers(1)
    found, returns = gae(rewards, values, MASK, discount=discount, trace=trace)
    for i, length in enumerate(LENGTHS.tolist()):
        given = rewards[i, :length].tolist(), values[i, :length].tolist()
        expected = by_its_sum(*given, discount, trace)
        assert found[i, :length].tolist() == pytest.approx(expected)
        assert not found[i, length:].any() and not returns[i, length:].any()
    torch.testing.assert_close(returns, found + values * MASK)


def test_gae_by_hand():
    """γ = 1, λ = ½, r = (0, 1), V = (0.5, 0.8): δ = (0.3, 0.2)."""
    given = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.8]])
    advantages, returns = gae(*given, trace=0.5)
    torch.testing.assert_close(advantages, torch.tensor([[0.4, 0.2]]))
    torch.testing.assert_close(returns, torch.tensor([[0.9, 1.0]]))


def test_a_whole_trace_compares_what_came_with_what_was_expected():
    rewards, values = numbers(0), numbers(1)
    came = rewards.flip(1).cumsum(1).flip(1)
    advantages, returns = gae(rewards, values, trace=1)
    torch.testing.assert_close(returns, came)
    torch.testing.assert_close(advantages, came - values)


def test_a_perfect_critic_leaves_nothing_to_be_learned():
    rewards = numbers(0)
    values = rewards.flip(1).cumsum(1).flip(1)
    assert gae(rewards, values)[0].abs().max() < 1e-12


def test_advantages_have_no_gradient_and_nothing_is_changed():
    rewards, values = numbers(0), numbers(1).requires_grad_()
    kept = rewards.clone()
    for x in gae(rewards, values, MASK):
        assert not x.requires_grad
    assert torch.equal(rewards, kept)


def test_what_stands_in_padding_may_be_no_number():
    rewards = numbers(0).masked_fill(~MASK, math.nan)
    assert gae(rewards, numbers(1), MASK)[0].isfinite().all()


def test_groups_are_measured_as_in_trl():
    rewards = numbers(2, (4, 7)).round()
    std = nanstd(rewards, dim=1)[:, None]
    expected = (rewards - rewards.mean(1, keepdim=True)) / (std + 1e-4)
    torch.testing.assert_close(group_advantages(rewards), expected)


def test_a_group_by_hand():
    """Of four answers one is right: 1.5 and three times -0.5."""
    found = group_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
    expected = torch.tensor([[1.5, -0.5, -0.5, -0.5]])
    torch.testing.assert_close(found, expected, rtol=3e-4, atol=0)
    centred = centred_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
    torch.testing.assert_close(centred, expected / 2)


def test_a_dead_group_is_left_alone():
    rewards = torch.tensor([[1.0, 1, 1], [0, 1, 0], [0, 0, 0]])
    assert alive(rewards).tolist() == [False, True, False]
    for advantages in (group_advantages, centred_advantages):
        assert not advantages(rewards)[[0, 2]].any()


def test_whitened_advantages_have_mean_0_and_variance_1_where_they_are_real():
    found = whitened(3 * numbers(3) + 5, MASK)
    real = found[MASK]
    assert real.mean().abs() < 1e-12
    assert real.var(correction=0).item() == pytest.approx(1)
    assert not found[~MASK].any()
    assert whitened(numbers(3)).mean().abs() < 1e-12


GAP = MASK.clone()
GAP[0, 2] = False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(values=numbers(1, (3, 4))), "values: got answer 4, expected "
                                          "rewards' 5"),
        (dict(mask=MASK[:2]), "mask: got batch 2, expected rewards' 3"),
        (dict(mask=MASK & False), "mask: got nothing in row 0"),
        (dict(mask=GAP), "mask: got True behind False in row 0, expected "
                         "padding behind an answer only"),
        (dict(rewards=numbers(0) / 0), r"rewards: got inf at \(0, 0\)"),
        (dict(values=numbers(0) * math.nan), r"values: got nan at \(0, 0\)"),
        (dict(discount=1.1), "discount: got 1.1, expected between 0 and 1"),
        (dict(trace=-0.1), "trace: got -0.1, expected between 0 and 1"),
        (dict(rewards=[[1.0]]), "rewards: got list, expected a tensor"),
    ],
)  # fmt: skip
def test_gae_refuses_what_cannot_be(change, message):
    given = dict(rewards=numbers(0).abs(), values=numbers(1))
    with pytest.raises(ValueError, match=message):
        gae(**given | change)


@pytest.mark.parametrize("advantages", (group_advantages, centred_advantages))
@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        (torch.ones(3, 4), "rewards: got the same one throughout each of 3 "
                           "groups, expected a group in which they differ"),
        (torch.ones(3, 1), "answers: got 1, expected at least 2"),
        (torch.ones(3), r"rewards: got shape \(3,\), expected \(prompts, a"),
        (torch.tensor([[1, math.nan]]), r"rewards: got nan at \(0, 1\)"),
        (torch.tensor([[1, 2]]), "rewards: got torch.int64, expected a "
                                 "float"),
    ],
)  # fmt: skip
def test_groups_refuse_what_cannot_be(advantages, rewards, message):
    with pytest.raises(ValueError, match=message):
        advantages(rewards)


def test_whitening_refuses_an_empty_row():
    with pytest.raises(ValueError, match="mask: got nothing in row 1"):
        whitened(numbers(0), MASK & torch.tensor([[1], [0], [1]]).bool())
