"""What the LSTM chapter claims of its cells and layers, proved."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from llmnotes.sequence.lstm import (
    LSTM,
    LSTM1997,
    lstm_1997_cell,
    lstm_cell,
    lstm_parameters,
    lstm_step_gradient,
    open_gates,
    set_chrono_bias,
    set_forget_bias,
)

BATCH, LENGTH, INPUT, HIDDEN = 3, 7, 5, 4


def random_cell(gates=4, seed=0):
    """x, h, c and the four parameters of one cell, in float64."""
    torch.manual_seed(seed)
    shapes = (
        *((BATCH, INPUT), (BATCH, HIDDEN), (BATCH, HIDDEN)),
        *((gates * HIDDEN, INPUT), (gates * HIDDEN, HIDDEN)),
        *((gates * HIDDEN,), (gates * HIDDEN,)),
    )
    return [torch.randn(s, dtype=torch.float64) for s in shapes]


def same_layers(layers=1, bidirectional=False):
    """Ours and PyTorch's, with the same parameters, in float64."""
    torch.manual_seed(0)
    theirs = nn.LSTM(
        *(INPUT, HIDDEN, layers),
        batch_first=True,
        bidirectional=bidirectional,
        dtype=torch.float64,
    )
    ours = LSTM(INPUT, HIDDEN, layers, bidirectional=bidirectional).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def assert_same_gradients(ours, theirs, a, b, upstream):
    """Gradients of sum(output·upstream) by inputs and parameters agree."""
    a, b = [*a, *ours.parameters()], [*b, *theirs.parameters()]
    for got, expected in zip(
        torch.autograd.grad(upstream[0], a),
        torch.autograd.grad(upstream[1], b),
        strict=True,
    ):
        torch.testing.assert_close(got, expected)


def test_a_cell_equals_torch_forward_and_gradient():
    x, h, c, *parameters = (t.requires_grad_() for t in random_cell())
    theirs = nn.LSTMCell(INPUT, HIDDEN, dtype=torch.float64)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    theirs.load_state_dict(dict(zip(names, parameters, strict=True)))
    got = lstm_cell(x, h, c, *parameters)
    expected = theirs(x, (h, c))
    torch.testing.assert_close(got, expected)
    up = torch.randn(2, BATCH, HIDDEN, dtype=torch.float64)
    a = torch.autograd.grad(got, (x, h, c, *parameters), (*up,))
    b = torch.autograd.grad(expected, (x, h, c, *theirs.parameters()), (*up,))
    torch.testing.assert_close(a, b)


def test_by_hand_a_quarter_of_the_old_and_half_of_the_new():
    # Sums of the gates: i 0, f -ln 3, g atanh 0.6, o ln 3.
    # Opened: i = 1/2, f = 1/4, g = 0.6, o = 3/4.
    ln3 = math.log(3)
    bias = torch.tensor([0.0, -ln3, math.atanh(0.6), ln3])
    x, h, c = torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor([[2.0]])
    zeros = torch.zeros(4, 1)
    h, c = lstm_cell(x, h, c, zeros, zeros, bias, torch.zeros(4))
    assert c.item() == pytest.approx(0.25 * 2 + 0.5 * 0.6)
    assert h.item() == pytest.approx(0.75 * math.tanh(0.8))


def test_one_step_of_the_gradient_by_hand_equals_autograd():
    x, h, c, weight_ih, weight_hh, bias_ih, bias_hh = random_cell()
    stacked = x @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh
    stacked.requires_grad_(), c.requires_grad_()
    gates = open_gates(stacked)
    i, f, g, o = gates
    c_new = f * c + i * g
    h_new = o * c_new.tanh()
    dh, dc = torch.randn(2, BATCH, HIDDEN, dtype=torch.float64)
    expected = torch.autograd.grad((h_new, c_new), (stacked, c), (dh, dc))
    got = lstm_step_gradient(dh, dc, gates, c, c_new)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("begin", [False, True])
def test_layers_and_directions_equal_torch(layers, bidirectional, begin):
    ours, theirs = same_layers(layers, bidirectional)
    x = torch.randn(BATCH, LENGTH, INPUT, dtype=torch.float64)
    rows = layers * (2 if bidirectional else 1)
    state = torch.randn(2, rows, BATCH, HIDDEN, dtype=torch.float64)
    inputs = [x, *state] if begin else [x]
    a = [t.clone().requires_grad_() for t in inputs]
    b = [t.clone().requires_grad_() for t in inputs]
    got, (h, c) = ours(a[0], tuple(a[1:]) or None)
    out, (h2, c2) = theirs(b[0], tuple(b[1:]) or None)
    torch.testing.assert_close((got, h, c), (out, h2, c2))
    up, up_h, up_c = (torch.randn_like(t) for t in (out, h, c))
    losses = [
        (o * up).sum() + (p * up_h).sum() + (q * up_c).sum()
        for o, p, q in ((got, h, c), (out, h2, c2))
    ]
    assert_same_gradients(ours, theirs, a, b, losses)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_sequences_of_different_lengths_equal_torchs_packed_ones(
    bidirectional,
):
    ours, theirs = same_layers(2, bidirectional)
    lengths = torch.tensor([4, 7, 1])
    x = torch.randn(BATCH, LENGTH, INPUT, dtype=torch.float64)
    packed = pack_padded_sequence(
        x, lengths, batch_first=True, enforce_sorted=False
    )
    out, state = theirs(packed)
    out, _ = pad_packed_sequence(out, batch_first=True, total_length=LENGTH)
    got, ours_state = ours(x, lengths=lengths)
    torch.testing.assert_close((got, *ours_state), (out, *state))
    up = torch.randn_like(out)
    losses = (got * up).sum(), (out * up).sum()
    assert_same_gradients(ours, theirs, [], [], losses)


def test_the_gates_come_in_torchs_order():
    """Another order runs as well, and computes something else."""
    x, h, c, *parameters = random_cell()
    right = lstm_cell(x, h, c, *parameters)
    for order in ((0, 1, 3, 2), (1, 0, 2, 3)):  # i f o g; f i g o
        mixed = [p.view(4, HIDDEN, -1)[list(order)] for p in parameters]
        mixed = [
            m.reshape(p.shape) for m, p in zip(mixed, parameters, strict=True)
        ]
        assert not torch.allclose(lstm_cell(x, h, c, *mixed)[0], right[0])


def held(cell, gates, **bias):
    """Run `cell` for 100 silent steps; its gates open as `bias` says."""
    names = "ifgo" if gates == 4 else "igo"
    b = torch.tensor([bias.get(n, 0.0) for n in names], dtype=torch.float64)
    zeros = torch.zeros(gates, 1, dtype=torch.float64)
    c = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    h, now = torch.zeros(1, 1, dtype=torch.float64), c
    for _ in range(100):
        x = torch.zeros(1, 1, dtype=torch.float64)
        h, now = cell(x, h, now, zeros, zeros, b, b * 0)
    (slope,) = torch.autograd.grad(now.sum(), c)
    return slope.item()


def test_without_a_forget_gate_the_error_comes_back_unchanged():
    assert held(lstm_1997_cell, 3) == 1.0


def test_a_forget_gate_of_nine_tenths_leaves_27_millionths_after_100_steps():
    slope = held(lstm_cell, 4, f=math.log(9))  # σ(ln 9) = 0.9
    assert slope == pytest.approx(0.9**100)
    assert slope == pytest.approx(2.66e-5, rel=1e-2)


def test_an_open_forget_gate_makes_it_the_cell_of_1997():
    x, h, c, *parameters = random_cell()
    keep = [0, 2, 3]  # i, g, o
    fewer = [
        p.view(4, HIDDEN, -1)[keep].reshape(-1, *p.shape[1:])
        for p in parameters
    ]
    weight_ih, weight_hh, bias_ih, bias_hh = (p.clone() for p in parameters)
    forget = slice(HIDDEN, 2 * HIDDEN)
    weight_ih[forget] = weight_hh[forget] = 0
    bias_ih[forget], bias_hh[forget] = 1e3, 0
    torch.testing.assert_close(
        lstm_cell(x, h, c, weight_ih, weight_hh, bias_ih, bias_hh),
        lstm_1997_cell(x, h, c, *fewer),
    )


def test_layers_of_1997_walk_as_the_cell_does():
    torch.manual_seed(0)
    model = LSTM1997(INPUT, HIDDEN)
    x = torch.randn(BATCH, LENGTH, INPUT)
    h = c = torch.zeros(BATCH, HIDDEN)
    out, state = model(x)
    for t in range(LENGTH):
        h, c = lstm_1997_cell(x[:, t], h, c, *model.parameters())
        torch.testing.assert_close(out[:, t], h)
    torch.testing.assert_close(state, (h[None], c[None]))


def test_an_output_stays_between_minus_one_and_one_and_a_memory_grows():
    """What is counted in c may exceed 1; what is shown in h may not."""
    model = LSTM1997(1, 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(5.0)
    out, (_, c) = model(torch.ones(1, 50, 1))
    assert c.item() == pytest.approx(50, abs=0.1)
    assert 0.99 < out.max() <= 1


@pytest.mark.parametrize("kind", [LSTM, LSTM1997])
def test_changing_the_future_changes_nothing(kind):
    torch.manual_seed(0)
    model = kind(INPUT, HIDDEN, 2)
    x = torch.randn(BATCH, LENGTH, INPUT)
    out, _ = model(x)
    for t in range(1, LENGTH):
        changed = x.clone()
        changed[:, t:] = 9.0
        after, _ = model(changed)
        assert torch.equal(after[:, :t], out[:, :t])
        assert (after[:, t:] != out[:, t:]).any(-1).all()


def test_two_halves_with_the_state_handed_on_equal_the_whole():
    ours, _ = same_layers(2)
    x = torch.randn(BATCH, LENGTH, INPUT, dtype=torch.float64)
    whole, last = ours(x)
    first, state = ours(x[:, :3])
    second, end = ours(x[:, 3:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(end, last)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.booleans())
def test_parameters_are_counted_by_formula(inputs, hidden, layers, both):
    model = LSTM(inputs, hidden, layers, bidirectional=both)
    theirs = nn.LSTM(inputs, hidden, layers, bidirectional=both)
    count = lstm_parameters(inputs, hidden, layers, directions=1 + both)
    assert count == sum(p.numel() for p in model.parameters())
    assert count == sum(p.numel() for p in theirs.parameters())


def test_ten_inputs_and_twenty_units_need_2560_parameters():
    assert lstm_parameters(10, 20) == 4 * (20 * 10 + 20 * 20 + 2 * 20) == 2560


@pytest.mark.parametrize("bias", [1.0, 3.0])
def test_the_two_biases_of_the_forget_gate_sum_to_what_was_asked(bias):
    """Filling both with 1, as is easily done, opens the gate with 2."""
    model = LSTM(INPUT, HIDDEN, 2, bidirectional=True)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    set_forget_bias(model, bias)
    for name, now in model.state_dict().items():
        changed = now != before[name]
        rows = torch.zeros(4 * HIDDEN, dtype=torch.bool)
        rows[HIDDEN : 2 * HIDDEN] = name.startswith("bias")
        assert torch.equal(changed.reshape(4 * HIDDEN, -1).all(1), rows)
    for end in ("l0", "l0_reverse", "l1", "l1_reverse"):
        total = getattr(model, f"bias_ih_{end}") + getattr(
            model, f"bias_hh_{end}"
        )
        assert (total[HIDDEN : 2 * HIDDEN] == bias).all()


def test_chrono_memories_last_from_one_step_to_the_longest_wait():
    torch.manual_seed(0)
    model = set_chrono_bias(LSTM(INPUT, 1000, 2), 200)
    for layer in "01":
        sums = getattr(model, f"bias_ih_l{layer}") + getattr(
            model, f"bias_hh_l{layer}"
        )
        i, f, _, _ = sums.detach().chunk(4)
        torch.testing.assert_close(i, -f)
        lasting = 1 / (1 - f.sigmoid())  # steps until 1/e is left, about
        assert 2 <= lasting.min() < 4 and 196 < lasting.max() <= 200
        assert lasting.mean() == pytest.approx(101, abs=6)  # drawn evenly


def test_a_wait_below_two_is_refused():
    with pytest.raises(ValueError, match="longest: got 1, expected"):
        set_chrono_bias(LSTM(INPUT, HIDDEN), 1)


WRONG = {
    "x": (0, (BATCH, INPUT, 1)),
    "h": (1, (BATCH + 1, HIDDEN)),
    "c": (2, (BATCH, HIDDEN + 1)),
    "weight_ih": (3, (4 * HIDDEN, INPUT + 1)),
    "weight_hh": (4, (3 * HIDDEN, HIDDEN)),
    "bias_ih": (5, (HIDDEN,)),
    "bias_hh": (6, (4 * HIDDEN, 1)),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused_by_name(name):
    arguments = random_cell()
    at, shape = WRONG[name]
    arguments[at] = torch.zeros(shape, dtype=torch.float64)
    with pytest.raises(ValueError, match=rf"^{name}: got "):
        lstm_cell(*arguments)


def test_three_gates_do_not_pass_for_four():
    with pytest.raises(
        ValueError, match=r"^weight_ih: got 12 rows, expected 4"
    ):
        lstm_cell(*random_cell(gates=3))
    with pytest.raises(
        ValueError, match=r"^weight_ih: got 16 rows, expected 3"
    ):
        lstm_1997_cell(*random_cell(gates=4))


def test_h_and_c_swapped_is_another_step():
    """Both have the same shape, so nothing stops you."""
    x, h, c, *parameters = random_cell()
    right = lstm_cell(x, h, c, *parameters)
    assert not torch.allclose(lstm_cell(x, c, h, *parameters)[0], right[0])


def test_a_state_without_a_memory_is_refused():
    model = LSTM(INPUT, HIDDEN)
    x, h = torch.zeros(BATCH, LENGTH, INPUT), torch.zeros(1, BATCH, HIDDEN)
    with pytest.raises(ValueError, match="^state: got Tensor"):
        model(x, h)


def test_both_biases_learn_the_same_so_one_would_do():
    ours, _ = same_layers()
    out, _ = ours(torch.randn(BATCH, LENGTH, INPUT, dtype=torch.float64))
    a, b = torch.autograd.grad(
        out.square().sum(), (ours.bias_ih_l0, ours.bias_hh_l0)
    )
    torch.testing.assert_close(a, b)
