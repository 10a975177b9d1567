"""What the GRU chapter claims, proved."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from llmnotes.sequence.gru import (
    GRU,
    MinGRU,
    ResetBeforeGRU,
    gru_cell,
    gru_step,
    gru_step_reset_before,
    set_update_bias,
)
from llmnotes.sequence.rnn import RNN, Recurrent

BATCH, LENGTH, INPUT, HIDDEN = 4, 9, 5, 7
SHAPES = [(1, False), (1, True), (3, False), (2, True)]


def pair(layers=1, bidirectional=False):
    """Ours and PyTorch's with the same weights, and inputs for both."""
    torch.manual_seed(0)
    ours = GRU(INPUT, HIDDEN, layers, bidirectional=bidirectional)
    theirs = nn.GRU(
        INPUT, HIDDEN, layers, bidirectional=bidirectional, batch_first=True
    )
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(BATCH, LENGTH, INPUT, dtype=torch.float64)
    state = torch.randn(layers * ours.directions, BATCH, HIDDEN).double()
    return ours.double(), theirs.double(), x, state


def gradients(model, inputs, outputs):
    """Gradients of a fixed random weighting of all outputs."""
    torch.manual_seed(1)
    upstream = [torch.randn(out.shape).to(out) for out in outputs]
    return torch.autograd.grad(
        outputs, [*inputs, *model.parameters()], upstream
    )


@pytest.mark.parametrize(("layers", "bidirectional"), SHAPES)
def test_output_state_and_gradient_equal_torch(layers, bidirectional):
    ours, theirs, x, state = pair(layers, bidirectional)
    inputs = [x.requires_grad_(), state.requires_grad_()]
    a, b = ours(*inputs), theirs(*inputs)
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(
        gradients(ours, inputs, a), gradients(theirs, inputs, b)
    )


@pytest.mark.parametrize("lengths", [[3, 8, 8, 1], [2, 9, 4, 5]])
@pytest.mark.parametrize(("layers", "bidirectional"), SHAPES)
def test_lengths_equal_torchs_packed_sequence(layers, bidirectional, lengths):
    ours, theirs, x, state = pair(layers, bidirectional)
    inputs = [x.requires_grad_(), state.requires_grad_()]
    a = ours(*inputs, torch.tensor(lengths))
    packed = pack_padded_sequence(
        x, torch.tensor(lengths), batch_first=True, enforce_sorted=False
    )
    out, last = theirs(packed, state)
    out, _ = pad_packed_sequence(out, batch_first=True, total_length=LENGTH)
    torch.testing.assert_close(a, (out, last))
    torch.testing.assert_close(
        gradients(ours, inputs, a), gradients(theirs, inputs, (out, last))
    )


def test_the_cell_equals_torchs_cell():
    torch.manual_seed(0)
    cell = nn.GRUCell(INPUT, HIDDEN)
    x, h = torch.randn(BATCH, INPUT), torch.randn(BATCH, HIDDEN)
    inputs = [x.requires_grad_(), h.requires_grad_()]
    ours = gru_cell(*inputs, *cell.parameters())
    theirs = cell(*inputs)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        gradients(cell, inputs, [ours]), gradients(cell, inputs, [theirs])
    )


@pytest.mark.parametrize("kind", [GRU, ResetBeforeGRU])
def test_the_module_is_the_step_repeated(kind):
    torch.manual_seed(0)
    model = kind(INPUT, HIDDEN).double()
    step = {GRU: gru_step, ResetBeforeGRU: gru_step_reset_before}[kind]
    x = torch.randn(BATCH, LENGTH, INPUT, dtype=torch.float64)
    h = torch.zeros(BATCH, HIDDEN, dtype=torch.float64)
    out, _ = model(x)
    weight_ih, weight_hh, bias_ih, bias_hh = model.parameters()
    for t in range(LENGTH):
        projected = x[:, t] @ weight_ih.T + bias_ih
        h = step(projected, h, weight_hh, bias_hh)
        torch.testing.assert_close(out[:, t], h)


def test_gradients_by_hand_equal_autograds():
    class Plain(GRU):
        scan = Recurrent.scan

    ours, _, x, state = pair(layers=2, bidirectional=True)
    plain = Plain(INPUT, HIDDEN, 2, bidirectional=True).double()
    plain.load_state_dict(ours.state_dict())
    inputs = [x.requires_grad_(), state.requires_grad_()]
    torch.testing.assert_close(
        gradients(ours, inputs, ours(*inputs)),
        gradients(plain, inputs, plain(*inputs)),
    )


def test_the_gradient_by_hand_refuses_to_be_differentiated_again():
    ours, _, x, _ = pair()
    out, _ = ours(x.requires_grad_())
    with pytest.raises(RuntimeError, match="^GRU: got create_graph"):
        torch.autograd.grad(out.sum(), x, create_graph=True)


LN_3 = math.log(3)  # the sigmoid of ±ln 3 is ¾ and ¼


def crossed(reset=(LN_3, -LN_3), update=0.0):
    """Two units, each reading the other; inputs that set the gates."""
    swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    weight_hh = torch.cat([torch.zeros(4, 2), swap])
    projected = torch.tensor([[*reset, update, update, 0.0, 0.0]])
    return projected, torch.ones(1, 2), weight_hh, torch.zeros(6)


def test_by_hand_the_two_conventions_swap_two_numbers():
    """r = (¾, ¼), z = ½: after the matrix ¾, ¼; before it ¼, ¾."""
    after = gru_step(*crossed())
    before = gru_step_reset_before(*crossed())
    three, one = ((math.tanh(a) + 1) / 2 for a in (0.75, 0.25))
    assert after.flatten().tolist() == pytest.approx([three, one])
    assert before.flatten().tolist() == pytest.approx([one, three])


def test_one_unit_without_bias_cannot_tell_the_conventions_apart():
    torch.manual_seed(0)
    projected, h = torch.randn(5, 3), torch.randn(5, 1)
    weight_hh, none = torch.randn(3, 1), torch.zeros(3)
    torch.testing.assert_close(
        gru_step(projected, h, weight_hh, none),
        gru_step_reset_before(projected, h, weight_hh, none),
    )
    # With a bias it can: r (U h + b) is not U (r h) + b.
    bias = torch.tensor([0.0, 0.0, 1.0])
    assert not torch.allclose(
        gru_step(projected, h, weight_hh, bias),
        gru_step_reset_before(projected, h, weight_hh, bias),
    )


def test_the_two_conventions_disagree_on_the_same_weights():
    ours, theirs, x, _ = pair()
    other = ResetBeforeGRU(INPUT, HIDDEN).double()
    other.load_state_dict(theirs.state_dict())
    assert (other(x)[0] - theirs(x)[0]).abs().max() > 0.01


def test_an_update_gate_at_one_keeps_the_state_and_at_zero_rewrites_it():
    keep = gru_step(*crossed(update=50.0))
    assert torch.equal(keep, torch.ones(1, 2))
    rewrite = gru_step(*crossed(update=-50.0))
    candidate = torch.tensor([[0.75, 0.25]]).tanh()
    torch.testing.assert_close(rewrite, candidate)


def test_the_new_state_lies_between_the_old_one_and_the_candidate():
    """Input and forget gate are one: what is let in is what is let go."""
    ours, _, x, _ = pair()
    out, _ = ours(10 * x)
    assert out.abs().max() <= 1  # an LSTM's memory can grow past it
    states = [torch.zeros(BATCH, HIDDEN).double(), *out.unbind(1)]
    weight_ih, weight_hh, bias_ih, bias_hh = ours.parameters()
    for t in range(LENGTH):
        h = states[t]
        p = 10 * x[:, t] @ weight_ih.T + bias_ih
        s = h @ weight_hh.T + bias_hh
        reset = torch.sigmoid(p[:, :HIDDEN] + s[:, :HIDDEN])
        n = torch.tanh(p[:, 2 * HIDDEN :] + reset * s[:, 2 * HIDDEN :])
        low, high = torch.minimum(h, n), torch.maximum(h, n)
        inside = (states[t + 1] >= low - 1e-9) & (states[t + 1] <= high + 1e-9)
        assert inside.all()


def test_there_is_one_state_and_no_memory_beside_it():
    ours, _, x, _ = pair()
    out, state = ours(x)
    assert GRU.states == 1
    assert torch.equal(out[:, -1], state[0])


def test_coupled_gates_alone_are_no_gru_because_it_also_resets():
    """Open and closed reset gate, the rest alike: two different states."""
    open_, shut = (
        gru_step(*crossed(reset=(g, g), update=-50.0)) for g in (50.0, -50.0)
    )
    torch.testing.assert_close(open_, torch.ones(1, 2).tanh())
    torch.testing.assert_close(shut, torch.zeros(1, 2))


def test_with_reset_at_1_and_update_at_0_it_is_the_plain_rnn():
    """r = 1 and z = 0, whatever comes in: tanh(x Uᵀ + b + h Wᵀ + b')."""
    torch.manual_seed(0)
    gru, rnn = GRU(INPUT, HIDDEN), RNN(INPUT, HIDDEN)
    with torch.no_grad():
        for name, p in gru.named_parameters():
            p[: 2 * HIDDEN] = 0
            p[2 * HIDDEN :] = rnn.get_parameter(name)
        gru.bias_ih_l0[:HIDDEN] = 50
        gru.bias_ih_l0[HIDDEN : 2 * HIDDEN] = -50
    x = torch.randn(BATCH, LENGTH, INPUT)
    torch.testing.assert_close(gru(x), rnn(x))


def test_three_quarters_of_an_lstms_parameters():
    def count(model):
        return sum(p.numel() for p in model.parameters())

    assert count(GRU(10, 20)) == 3 * (20 * 10 + 20 * 20 + 2 * 20) == 1920
    assert count(nn.LSTM(10, 20)) == 2560
    assert count(nn.GRU(10, 20)) == 1920


def test_a_cells_arguments_that_do_not_fit_are_named():
    good = [(4, 5), (4, 7), (21, 5), (21, 7), (21,), (21,)]
    names = ["x", "h", "weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    for i, name in enumerate(names):
        shapes = [*good[:i], (3, *good[i]), *good[i + 1 :]]
        with pytest.raises(ValueError, match=f"^{name}: got"):
            gru_cell(*(torch.zeros(s) for s in shapes))


size = st.integers(1, 6)


@settings(deadline=None, max_examples=40)
@given(size, size, size, size, st.integers(1, 3), st.booleans())
def test_any_fitting_shape_equals_torch(
    batch, length, width, hidden, layers, bidirectional
):
    ours = GRU(width, hidden, layers, bidirectional=bidirectional)
    theirs = nn.GRU(
        width, hidden, layers, bidirectional=bidirectional, batch_first=True
    )
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(batch, length, width)
    torch.testing.assert_close(ours(x), theirs(x))


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
