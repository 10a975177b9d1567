"""minGRU and the scan that runs all its steps at once; a biased start."""

import pytest
import torch

from llmnotes.sequence.gru import (
    GRU,
    MinGRU,
    linear_scan,
    set_update_bias,
)


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


def test_a_layer_is_the_papers_recurrence():
    torch.manual_seed(0)
    model, x = MinGRU(3, 7).double(), torch.randn(2, 11, 3).double()
    out, last = model(x)
    h = torch.zeros(2, 7, dtype=torch.float64)
    weight, bias = model.layers[0].weight, model.layers[0].bias
    for t in range(11):
        z = torch.sigmoid(x[:, t] @ weight[:7].T + bias[:7])
        candidate = x[:, t] @ weight[7:].T + bias[7:]
        h = (1 - z) * h + z * candidate
        torch.testing.assert_close(out[:, t], h)
    torch.testing.assert_close(last[0], h)


def test_layers_read_the_layer_below_and_nothing_of_the_future():
    torch.manual_seed(0)
    model, x = MinGRU(3, 7, 2), torch.randn(2, 11, 3)
    out, last = model(x)
    assert out.shape == (2, 11, 7) and last.shape == (2, 2, 7)
    x[:, 6] += 1
    changed = (model(x)[0] != out).any(-1).any(0)
    assert not changed[:6].any() and changed[6:].all()


def test_the_biases_of_the_update_gate_sum_to_what_was_asked():
    model = GRU(5, 7, 2, bidirectional=True)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    set_update_bias(model, 3.0)
    for name, now in model.state_dict().items():
        rows = torch.zeros(21, dtype=torch.bool)
        rows[7:14] = name.startswith("bias")
        changed = (now != before[name]).reshape(21, -1).all(1)
        assert torch.equal(changed, rows)
    for end in ("l0", "l0_reverse", "l1", "l1_reverse"):
        total = getattr(model, f"bias_ih_{end}") + getattr(
            model, f"bias_hh_{end}"
        )
        assert (total[7:14] == 3.0).all()


@pytest.mark.parametrize("sizes", [(0, 7, 1), (3, 0, 1), (3, 7, 0)])
def test_sizes_below_one_are_refused(sizes):
    with pytest.raises(ValueError, match="got 0, expected at least 1"):
        MinGRU(*sizes)


def test_what_it_cannot_read_is_named():
    model = MinGRU(3, 7)
    for shape, said in {
        (11, 3): "x: got shape (11, 3), expected (batch, length, input)",
        (2, 0, 3): "x: got shape (2, 0, 3), expected no empty axis",
        (2, 11, 4): "x: got input 4, expected input_size = 3",
    }.items():
        with pytest.raises(ValueError) as error:
            model(torch.zeros(shape))
        assert str(error.value) == said
