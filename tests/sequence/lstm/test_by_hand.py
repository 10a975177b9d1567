"""The gradient through time by hand, and the fast scan, proved."""

import numpy as np
import pytest
import torch
from torch import nn

from llmnotes.sequence.lstm import LSTM, fast
from llmnotes.sequence.lstm.by_hand import (
    ByHandLSTM,
    FusedLSTM,
    backwards,
    forwards,
)

BATCH, LENGTH, INPUT, HIDDEN = 3, 11, 5, 7
DTYPES = {LSTM: torch.float64, ByHandLSTM: torch.float64, FusedLSTM: None}


def same_model(kind, layers=1, bidirectional=False):
    """`kind` and nn.LSTM with the same parameters."""
    torch.manual_seed(0)
    theirs = nn.LSTM(
        *(INPUT, HIDDEN, layers),
        batch_first=True,
        bidirectional=bidirectional,
        dtype=DTYPES[kind],
    )
    ours = kind(INPUT, HIDDEN, layers, bidirectional=bidirectional)
    ours.to(DTYPES[kind] or torch.float32).load_state_dict(theirs.state_dict())
    return ours, theirs


def test_backpropagation_through_time_by_hand_equals_autograd():
    torch.manual_seed(0)
    shapes = (
        *((LENGTH, BATCH, 4 * HIDDEN), (BATCH, HIDDEN), (BATCH, HIDDEN)),
        (4 * HIDDEN, HIDDEN),
    )
    inputs = [
        torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes
    ]
    gates, hs, cs = forwards(*inputs)
    dout = torch.randn_like(hs[1:])
    dh, dc = torch.randn(2, BATCH, HIDDEN, dtype=torch.float64)
    expected = torch.autograd.grad(
        (hs[1:], hs[-1], cs[-1]), inputs[:3], (dout, dh, dc)
    )
    got = backwards(dout, dh, dc, inputs[3], gates, cs)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("kind", [ByHandLSTM, FusedLSTM])
@pytest.mark.parametrize("layers, bidirectional", [(1, False), (2, True)])
@pytest.mark.parametrize("lengths", [None, [4, 11, 1]])
def test_output_state_and_gradient_equal_torch(
    kind, layers, bidirectional, lengths
):
    ours, theirs = same_model(kind, layers, bidirectional)
    x = torch.randn(BATCH, LENGTH, INPUT, dtype=DTYPES[kind])
    rows = layers * (1 + bidirectional)
    start = torch.randn(2, rows, BATCH, HIDDEN, dtype=DTYPES[kind])
    found = []
    for model in (ours, theirs):
        inputs = [t.clone().requires_grad_() for t in (x, *start)]
        if lengths is None:
            out, (h, c) = model(inputs[0], tuple(inputs[1:]))
        elif model is ours:
            out, (h, c) = model(
                inputs[0], tuple(inputs[1:]), torch.tensor(lengths)
            )
        else:
            out, (h, c) = packed(model, inputs, lengths)
        torch.manual_seed(1)
        loss = sum((t * torch.randn(t.shape)).sum() for t in (out, h, c))
        wanted = [*inputs, *model.parameters()]
        found.append((out, h, c, *torch.autograd.grad(loss, wanted)))
    torch.testing.assert_close(*found, **close(kind))


def close(kind):
    """Float32 sums the same numbers in another order."""
    return {"rtol": 1e-4, "atol": 1e-5} if kind is FusedLSTM else {}


def packed(model, inputs, lengths):
    x, *state = inputs
    p = nn.utils.rnn.pack_padded_sequence(
        x, torch.tensor(lengths), batch_first=True, enforce_sorted=False
    )
    out, state = model(p, tuple(state))
    out, _ = nn.utils.rnn.pad_packed_sequence(
        out, batch_first=True, total_length=LENGTH
    )
    return out, state


def test_finite_differences_agree():
    torch.manual_seed(0)
    model = ByHandLSTM(2, 3).double()
    x = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: model(x)[0], x)


@pytest.mark.parametrize("kind", [ByHandLSTM, FusedLSTM])
def test_a_loss_on_the_last_memory_alone_teaches(kind):
    """The outputs' gradient is missing then, and must count as zero."""
    ours, theirs = same_model(kind)
    x = torch.randn(BATCH, LENGTH, INPUT, dtype=DTYPES[kind])
    grads = []
    for model in (ours, theirs):
        _, (_, c) = model(x)
        grads.append(torch.autograd.grad(c.sum(), [*model.parameters()]))
    torch.testing.assert_close(*grads, **close(kind))


def test_inputs_are_left_as_they_were():
    model = FusedLSTM(INPUT, HIDDEN)
    x = torch.randn(BATCH, LENGTH, INPUT, requires_grad=True)
    h, c = torch.randn(2, 1, BATCH, HIDDEN)
    before = [t.detach().clone() for t in (x, h, c)]
    out, _ = model(x, (h, c))
    upstream = torch.ones_like(out)
    out.backward(upstream)
    assert all(map(torch.equal, (x, h, c), before))
    assert (upstream == 1).all()


def test_two_runs_share_nothing():
    """The first run's gradient does not see what the second one computed."""
    model = FusedLSTM(INPUT, HIDDEN)
    x, y = torch.randn(2, BATCH, LENGTH, INPUT)
    first, _ = model(x)
    expected = torch.autograd.grad(first.sum(), model.weight_hh_l0)
    first, _ = model(x)
    model(y)
    again = torch.autograd.grad(first.sum(), model.weight_hh_l0)
    torch.testing.assert_close(again, expected)


def test_the_fused_scan_is_for_float32_and_says_so():
    model = FusedLSTM(INPUT, HIDDEN).double()
    x = torch.zeros(BATCH, LENGTH, INPUT, dtype=torch.float64)
    with pytest.raises(ValueError, match="^x: got torch.float64 on cpu"):
        model(x)


@pytest.mark.parametrize(
    "ours, exact",
    [
        (fast.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
        (fast.tanh, np.tanh),
    ],
)
def test_the_compiled_functions_are_right_to_a_millionth(ours, exact):
    x = np.linspace(-20, 20, 4001).astype(np.float32)
    got = np.array([ours(v) for v in x])
    expected = exact(x.astype(np.float64))
    assert np.all(np.abs(got - expected) <= 1e-6 * (1 + np.abs(expected)) * 2)


def test_gates_far_beyond_the_exponents_range_stay_finite():
    for value in (-1e4, -200.0, 200.0, 1e4):
        v = np.float32(value)
        share = fast.sigmoid(v)
        assert share == pytest.approx(float(value > 0), abs=1e-30)
        assert fast.tanh(v) == pytest.approx(np.sign(value))


@pytest.mark.parametrize("kind", [ByHandLSTM, FusedLSTM])
def test_the_gradient_by_hand_refuses_to_be_differentiated_again(kind):
    model, _ = same_model(kind)
    dtype = DTYPES[kind] or torch.float32
    x = torch.randn(BATCH, LENGTH, INPUT, dtype=dtype, requires_grad=True)
    with pytest.raises(RuntimeError, match="^LSTM: got create_graph"):
        torch.autograd.grad(model(x)[0].sum(), x, create_graph=True)
