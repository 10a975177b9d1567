"""Losses against trl's trainers, forward and gradient, and by hand."""

import math

import pytest
import torch

from llmnotes.adaptation.rlhf import (
    dpo_loss,
    group_advantages,
    grpo_loss,
    kl_penalty,
    log_probs,
    per_answer,
    per_limit,
    per_token,
    ppo_loss,
    reinforce_loss,
    value_loss,
)
from llmnotes.adaptation.rlhf.preferences import DPOWithNLL
from tests.adaptation.rlhf import trainers

VARIANTS = {
    "grpo": per_answer,
    "dapo": per_token,
    "bnpo": per_token,
    "dr_grpo": per_limit(trainers.ANSWER),
}
CLIPS = 0.2, 0.28


def gradients(loss, model):
    """By every parameter."""
    return torch.autograd.grad(loss, list(model.parameters()))


def same(ours, theirs, model):
    """Loss and every gradient."""
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    pairs = list(
        zip(gradients(ours, model), gradients(theirs, model), strict=True)
    )
    assert any(a.abs().max() > 1e-2 for a, _ in pairs)
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def moved(x, seed, size=0.3):
    """Log-probabilities of another policy."""
    draw = torch.Generator().manual_seed(seed)
    return (x + size * torch.randn(x.shape, generator=draw)).detach()


@pytest.mark.parametrize("beta", (0.0, 0.3))
@pytest.mark.parametrize("name", VARIANTS)
def test_grpo_and_its_variants_are_those_of_trl(name, beta, tmp_path):
    trainer = trainers.grpo(
        tmp_path, loss_type=name, epsilon=CLIPS[0], epsilon_high=CLIPS[1],
        beta=beta,
    )  # fmt: skip
    model = trainer.model
    prompts, answers, mask = trainers.answers()
    new = log_probs(trainers.Policy(model), prompts, answers)
    old, reference = moved(new, 3), moved(new, 4)
    advantages = torch.tensor([1.5, -0.5, 0.2, -2.0, 0.9, -0.1])
    theirs = trainer._compute_loss(
        model,
        trainers.grpo_inputs(
            prompts, answers, mask, old, reference, advantages
        ),
    )
    penalty = kl_penalty(new, old, reference, beta=beta) if beta else None
    ours = grpo_loss(
        new, old, advantages, mask, clip=CLIPS, average=VARIANTS[name],
        penalty=penalty,
    )  # fmt: skip
    same(ours, theirs, model)


@pytest.mark.parametrize("beta", (0.1, 0.7))
def test_dpo_is_that_of_trl(beta, tmp_path):
    trainer = trainers.dpo(tmp_path, beta=beta)
    prompts, chosen, mask = trainers.answers()
    rejected, masks = chosen.flip(0), (mask, mask.roll(1, 0))
    inputs = trainers.dpo_inputs(prompts, chosen, rejected, masks)
    theirs = trainer._compute_loss(trainer.model, inputs, False)

    def whole(model, answers, mask):
        found = log_probs(trainers.Policy(model), prompts, answers)
        return (found * mask).sum(1)

    found = [
        whole(model, answers, mask)
        for model in (trainer.model, trainer.ref_model)
        for answers, mask in zip((chosen, rejected), masks, strict=True)
    ]
    same(dpo_loss(*found, beta=beta), theirs, trainer.model)


def test_dpo_beside_imitation_is_that_of_trl(tmp_path):
    trainer = trainers.dpo(
        tmp_path, beta=0.4, loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, 1.0],
    )  # fmt: skip
    prompts, chosen, mask = trainers.answers()
    full = torch.ones_like(mask)
    pairs = prompts, chosen, chosen.flip(0)
    task = DPOWithNLL(
        trainers.Policy(trainer.ref_model), pairs, None, 3, 0, beta=0.4
    )
    ours = task.loss(trainers.Policy(trainer.model), pairs)
    inputs = trainers.dpo_inputs(*pairs, (full, full))
    theirs = trainer._compute_loss(trainer.model, inputs, False)
    same(ours, theirs, trainer.model)


def tokens(seed=0, shape=(3, 4), grad=True):
    """Log-probabilities of tokens, in float64."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=draw, dtype=torch.float64)
    return (x / 2 - 2).requires_grad_(grad)


MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]]).bool()


def test_dpo_begins_at_ln_2_and_pulls_both_answers_alike():
    chosen, rejected = tokens(1, (5,)), tokens(2, (5,))
    before = chosen.detach(), rejected.detach()
    loss = dpo_loss(chosen, rejected, *before, beta=0.3)
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()
    expected = torch.full((5,), 0.3 / 2 / 5, dtype=torch.float64)
    torch.testing.assert_close(chosen.grad, -expected)
    torch.testing.assert_close(rejected.grad, expected)


def test_dpo_by_hand():
    """β = ½, margin (-1 + 2) - (-3 + 1) = 3: -log σ(1.5) = 0.2014133."""
    given = [torch.tensor([x]) for x in (-1.0, -3.0, -2.0, -1.0)]
    assert dpo_loss(*given, beta=0.5).item() == pytest.approx(0.2014133)


def test_dpo_does_not_see_that_both_answers_become_unlikely():
    given = [tokens(i, (5,), grad=False) for i in range(4)]
    loss = dpo_loss(*given)
    fallen = dpo_loss(given[0] - 23, given[1] - 23, *given[2:])
    torch.testing.assert_close(loss, fallen)


def test_averages_by_hand():
    """Answers of 3, 1 and 4 tokens whose losses are 1, 2 and 3 each."""
    losses = torch.tensor([[1.0], [2.0], [3.0]]).expand(3, 4)
    assert per_answer(losses, MASK) == 2
    assert per_token(losses, MASK).item() == pytest.approx(17 / 8)
    assert per_limit(5)(losses, MASK).item() == pytest.approx(17 / 15)


def test_ppo_by_hand():
    """Ratios 2, ½, 2, ½ with A = 1, 1, -1, -1 and ε = 0.2."""
    new = torch.tensor([[2.0, 0.5, 2.0, 0.5]]).log().requires_grad_()
    advantages = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    loss = ppo_loss(new, torch.zeros(1, 4), advantages)
    assert loss.item() == pytest.approx(-(1.2 + 0.5 - 2 - 0.8) / 4)
    loss.backward()
    # What has gone far enough pulls no more; what went wrong still does.
    expected = torch.tensor([[0.0, -0.5 / 4, 2 / 4, 0.0]])
    torch.testing.assert_close(new.grad, expected)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: ppo_loss(x, tokens(5), tokens(6), MASK),
        lambda x: value_loss(x, tokens(6), MASK),
        lambda x: reinforce_loss(x, tokens(6)[:, 0], MASK),
        lambda x: grpo_loss(x, tokens(5), tokens(6)[:, 0], MASK),
        lambda x: kl_penalty(x, tokens(5), tokens(6), beta=0.7)[MASK].sum(),
    ],
)
def test_gradients_are_those_of_differences_and_of_real_tokens_only(loss):
    new = tokens()
    assert torch.autograd.gradcheck(loss, new)
    (grad,) = torch.autograd.grad(loss(new), new)
    assert not grad[~MASK].any() and grad[MASK].any()
    other = torch.where(MASK, new, -9.0)
    torch.testing.assert_close(loss(other), loss(new))


def test_fresh_answers_are_those_of_the_policy_itself():
    new, advantages = tokens(), tokens(1)
    for with_old in (new.detach(), None):
        loss = ppo_loss(new, with_old, advantages, MASK)
        (grad,) = torch.autograd.grad(loss, new)
        expected = -advantages.masked_fill(~MASK, 0) / MASK.sum()
        torch.testing.assert_close(grad, expected.detach())


def test_grpo_prints_zero_and_learns_all_the_same():
    new = tokens(shape=(6, 4))
    rewards = torch.tensor([[1.0, 0, 0, 1, 1, 0]]).double()
    advantages = group_advantages(rewards)[0]
    loss = grpo_loss(new, None, advantages)
    assert abs(loss.item()) < 1e-12
    (grad,) = torch.autograd.grad(loss, new)
    assert grad.abs().min() > 0.03


def test_a_value_is_pulled_towards_its_return():
    values = tokens()
    returns = tokens(3, grad=False)
    value_loss(values, returns, MASK).backward()
    expected = (values - returns).masked_fill(~MASK, 0) / MASK.sum()
    torch.testing.assert_close(values.grad, expected.detach())


def test_nothing_but_the_new_policy_gets_a_gradient():
    new, others = tokens(), [tokens(i) for i in range(1, 4)]
    old, reference, advantages = others
    penalty = kl_penalty(new, old, reference, beta=0.1)
    whole = new.sum(1), new[:, 0], old.sum(1), old[:, 1]
    loss = (
        grpo_loss(new, old, advantages[:, 0], MASK, penalty=penalty)
        + ppo_loss(new, old, advantages, MASK)
        + reinforce_loss(new, advantages[:, 1], MASK)
        + value_loss(new, advantages, MASK)
        + dpo_loss(*whole)
    )
    loss.backward()
    assert new.grad.any() and all(x.grad is None for x in others)


def test_reinforce_is_the_gradient_of_the_expected_reward():
    """Every answer of two tokens, weighed by how often it is drawn."""
    logits = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    answers = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    rewards = torch.randn(9, dtype=torch.float64)
    new = logits.log_softmax(-1)[torch.arange(2), answers]
    chance = new.sum(1).exp()
    loss = reinforce_loss(new, 9 * chance * (rewards - 0.7))
    ours = torch.autograd.grad(loss, logits, retain_graph=True)[0]
    theirs = torch.autograd.grad((chance * rewards).sum(), logits)[0]
    torch.testing.assert_close(ours, -theirs)


def ppo(change):
    given = dict(
        new=tokens(grad=False), old=tokens(1, grad=False),
        advantages=tokens(2, grad=False), mask=MASK,
    )  # fmt: skip
    return ppo_loss(**given | change)


def grpo(change):
    given = dict(
        new=tokens(grad=False), old=None, mask=MASK,
        advantages=tokens(2, grad=False)[:, 0],
    )  # fmt: skip
    return grpo_loss(**given | change)


def dpo(change):
    names = "chosen rejected reference_chosen reference_rejected".split()
    given = {n: tokens(i, (3,), grad=False) for i, n in enumerate(names)}
    return dpo_loss(**given | change)


EMPTY = MASK & torch.tensor([[True], [False], [True]])
NAN = torch.tensor([0.0, math.nan, 1.0]).double()


@pytest.mark.parametrize(
    ("loss", "change", "message"),
    [
        (ppo, dict(old=tokens(1, (3, 5))), "old: got answer 5, expected new's "
                                           "4"),
        (ppo, dict(mask=MASK[:2]), "mask: got batch 2, expected new's 3"),
        (ppo, dict(mask=MASK.long()), "mask: got torch.int64, expected bool"),
        (ppo, dict(mask=EMPTY), "mask: got nothing in row 1, expected at "
                                "least one token in each"),
        (ppo, dict(clip=0), "clip: got 0, expected 0 < clip < 1"),
        (ppo, dict(clip=math.nan), "clip: got nan"),
        (ppo, dict(advantages=tokens(2) / 0), r"advantages: got -inf at \(0, "
                                              r"0\), expected finite numbers"),
        (grpo, dict(advantages=NAN), "advantages: got nan at 1, expected "
                                     "finite numbers"),
        (grpo, dict(advantages=tokens()), r"advantages: got shape \(3, 4\), "
                                          r"expected \(batch,\)"),
        (grpo, dict(clip=(0.2, 0)), "high: got 0, expected a number above 0"),
        (grpo, dict(clip=(1, 0.2)), "low: got 1, expected 0 < low < 1"),
        (grpo, dict(mask=EMPTY), "mask: got nothing in row 1"),
        (grpo, dict(penalty=tokens(1, (2, 4))), "penalty: got batch 2"),
        (dpo, dict(beta=0), "beta: got 0, expected a number above 0"),
        (dpo, dict(beta=-1.0), "beta: got -1.0"),
        (dpo, dict(rejected=NAN), "rejected: got nan at 1"),
        (dpo, dict(chosen=tokens(0, (2,))), "rejected: got batch 3, expected "
                                            "chosen's 2"),
        (dpo, dict(chosen=tokens()), r"chosen: got shape \(3, 4\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(loss, change, message):
    with pytest.raises(ValueError, match=message):
        loss(change)


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="limit: got 0, expected at least 1"):
        per_limit(0)
