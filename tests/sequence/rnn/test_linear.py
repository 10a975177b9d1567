"""A linear recurrence in rounds: the same as its steps."""

import pytest
import torch

from llmnotes.sequence.rnn.linear import linear_scan


def one_after_the_other(keep, add):
    h, out = torch.zeros_like(add[:, 0]), []
    for t in range(keep.shape[1]):
        h = keep[:, t] * h + add[:, t]
        out.append(h)
    return torch.stack(out, 1)


def gradients(loss, inputs):
    """Zeros for what does not count: a first step has nothing to keep."""
    return torch.autograd.grad(
        loss, inputs, allow_unused=True, materialize_grads=True
    )


@pytest.mark.parametrize("length", [1, 2, 3, 8, 13, 64, 65])
def test_a_scan_in_rounds_equals_steps_and_so_do_its_gradients(length):
    torch.manual_seed(0)
    keep = torch.rand(3, length, 5, dtype=torch.float64).requires_grad_()
    add = torch.randn(3, length, 5, dtype=torch.float64).requires_grad_()
    upstream = torch.randn_like(add)
    found = [
        (out, *gradients((out * upstream).sum(), (keep, add)))
        for out in (linear_scan(keep, add), one_after_the_other(keep, add))
    ]
    torch.testing.assert_close(*found)


def test_three_steps_by_hand():
    keep = torch.tensor([[[0.5], [0.5], [0.25]]])
    add = torch.tensor([[[8.0], [2.0], [1.0]]])
    assert linear_scan(keep, add).flatten().tolist() == [8.0, 6.0, 2.5]
