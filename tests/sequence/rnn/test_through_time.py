"""Gradients through time by hand, their size over lag, and clipping."""

import math

import pytest
import torch
from einops import einsum
from torch import nn

from llmnotes.sequence.rnn import RNN, Recurrent
from llmnotes.sequence.rnn.through_time import (
    backward_through_time,
    clip_by_norm,
    singular_values_by_lag,
    step_jacobians,
)

BATCH, LENGTH, INPUT, HIDDEN = 4, 9, 5, 7


class Plain(RNN):
    """The loop of every recurrence, its gradient left to autograd."""

    scan = Recurrent.scan


def scanned():
    """An RNN run from a random state, autograd's way; time is axis 0."""
    torch.manual_seed(0)
    model = Plain(INPUT, HIDDEN).double()
    x = torch.randn(LENGTH, BATCH, INPUT, dtype=torch.float64)
    h0 = torch.randn(BATCH, HIDDEN, dtype=torch.float64)
    x.requires_grad_(), h0.requires_grad_()
    out, _ = model(x.transpose(0, 1), h0[None])
    return model, x, h0, out.transpose(0, 1)


def test_by_hand_equals_autograd():
    model, x, h0, out = scanned()
    upstream = torch.randn_like(out)
    ours = backward_through_time(
        out.detach(), h0.detach(), model.weight_hh_l0.detach(), upstream
    )
    inputs = [h0, model.weight_hh_l0, model.bias_hh_l0]
    grads = torch.autograd.grad(out, inputs, upstream, retain_graph=True)
    torch.testing.assert_close(ours[1:], grads)
    # All that the input's side needs is what arrives before the tanh.
    d_x, d_w = torch.autograd.grad(out, [x, model.weight_ih_l0], upstream)
    torch.testing.assert_close(ours[0] @ model.weight_ih_l0, d_x)
    torch.testing.assert_close(
        einsum(ours[0], x, "t b row, t b column -> row column"), d_w
    )


def test_the_product_of_step_jacobians_is_the_jacobian():
    torch.manual_seed(0)
    model = Plain(INPUT, HIDDEN).double()
    x = torch.randn(1, LENGTH, INPUT, dtype=torch.float64)
    h0 = torch.randn(HIDDEN, dtype=torch.float64)

    def last(h, steps):
        return model(x[:, :steps], h[None, None])[0][0, -1]

    out = model(x, h0[None, None])[0][0].detach()
    steps = step_jacobians(out, model.weight_hh_l0.detach())
    values = singular_values_by_lag(steps)
    assert values.shape == (LENGTH, HIDDEN)
    for k in (1, 4, LENGTH):
        whole = torch.func.jacrev(lambda h, k=k: last(h, k))(h0)
        torch.testing.assert_close(values[k - 1], torch.linalg.svdvals(whole))


@pytest.mark.parametrize("scale", [0.9, 1.0, 1.1])
def test_a_scaled_rotation_shrinks_keeps_or_grows_by_a_power_of_the_lag(scale):
    torch.manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    values = singular_values_by_lag((scale * rotation).expand(100, 5, 5))
    lags = torch.arange(1, 101, dtype=torch.float64)
    torch.testing.assert_close(values, (scale**lags)[:, None].expand(100, 5))


@pytest.mark.parametrize("max_norm", [0.5, 3.0, 100.0])
def test_clipping_equals_torch(max_norm):
    torch.manual_seed(0)
    model = nn.Linear(3, 5).double()
    model(torch.randn(2, 3, dtype=torch.float64)).square().sum().backward()
    ours, norm = clip_by_norm([p.grad for p in model.parameters()], max_norm)
    theirs = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    torch.testing.assert_close(norm, theirs)
    for a, p in zip(ours, model.parameters(), strict=True):
        # PyTorch divides by the norm plus a millionth.
        torch.testing.assert_close(a, p.grad, rtol=3e-6, atol=0)


def test_by_hand_a_gradient_of_norm_5_clipped_to_1():
    gradients = [torch.tensor([3.0]), torch.tensor([[0.0, -4.0]])]
    (a, b), norm = clip_by_norm(gradients, 1.0)
    assert norm.item() == 5
    torch.testing.assert_close(a, torch.tensor([0.6]))
    torch.testing.assert_close(b, torch.tensor([[0.0, -0.8]]))


def test_clipping_keeps_the_direction_and_cutting_each_entry_turns_it():
    gradient = torch.tensor([3.0, 0.4])
    (short,), _ = clip_by_norm([gradient], 1.0)
    cut = gradient.clamp(-1, 1)
    cosine = torch.cosine_similarity
    assert cosine(short, gradient, 0).item() == pytest.approx(1)
    assert cosine(cut, gradient, 0).item() < 0.98


def test_a_short_gradient_and_a_zero_one_pass_unchanged():
    for gradient in (torch.tensor([0.3, -0.4]), torch.zeros(2)):
        (same,), _ = clip_by_norm([gradient], 1.0)
        assert torch.equal(same, gradient)


def test_clipping_cannot_save_a_gradient_that_is_already_infinite():
    (out,), norm = clip_by_norm([torch.tensor([1.0, math.inf])], 1.0)
    assert norm == math.inf and out.isnan().any()


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan])
def test_a_norm_that_is_not_above_zero_is_named(max_norm):
    with pytest.raises(ValueError, match="^max_norm: got"):
        clip_by_norm([torch.ones(1)], max_norm)
