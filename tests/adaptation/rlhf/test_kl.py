"""Estimators of KL: as numbers, as losses, as rewards, all summed exactly."""

import functools

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from llmnotes.adaptation.rlhf import divergence, k1, k2, k3, kl_penalty

VOCAB = 7


@functools.cache
def logits(seed, size=1.0):
    draw = torch.Generator().manual_seed(seed)
    x = size * torch.randn(VOCAB, generator=draw, dtype=torch.float64)
    return x.requires_grad_()


def policies():
    """log π, log π_ref of every token, and how far they are apart."""
    policy, reference = logits(0), logits(1)
    ours, theirs = policy.log_softmax(-1), reference.log_softmax(-1)
    return ours, theirs.detach(), divergence(policy, reference.detach())


def slope(number, by=None):
    """The gradient by the policy's logits."""
    return torch.autograd.grad(number, by or logits(0), retain_graph=True)[0]


def test_the_divergence_is_that_of_torch():
    ours, theirs = (logits(i).expand(3, 2, VOCAB) for i in (0, 1))
    expected = kl_divergence(Categorical(logits=ours),
                             Categorical(logits=theirs))  # fmt: skip
    torch.testing.assert_close(divergence(ours, theirs), expected)


def test_k1_and_k3_are_right_on_average_and_k2_is_not():
    ours, theirs, kl = policies()
    mean = {f: (ours.exp() * f(ours, theirs)).sum() for f in (k1, k2, k3)}
    torch.testing.assert_close(mean[k1], kl)
    torch.testing.assert_close(mean[k3], kl)
    assert abs(mean[k2] - kl) > 0.05 * kl


def test_k1_can_be_negative_k2_and_k3_cannot():
    ours, theirs, _ = policies()
    assert (k1(ours, theirs) < 0).any()
    for estimate in (k2, k3):
        assert (estimate(ours, theirs) >= 0).all()
        assert not estimate(ours, ours).any()


def test_by_hand():
    """π = ½, π_ref = ¼: log 2, ½ log² 2, and ½ - 1 + log 2."""
    ours, theirs = torch.tensor([0.5, 0.25]).log()
    assert k1(ours, theirs).item() == pytest.approx(0.6931472)
    assert k2(ours, theirs).item() == pytest.approx(0.2402265)
    assert k3(ours, theirs).item() == pytest.approx(0.1931472)


def test_the_gradient_of_k1_as_a_loss_is_nothing():
    ours, theirs, kl = policies()
    loss = (ours.exp().detach() * k1(ours, theirs)).sum()
    assert slope(loss).abs().max() < 1e-12
    assert slope(kl).abs().max() > 0.1


def test_the_gradient_of_k2_as_a_loss_is_that_of_the_divergence():
    ours, theirs, kl = policies()
    loss = (ours.exp().detach() * k2(ours, theirs)).sum()
    torch.testing.assert_close(slope(loss), slope(kl))


def test_the_gradient_of_k3_as_a_loss_is_not_that_of_the_divergence():
    ours, theirs, kl = policies()
    loss = (ours.exp().detach() * k3(ours, theirs)).sum()
    other = divergence(logits(1).detach(), logits(0))
    torch.testing.assert_close(slope(loss), slope(other))
    assert (slope(loss) - slope(kl)).norm() > 0.1 * slope(kl).norm()


def test_a_ratio_before_k3_mends_its_gradient_also_of_old_answers():
    ours, theirs, kl = policies()
    for old in (ours.detach(), logits(2).log_softmax(-1)):
        penalty = kl_penalty(ours[None], old[None], theirs[None], beta=0.3)
        loss = (old.exp().detach() * penalty[0]).sum()
        torch.testing.assert_close(loss, 0.3 * kl)
        torch.testing.assert_close(slope(loss), 0.3 * slope(kl))


@pytest.mark.parametrize(("estimate", "right"), [(k1, 1), (k2, 0), (k3, 0)])
def test_in_the_reward_only_k1_has_the_gradient_of_the_divergence(
    estimate, right
):
    ours, theirs, kl = policies()
    paid = estimate(ours, theirs).detach()
    loss = (ours.exp().detach() * paid * ours).sum()  # REINFORCE
    gap = (slope(loss) - slope(kl)).norm() / slope(kl).norm()
    assert gap < 1e-12 if right else gap > 0.1


def test_near_zero_k3_is_not_rounded_away():
    ours = torch.tensor([-1.0])
    near = ours + 2**-12
    assert k3(ours, near).item() == pytest.approx(2**-25, rel=1e-3)


@pytest.mark.parametrize("estimate", (k1, k2, k3))
def test_shapes_that_differ_are_refused(estimate):
    with pytest.raises(ValueError, match=r"reference: got shape \(2, 4\), exp"
                       r"ected policy's \(2, 3\)"):  # fmt: skip
        estimate(torch.zeros(2, 3), torch.zeros(2, 4))
