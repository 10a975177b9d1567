"""What the RNN chapter claims, proved."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from llmnotes.sequence.rnn import RNN, Recurrent, ReluRNN, rnn_cell

BATCH, LENGTH, INPUT, HIDDEN = 4, 9, 5, 7
KINDS = {"tanh": RNN, "relu": ReluRNN}
SHAPES = [(1, False), (1, True), (3, False), (2, True)]


def pair(kind="tanh", layers=1, bidirectional=False):
    """Ours and PyTorch's with the same weights, and inputs for both."""
    torch.manual_seed(0)
    ours = KINDS[kind](INPUT, HIDDEN, layers, bidirectional=bidirectional)
    theirs = nn.RNN(
        INPUT,
        HIDDEN,
        layers,
        bidirectional=bidirectional,
        nonlinearity=kind,
        batch_first=True,
    )
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(BATCH, LENGTH, INPUT, dtype=torch.float64)
    state = torch.randn(layers * ours.directions, BATCH, HIDDEN).double()
    return ours.double(), theirs.double(), x, state


def assert_same_gradients(ours, theirs, inputs, ours_out, theirs_out):
    """Compare the gradients of a random weighting of all outputs."""
    upstream = [torch.randn_like(out) for out in ours_out]
    a = [*inputs, *ours.parameters()]
    b = [*inputs, *theirs.parameters()]
    assert [n for n, _ in ours.named_parameters()] == [
        n for n, _ in theirs.named_parameters()
    ]
    for g, h in zip(
        torch.autograd.grad(ours_out, a, upstream),
        torch.autograd.grad(theirs_out, b, upstream),
        strict=True,
    ):
        torch.testing.assert_close(g, h)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("layers", "bidirectional"), SHAPES)
def test_output_state_and_gradient_equal_torch(kind, layers, bidirectional):
    ours, theirs, x, state = pair(kind, layers, bidirectional)
    inputs = [x.requires_grad_(), state.requires_grad_()]
    a, b = ours(*inputs), theirs(*inputs)
    torch.testing.assert_close(a, b)
    assert_same_gradients(ours, theirs, inputs, a, b)


@pytest.mark.parametrize("lengths", [[3, 8, 8, 1], [9, 9, 9, 9], [2, 9, 4, 5]])
@pytest.mark.parametrize(("layers", "bidirectional"), SHAPES)
def test_lengths_equal_torchs_packed_sequence(layers, bidirectional, lengths):
    ours, theirs, x, state = pair("tanh", layers, bidirectional)
    inputs = [x.requires_grad_(), state.requires_grad_()]
    lengths = torch.tensor(lengths)
    a = ours(x, state, lengths)
    packed = pack_padded_sequence(
        x, lengths, batch_first=True, enforce_sorted=False
    )
    out, last = theirs(packed, state)
    out, _ = pad_packed_sequence(out, batch_first=True, total_length=LENGTH)
    torch.testing.assert_close(a, (out, last))
    assert_same_gradients(ours, theirs, inputs, a, (out, last))


def test_second_derivatives_equal_torch():
    ours, theirs, x, state = pair(layers=2)
    inputs = [x.requires_grad_(), state]
    second = []
    for model in (ours, theirs):
        out = model(*inputs)[0].square().sum()
        (first,) = torch.autograd.grad(out, x, create_graph=True)
        second.append(torch.autograd.grad(first.square().sum(), x))
    torch.testing.assert_close(*second)


def test_the_cell_equals_torchs_cell():
    torch.manual_seed(0)
    cell = nn.RNNCell(INPUT, HIDDEN)
    x, h = torch.randn(BATCH, INPUT), torch.randn(BATCH, HIDDEN)
    x.requires_grad_()
    ours, theirs = rnn_cell(x, h, *cell.parameters()), cell(x, h)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(ours)
    inputs = [x, *cell.parameters()]
    for a, b in zip(
        torch.autograd.grad(ours, inputs, upstream),
        torch.autograd.grad(theirs, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_by_hand_two_steps_give_one_half_twice():
    """With U = 1 and W = ln 3: tanh(½ ln 3) = (3 - 1)/(3 + 1) = ½."""
    model = RNN(1, 1).double()
    with torch.no_grad():
        for p, value in zip(
            model.parameters(), (1, math.log(3), 0, 0), strict=True
        ):
            p.fill_(value)
    x = torch.tensor([[[math.log(3) / 2], [0.0]]], dtype=torch.float64)
    out, state = model(x.requires_grad_())
    assert out.flatten().tolist() == pytest.approx([0.5, 0.5])
    (grad,) = torch.autograd.grad(out[0, 1, 0], x)
    # Backwards: (1 - ¼) · ln 3 · (1 - ¼), and 1 - ¼ for the last input.
    expected = [9 / 16 * math.log(3), 3 / 4]
    assert grad.flatten().tolist() == pytest.approx(expected)


def test_the_module_is_the_cell_step_by_step():
    ours, _, x, _ = pair()
    h = torch.zeros(BATCH, HIDDEN, dtype=torch.float64)
    out, _ = ours(x)
    for t in range(LENGTH):
        h = rnn_cell(x[:, t], h, *ours.parameters())
        torch.testing.assert_close(out[:, t], h)


def test_a_sequence_cut_in_two_goes_on_from_its_state():
    ours, _, x, _ = pair(layers=2)
    whole, end = ours(x)
    first, state = ours(x[:, :4])
    second, last = ours(x[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(last, end)


def test_changing_the_future_changes_nothing():
    ours, _, x, _ = pair(layers=3)
    before, _ = ours(x)
    x[:, 5:] = 1e3
    after, _ = ours(x)
    assert torch.equal(after[:, :5], before[:, :5])
    assert not torch.equal(after[:, 5], before[:, 5])


def test_both_directions_see_the_future():
    ours, _, x, _ = pair(layers=1, bidirectional=True)
    before, _ = ours(x)
    x[:, 5:] += 1
    after, _ = ours(x)
    same = (after == before).all(0).all(0)  # by unit, over all steps
    assert not same.any()
    moved = (after != before).any(0).any(-1)
    assert moved.all()
    forward = (after != before)[..., :HIDDEN].any(0).any(-1)
    assert forward.tolist() == [t >= 5 for t in range(LENGTH)]


def test_backwards_is_forwards_on_the_reversed_sequence():
    ours, _, x, _ = pair(bidirectional=True)
    alone = RNN(INPUT, HIDDEN).double()
    alone.load_state_dict(
        {
            name.removesuffix("_reverse"): p
            for name, p in ours.state_dict().items()
            if name.endswith("_reverse")
        }
    )
    out, state = ours(x)
    turned, last = alone(x.flip(1))
    torch.testing.assert_close(out[..., HIDDEN:], turned.flip(1))
    torch.testing.assert_close(state[1:], last)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_sequences_equal_each_alone(bidirectional):
    ours, _, x, _ = pair(layers=2, bidirectional=bidirectional)
    lengths = [3, 8, 8, 1]
    out, last = ours(x, lengths=torch.tensor(lengths))
    for b, n in enumerate(lengths):
        alone, end = ours(x[b : b + 1, :n])
        torch.testing.assert_close(out[b, :n], alone[0])
        torch.testing.assert_close(last[:, b], end[:, 0])
        assert (out[b, n:] == 0).all()


@pytest.mark.parametrize("bad", [1e30, math.inf, math.nan])
def test_what_follows_a_sequence_is_neither_read_nor_learned_from(bad):
    ours, _, x, _ = pair(layers=2, bidirectional=True)
    lengths = torch.tensor([3, 8, 8, 1])
    clean = ours(x, lengths=lengths)
    wanted = torch.autograd.grad(clean[0].sum(), ours.weight_ih_l0_reverse)
    for b, n in enumerate(lengths.tolist()):
        x[b, n:] = bad
    dirty = ours(x, lengths=lengths)
    torch.testing.assert_close(dirty, clean)
    got = torch.autograd.grad(dirty[0].sum(), ours.weight_ih_l0_reverse)
    torch.testing.assert_close(got, wanted)


def test_a_packed_scan_computes_only_the_steps_that_there_are():
    rows = []

    class Counting(RNN):
        def scan(self, projected, state, weight_hh, bias_hh):
            rows.append(projected.shape[0] * projected.shape[1])
            return super().scan(projected, state, weight_hh, bias_hh)

    x = torch.randn(BATCH, LENGTH, INPUT)
    Counting(INPUT, HIDDEN)(x, lengths=torch.tensor([3, 8, 8, 1]))
    assert sum(rows) == 3 + 8 + 8 + 1
    assert rows == [1 * 4, 2 * 3, 5 * 2]


def test_two_biases_act_as_their_sum():
    ours, _, x, _ = pair()
    before, _ = ours(x)
    with torch.no_grad():
        ours.bias_ih_l0 += ours.bias_hh_l0
        ours.bias_hh_l0.zero_()
    torch.testing.assert_close(ours(x)[0], before)


def test_parameters_are_drawn_as_torch_draws_them():
    model = RNN(30, 100, 2)
    for p in model.parameters():
        assert p.abs().max() <= 0.1
        std = p.std().item()
        assert std == pytest.approx(0.1 / math.sqrt(3), rel=0.15)


def attended(x):
    """A feed-forward mixing of positions: causal attention, no weights."""
    return F.scaled_dot_product_attention(x, x, x, is_causal=True)


def test_feed_forward_takes_any_length_and_computes_all_steps_at_once():
    """What sets an RNN apart is the wait, not the length of its input."""
    torch.manual_seed(0)
    x = torch.randn(1, 9, 4, dtype=torch.float64)
    for length in (1, 5, 9):  # one function, inputs of any length
        whole = attended(x[:, :length])
        for t in range(length):  # every position without the others' outputs
            torch.testing.assert_close(
                whole[:, t], attended(x[:, : t + 1])[:, -1]
            )


def test_feed_forward_generates_one_step_at_a_time_all_the_same():
    torch.manual_seed(0)
    x = torch.randn(1, 3, 4, dtype=torch.float64)
    for _ in range(4):  # the next input is the last output: it must wait
        x = torch.cat([x, attended(x)[:, -1:]], 1)
    at_once = attended(x)[:, 2:-1]
    torch.testing.assert_close(at_once, x[:, 3:])  # known, all at once


GOOD = {"x": (BATCH, LENGTH, INPUT), "state": (2, BATCH, HIDDEN)}
BAD = {
    "x: got shape (9, 5), expected (batch, length, input)": {"x": (9, 5)},
    "x: got input 6, expected input_size = 5": {"x": (4, 9, 6)},
    "x: got shape (4, 0, 5)": {"x": (4, 0, 5)},
    "state: got shapes [(1, 4, 7)], expected [(2, 4, 7)]": {
        "state": (1, 4, 7)
    },
    "state: got shapes [(2, 3, 7)], expected [(2, 4, 7)]": {
        "state": (2, 3, 7)
    },
}


@pytest.mark.parametrize(("message", "shapes"), BAD.items())
def test_shapes_that_do_not_fit_are_named(message, shapes):
    tensors = {n: torch.zeros(s) for n, s in (GOOD | shapes).items()}
    with pytest.raises(ValueError) as error:
        RNN(INPUT, HIDDEN, 2)(**tensors)
    assert str(error.value).startswith(message)


def test_dtypes_pairs_and_lengths_that_do_not_fit_are_named():
    x, state = (torch.zeros(s) for s in GOOD.values())
    long = torch.tensor
    cases = {
        "x: got torch.float64 on cpu": (x.double(), None, None),
        "state: got torch.float64 on cpu": (x, state.double(), None),
        "state: got tuple, expected a tensor": (x, (state, state), None),
        "lengths: got batch 3, expected x's 4": (x, state, long([1, 2, 3])),
    }
    for message, arguments in cases.items():
        with pytest.raises(ValueError) as error:
            RNN(INPUT, HIDDEN, 2)(*arguments)
        assert str(error.value).startswith(message)


@pytest.mark.parametrize("name", ["input_size", "hidden_size", "num_layers"])
def test_sizes_below_one_are_named(name):
    sizes = {"input_size": 2, "hidden_size": 3, "num_layers": 1} | {name: 0}
    with pytest.raises(ValueError, match=f"^{name}: got 0"):
        RNN(**sizes)


def test_a_cell_must_say_how_one_step_goes():
    with pytest.raises(NotImplementedError):
        Recurrent(2, 3)(torch.zeros(1, 2, 2))


CELL = {
    "x: got shape (4, 5, 1), expected (batch, input)": {"x": (4, 5, 1)},
    "h: got batch 3, expected x's 4": {"h": (3, 7)},
    "weight_ih: got input 6, expected x's 5": {"weight_ih": (7, 6)},
    "weight_hh: got hidden 8, expected h's 7": {"weight_hh": (8, 7)},
    "bias_ih: got hidden 1, expected h's 7": {"bias_ih": (1,)},
    "bias_hh: got hidden 14, expected h's 7": {"bias_hh": (14,)},
}


@pytest.mark.parametrize(("message", "shape"), CELL.items())
def test_a_cells_arguments_that_do_not_fit_are_named(message, shape):
    good = {
        "x": (BATCH, INPUT),
        "h": (BATCH, HIDDEN),
        "weight_ih": (HIDDEN, INPUT),
        "weight_hh": (HIDDEN, HIDDEN),
        "bias_ih": (HIDDEN,),
        "bias_hh": (HIDDEN,),
    }
    with pytest.raises(ValueError) as error:
        rnn_cell(*(torch.zeros(s) for s in (good | shape).values()))
    assert str(error.value).startswith(message)


size = st.integers(1, 6)


@settings(deadline=None, max_examples=60)
@given(size, size, size, size, st.integers(1, 3), st.booleans(), st.data())
def test_any_fitting_shape_equals_torch(
    batch, length, width, hidden, layers, bidirectional, data
):
    ours = RNN(width, hidden, layers, bidirectional=bidirectional)
    theirs = nn.RNN(
        width, hidden, layers, bidirectional=bidirectional, batch_first=True
    )
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(batch, length, width)
    drawn = st.lists(st.integers(1, length), min_size=batch, max_size=batch)
    lengths = torch.tensor(data.draw(drawn))
    out, last = theirs(
        pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
    )
    out, _ = pad_packed_sequence(out, batch_first=True, total_length=length)
    torch.testing.assert_close(ours(x, lengths=lengths), (out, last))
