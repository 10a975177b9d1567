"""The scan in its three forms, and against what others know of recurrences."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from llmnotes.models.mamba import fast, scan
from tests.models.mamba.tiny import graded, inputs, marked

FORMS = {
    "loop": scan.selective_scan,
    "tree": scan.parallel_scan,
    "compiled": fast.selective_scan,
}
OTHERS = list(FORMS)[1:]
LENGTHS = 1, 2, 3, 7, 16, 33


def close(found, expected):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("form", OTHERS)
def test_three_forms_are_one_map_with_one_gradient(form, length):
    x = inputs(length)
    close(graded(FORMS[form], x), graded(FORMS["loop"], x))
    start = torch.randn(2, 5, 3, dtype=torch.float64)
    more = dict(start=start, first=marked(length))
    close(graded(FORMS[form], x, **more), graded(FORMS["loop"], x, **more))


@pytest.mark.parametrize("width", [1, 127, 128, 129, 260])
def test_slices_of_channels_leave_no_seam(width):
    x = inputs(9, width)
    close(graded(fast.selective_scan, x), graded(scan.selective_scan, x))


@pytest.mark.parametrize("chunk", [*range(1, 13), 100])
def test_states_kept_every_so_many_tokens_change_nothing(chunk):
    x, more = inputs(11), dict(first=marked(11))
    compiled = partial(fast.selective_scan, chunk=chunk)
    close(graded(compiled, x, **more), graded(scan.selective_scan, x, **more))


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_finite_differences(form):
    x = [part.requires_grad_() for part in inputs(4, 2, 2, 1)]
    start = torch.randn(1, 2, 2, dtype=torch.float64, requires_grad=True)
    first = torch.tensor([[False, False, True, False]])

    def go(*given):
        return FORMS[form](*given[:5], start=given[5], first=first)

    assert torch.autograd.gradcheck(go, (*x, start))


numbers = st.integers(-(10**6), 10**6)
steps = st.tuples(numbers, numbers)


@given(steps, steps, steps)
def test_steps_may_be_bracketed_at_will(f, g, h):
    f, g, h = (tuple(map(torch.tensor, one)) for one in (f, g, h))
    left = scan.compose(scan.compose(f, g), h)
    assert left == scan.compose(f, scan.compose(g, h))  # whole numbers: exact


@pytest.mark.parametrize("length", range(1, 34))
def test_a_tree_of_steps_is_their_chain(length):
    draws = torch.Generator().manual_seed(length)
    decay = torch.randint(-1, 2, (1, length), generator=draws).double()
    write = torch.randint(-9, 10, (1, length), generator=draws).double()
    state, states = 0.0, []
    for a, b in zip(decay[0].tolist(), write[0].tolist(), strict=True):
        state = a * state + b
        states.append(state)
    assert scan.tree(decay, write)[0].tolist() == states


def test_by_hand():
    half = -torch.log(torch.tensor([[2.0]]))  # a state loses half per Δ = 1
    x = torch.tensor([[[1.0], [2.0], [0.0]]])
    delta = torch.tensor([[[1.0], [1.0], [2.0]]])
    B, C = torch.ones(1, 3, 1), torch.tensor([[[1.0], [10.0], [1.0]]])
    for form in FORMS.values():
        y, state = form(x, delta, half, B, C)
        assert y.flatten().tolist() == pytest.approx([1, 25, 0.625])
        assert state.item() == pytest.approx(0.625)


def test_without_selection_it_is_a_linear_filter():
    x, delta, A, B, C = inputs(40, 1, 4, 1)
    delta, B, C = (part[:, :1].expand_as(part) for part in (delta, B, C))
    step, rows = delta[0, 0, 0].item(), x[0, :, 0].numpy()
    expected = sum(
        C[0, 0, n].item()
        * signal.lfilter(
            [step * B[0, 0, n].item()],
            [1, -torch.exp(step * A[0, n]).item()],
            rows,
        )
        for n in range(4)
    )
    for form in FORMS.values():
        y, _ = form(x, delta, A, B, C)
        torch.testing.assert_close(y[0, :, 0], torch.tensor(expected))


def test_its_decay_is_the_forget_gate_of_an_rnn():
    z = torch.linspace(-20, 20, 41, dtype=torch.float64)
    decay = torch.exp(-F.softplus(z))
    torch.testing.assert_close(decay, 1 - torch.sigmoid(z), rtol=0, atol=1e-15)


@pytest.mark.parametrize("form", FORMS)
def test_texts_in_a_row_do_not_know_each_other(form):
    x, delta, A, B, C = inputs(12, batch=1)
    first = torch.zeros(1, 12, dtype=torch.bool)
    first[0, [0, 5, 6]] = True
    y, last = FORMS[form](x, delta, A, B, C, first=first)
    for low, high in ((0, 5), (5, 6), (6, 12)):
        part = [one[:, low:high] for one in (x, delta, B, C)]
        alone, state = FORMS[form](*part[:2], A, *part[2:])
        close([y[:, low:high]], [alone])
    close([last], [state])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cut", [1, 4, 10])
def test_a_text_may_be_cut_anywhere(form, cut):
    x, delta, A, B, C = inputs(11)
    y, last = FORMS[form](x, delta, A, B, C)
    state, parts = None, []
    for at in (slice(0, cut), slice(cut, 11)):
        here = [one[:, at] for one in (x, delta, B, C)]
        part, state = FORMS[form](*here[:2], A, *here[2:], start=state)
        parts.append(part)
    close([torch.cat(parts, 1), state], [y, last])


def test_one_token_is_one_step():
    x, delta, A, B, C = inputs(6)
    y, last = scan.selective_scan(x, delta, A, B, C)
    state = torch.zeros(2, 5, 3, dtype=torch.float64)
    for t in range(6):
        said, state = scan.step(
            x[:, t], delta[:, t], A, B[:, t], C[:, t], state
        )
        close([said], [y[:, t]])
    close([state], [last])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("form", FORMS)
def test_sixteen_bits_are_rounded_once(form, dtype):
    x = inputs(20, dtype=dtype)
    y, state = FORMS[form](*x)
    wide, expected = FORMS[form](*(part.float() for part in x))
    assert torch.equal(y, wide.to(dtype))
    assert state.dtype == torch.float32
    assert torch.equal(state, expected)


def test_a_state_beyond_float16_is_no_infinity():
    x, delta, A, B, C = inputs(300, dtype=torch.float16)
    big = [x.fill_(200), delta.fill_(4), A.fill_(0), B.fill_(1), C.fill_(1e-3)]
    for form in FORMS.values():
        y, state = form(*big)
        assert state.max() > 65504
        assert y.isfinite().all()


def test_the_quick_exponential_is_good_to_six_digits():
    # One channel, one number, one step from a state of 1: its decay is read.
    t = torch.linspace(0, 80, 4001)
    x, B = torch.zeros(4001, 1, 1), torch.ones(4001, 1, 1)
    start = torch.ones(4001, 1, 1)
    y, _ = fast.selective_scan(
        x, t[:, None, None], -torch.ones(1, 1), B, B, start=start
    )
    expected = torch.exp(-t.double())
    error = (y.flatten().double() / expected - 1).abs()
    assert error.max() < 1e-5  # of t itself, rounded: 80 · 6e-8
    assert error[t < 1].max() < 4e-7


def test_a_token_that_does_not_move_leaves_a_state_as_it_is():
    x, delta, A, B, C = inputs(1000, dtype=torch.float32)
    start = torch.randn(2, 5, 3)
    for form in FORMS.values():
        _, last = form(x, torch.zeros_like(delta), A, B, C, start=start)
        assert torch.equal(last, start)


def test_a_decay_of_zero_is_almost_reached():
    x, delta, A, B, C = inputs(4, dtype=torch.float32)
    far = delta.fill_(1e4), A.fill_(-1.0)
    y, _ = fast.selective_scan(x, *far, B, C)
    expected, _ = scan.selective_scan(x, *far, B, C)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=0)


def test_two_threads_find_what_one_finds():
    x = inputs(20, 400, dtype=torch.float32)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(graded(fast.selective_scan, x))
    torch.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(other, found[0], strict=True):
            torch.testing.assert_close(a, b)


def test_what_is_kept_for_backward_is_small():
    x = inputs(512, 64, 16, dtype=torch.float32)
    given = sum(part.nbytes for part in x) + x[0].nbytes
    kept = {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    leaves = [part.requires_grad_() for part in x]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        fast.selective_scan(*leaves)
    assert sum(kept.values()) < 1.5 * given
    kept.clear()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        scan.selective_scan(*leaves)
    assert sum(kept.values()) > 10 * given


REFUSED = {
    "delta: got -0.5, expected none below 0": dict(delta=-0.5),
    "delta: got nan, expected none below 0": dict(delta=float("nan")),
    "delta: got inf, expected finite numbers": dict(delta=float("inf")),
    "A: got 0.5, expected none above 0: the state would grow": dict(A=0.5),
    "A: got nan, expected none above 0: the state would grow": (
        dict(A=float("nan"))
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("message", REFUSED)
def test_numbers_that_cannot_be_are_named(form, message):
    names = dict(zip(("x", "delta", "A", "B", "C"), inputs(3), strict=True))
    (name, value), *_ = REFUSED[message].items()
    names[name].flatten()[0] = value
    with pytest.raises(ValueError) as error:
        FORMS[form](**names)
    assert str(error.value) == message


def test_one_step_refuses_what_a_scan_refuses():
    x, delta, A, B, C = inputs(1)
    state = torch.zeros(2, 5, 3, dtype=torch.float64)
    row = dict(x=x[:, 0], B=B[:, 0], C=C[:, 0], before=state)
    with pytest.raises(ValueError, match="delta: got -1, expected none below"):
        scan.step(delta=-torch.ones_like(delta[:, 0]), A=A, **row)
    with pytest.raises(ValueError, match="A: got .*, expected none above 0"):
        scan.step(delta=delta[:, 0], A=-A, **row)
    with pytest.raises(ValueError, match="before: got state 2, expected A's"):
        scan.step(
            delta=delta[:, 0], A=A, **(row | dict(before=state[..., :2]))
        )


SHAPES = {
    "delta: got length 2, expected x's 3": dict(delta=(2, 2, 5)),
    "delta: got width 4, expected x's 5": dict(delta=(2, 3, 4)),
    "A: got width 4, expected x's 5": dict(A=(4, 3)),
    "B: got state 2, expected A's 3": dict(B=(2, 3, 2)),
    "C: got batch 1, expected x's 2": dict(C=(1, 3, 3)),
    "C: got shape (2, 0, 3), expected no empty axis": dict(C=(2, 0, 3)),
    "start: got width 3, expected x's 5": dict(start=(2, 3, 5)),
    "x: got shape (3, 5), expected (batch, length, width)": dict(x=(3, 5)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("message", SHAPES)
def test_shapes_that_do_not_fit_are_named(form, message):
    names = dict(zip(("x", "delta", "A", "B", "C"), inputs(3), strict=True))
    for name, shape in SHAPES[message].items():
        names[name] = torch.zeros(shape, dtype=torch.float64)
    with pytest.raises(ValueError) as error:
        FORMS[form](**names)
    assert str(error.value) == message


@pytest.mark.parametrize("form", FORMS)
def test_types_that_do_not_fit_are_named(form):
    x, delta, A, B, C = inputs(3)
    with pytest.raises(ValueError, match="A: got dtype torch.float32, expe"):
        FORMS[form](x, delta, A.float(), B, C)
    with pytest.raises(ValueError, match="x: got torch.int64, expected a f"):
        FORMS[form](x.long(), delta, A, B, C)
    first = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="first: got torch.float32, expect"):
        FORMS[form](x, delta, A, B, C, first=first)


def test_a_chunk_of_nothing_is_refused():
    with pytest.raises(ValueError, match="chunk: got 0, expected at least 1"):
        fast.selective_scan(*inputs(3), chunk=0)


def test_a_second_derivative_is_refused():
    x = [part.requires_grad_() for part in inputs(3)]
    y, _ = fast.selective_scan(*x)
    (found,) = torch.autograd.grad(y.sum(), x[0], create_graph=True)
    with pytest.raises(RuntimeError, match="a second derivative"):
        found.sum().backward()
