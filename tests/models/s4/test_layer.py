"""S4D: a kernel by Vandermonde's matrix, three ways to read, one answer."""

import math

import pytest
import torch
from scipy import signal

from llmnotes.models.s4 import (
    S4,
    S4D,
    S4Config,
    convolve,
    diagonal_inverse,
    diagonal_kernel,
    diagonal_legs,
    diagonal_linear,
    kernel,
    powers,
    without_decay,
    zoh,
    zoh_diagonal,
)

BATCH, LENGTH, WIDTH, STATE = 3, 13, 4, 6


def diagonal(seed=0):
    """Modes a, steps, and C, of WIDTH state spaces."""
    torch.manual_seed(seed)
    shape = WIDTH, STATE // 2
    a = torch.complex(-torch.rand(shape).double(), torch.randn(shape).double())
    c = torch.randn(shape, dtype=torch.complex128)
    return a, torch.rand(WIDTH).double() + 0.01, c


def layer(**more):
    torch.manual_seed(0)
    return S4D(WIDTH, STATE, **more).double()


def dense(a, c):
    """The same space with real matrices: a 2 × 2 block for each pair."""
    blocks = [torch.tensor([[z.real, -z.imag], [z.imag, z.real]]) for z in a]
    b = torch.tensor([1.0, 0.0] * len(a)).double()
    rows = [[2 * z.real, -2 * z.imag] for z in c]
    return torch.block_diag(*blocks), b, torch.tensor(rows).double().flatten()


def test_a_kernel_equals_that_of_dense_matrices():
    a, step, c = diagonal()
    found = diagonal_kernel(*zoh_diagonal(a, step), c, LENGTH)
    for i in range(WIDTH):
        real_a, real_b, real_c = dense(a[i], c[i])
        once = zoh(real_a, real_b, step[i].item())
        torch.testing.assert_close(
            found[i], kernel(*once, real_c, LENGTH), rtol=1e-12, atol=1e-12
        )


def test_a_convolution_equals_lfilters_sum():
    a, step, c = diagonal()
    modes = zoh_diagonal(a, step)
    x = torch.randn(LENGTH, dtype=torch.float64)
    found = convolve(x.expand(WIDTH, -1), diagonal_kernel(*modes, c, LENGTH))
    for i in range(WIDTH):
        terms = [
            signal.lfilter([(z * b).item()], [1, -k.item()], x.numpy())
            for z, b, k in zip(c[i], modes.b[i], modes.a[i], strict=True)
        ]
        expected = torch.tensor(2 * sum(terms).real)
        assert (found[i] - expected).abs().max() < 1e-12


def test_powers_are_vandermondes_matrix():
    log_a = torch.log(torch.tensor([[0.5 + 0j, 2j]]).to(torch.complex128))
    expected = [[[1, 0.5, 0.25], [1, 2j, -4]]]
    torch.testing.assert_close(
        powers(log_a, 3), torch.tensor(expected, dtype=torch.complex128)
    )


def test_a_kernel_by_hand():
    # ā = 1/2, B̄ = (1/2 - 1)/(-ln 2 / step); a real mode counts twice.
    a = torch.tensor([[-math.log(2) + 0j]]).to(torch.complex128)
    c = torch.tensor([[math.log(2) + 0j]]).to(torch.complex128)
    modes = zoh_diagonal(a, torch.ones(1).double())
    found = diagonal_kernel(*modes, c, 3)
    assert found[0].tolist() == pytest.approx([1.0, 0.5, 0.25])


@pytest.mark.parametrize("length", [1, 2, LENGTH, 64])
def test_three_ways_to_read_give_one_answer(length):
    model = layer()
    x = torch.randn(BATCH, length, WIDTH, dtype=torch.float64)
    whole = model(x)
    h, out = model.start(BATCH), []
    for x_t in x.unbind(1):
        y, h = model.step(x_t, h)
        out.append(y)
    assert (torch.stack(out, 1) - whole).abs().max() < 1e-12
    none = torch.zeros(BATCH, length, dtype=torch.bool)
    assert (model.packed(x, none) - whole).abs().max() < 1e-12
    y, end = model.read(x, model.start(BATCH))
    assert (y - whole).abs().max() < 1e-12
    assert (end - h).abs().max() < 1e-12


def gradients(out, model, x):
    weights = torch.linspace(-1, 1, out.numel()).view_as(out).double()
    wanted = [x, *model.parameters()]
    return torch.autograd.grad((out * weights).sum(), wanted)


def test_three_ways_have_the_same_gradients():
    model = layer()
    x = torch.randn(BATCH, LENGTH, WIDTH, dtype=torch.float64)
    x.requires_grad_()
    h, out = model.start(BATCH), []
    for x_t in x.unbind(1):
        y, h = model.step(x_t, h)
        out.append(y)
    none = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    expected = gradients(torch.stack(out, 1), model, x)
    for found in (model(x), model.packed(x, none)):
        torch.testing.assert_close(gradients(found, model, x), expected)


def test_gradients_equal_finite_differences():
    a, step, c = (t[:1].clone().requires_grad_() for t in diagonal())
    assert torch.autograd.gradcheck(
        lambda a, step, c: diagonal_kernel(*zoh_diagonal(a, step), c, 5),
        (a, step, c),
    )


@pytest.mark.parametrize("cuts", [(5,), (1, 2), (4, 9, 12)])
def test_reading_in_pieces_is_reading_whole(cuts):
    model = layer()
    x = torch.randn(BATCH, LENGTH, WIDTH, dtype=torch.float64)
    h, out = model.start(BATCH), []
    edges = [0, *cuts, LENGTH]
    for i, j in zip(edges, edges[1:], strict=False):
        y, h = model.read(x[:, i:j], h)
        out.append(y)
    torch.testing.assert_close(torch.cat(out, 1), model(x))


def test_rows_of_mixed_lengths_end_where_they_end():
    model = layer()
    x = torch.randn(BATCH, LENGTH, WIDTH, dtype=torch.float64)
    lengths = torch.tensor([LENGTH, 1, 7])
    start = torch.randn(BATCH, WIDTH, STATE // 2, dtype=torch.complex128)
    y, ends = model.read(x, start, lengths)
    for i, n in enumerate(lengths.tolist()):
        alone = model.read(x[i : i + 1, :n], start[i : i + 1])
        torch.testing.assert_close(y[i, :n], alone[0][0])
        torch.testing.assert_close(ends[i], alone[1][0])


def test_sequences_of_one_row_do_not_hear_of_each_other():
    model = layer()
    x = torch.randn(BATCH, LENGTH, WIDTH, dtype=torch.float64)
    first = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    first[0, 5] = first[0, 6] = first[2, 12] = True
    found = model.packed(x, first)
    for row, edges in ((0, (0, 5, 6, 13)), (1, (0, 13)), (2, (0, 12, 13))):
        for i, j in zip(edges, edges[1:], strict=False):
            alone = model(x[row : row + 1, i:j])
            torch.testing.assert_close(found[row, i:j], alone[0])
    assert (model(x)[0, 5:] - found[0, 5:]).abs().max() > 1e-3


@pytest.mark.parametrize(
    "modes", [diagonal_linear, diagonal_inverse, diagonal_legs]
)
def test_every_start_fades(modes):
    model = layer(modes=modes)
    space, c = model.space()
    assert (space.a.abs() < 1).all()
    found = diagonal_kernel(*space, c, 30_000)
    assert found[:, -1].abs().max() < 1e-4 * found.abs().max()


@pytest.mark.parametrize(
    "modes", [diagonal_linear, diagonal_inverse, diagonal_legs]
)
def test_a_layer_begins_where_it_is_told(modes):
    torch.manual_seed(0)
    many = S4D(2000, STATE, modes=modes, steps=(0.002, 0.2))
    step = many.log_step.exp()
    assert step.min() >= 0.002 and step.max() <= 0.2
    middle = step.median().item()  # as many below 0.02 as above: logarithms
    assert middle == pytest.approx(0.02, rel=0.2)
    space, c = many.space()
    expected = modes(STATE).to(torch.complex64).expand(2000, -1)
    torch.testing.assert_close(space.log_a / step[:, None], expected)
    assert c.abs().square().mean().item() == pytest.approx(1, rel=0.1)


def test_a_step_that_forgets_at_once_is_no_nan():
    model = layer(steps=(1e4, 1e5)).float()
    x = torch.randn(BATCH, LENGTH, WIDTH, requires_grad=True)
    out = model(x)
    assert out.isfinite().all()
    assert all(g.isfinite().all() for g in gradients(out, model, x))


def test_a_small_step_loses_no_digits():
    a = torch.tensor([[-0.5 + 1j]])
    found = zoh_diagonal(a, torch.tensor([1e-6])).b
    exact = zoh_diagonal(a.to(torch.complex128), torch.tensor([1e-6]).double())
    assert ((found - exact.b).abs() / exact.b.abs()).item() < 1e-6
    naive = ((1e-6 * a).exp() - 1) / a
    assert ((naive - exact.b).abs() / exact.b.abs()).item() > 1e-3


def test_a_model_steps_as_it_reads():
    torch.manual_seed(0)
    model = S4(S4Config(3, 5, d_model=8, state=6)).double()
    x = torch.randn(BATCH, LENGTH, 3, dtype=torch.float64)
    states, out = model.start(BATCH), []
    for x_t in x.unbind(1):
        y, states = model.step(x_t, states)
        out.append(y)
    assert (torch.stack(out, 1) - model(x)).abs().max() < 1e-12


def test_a_block_is_its_formula():
    torch.manual_seed(0)
    block = S4(S4Config(3, 5, d_model=8, state=6)).double().blocks[0]
    x = torch.randn(BATCH, LENGTH, 8, dtype=torch.float64)
    y = block.s4d(
        (x - x.mean(-1, True)) / (x.var(-1, False, True) + 1e-5) ** 0.5
    )
    y = y * (1 + torch.erf(y / 2**0.5)) / 2
    value, gate = (y @ block.mix.weight.T + block.mix.bias).chunk(2, -1)
    expected = x + value / (1 + (-gate).exp())
    torch.testing.assert_close(block(x), expected)


def test_a_config_says_where_steps_begin():
    model = S4(S4Config(3, 5, steps=(0.3, 0.4)))
    for block in model.blocks:
        step = block.s4d.log_step.exp()
        assert 0.3 <= step.min() and step.max() <= 0.4


def test_steps_take_no_more_memory_the_further_they_are():
    model = layer()
    h = model.start(1)
    sizes = set()
    for _ in range(5):
        _, h = model.step(torch.ones(1, WIDTH).double(), h)
        sizes.add(h.untyped_storage().nbytes())
    assert sizes == {WIDTH * STATE // 2 * 16}


def test_parameters_by_hand():
    model = S4(S4Config(1, 10, d_model=64, state=64, n_layer=2))
    inside = 64 * (1 + 32 + 32 + 64 + 1)  # Δ, Re a, Im a, C, D
    block = inside + 2 * 64 + (64 * 128 + 128)
    whole = (64 + 64) + 2 * block + 2 * 64 + (64 * 10 + 10)
    assert sum(p.numel() for p in model.parameters()) == whole


def test_state_spaces_are_not_decayed():
    model = S4(S4Config(1, 2, d_model=4, state=4, n_layer=1))
    others, spaces = without_decay(model, 0.1)
    assert others["weight_decay"] == 0.1
    assert spaces["weight_decay"] == 0
    inside = {id(p) for p in model.blocks[0].s4d.parameters()}
    assert {id(p) for p in spaces["params"]} == inside
    assert len(spaces["params"]) + len(others["params"]) == len(
        list(model.parameters())
    )


def test_under_autocast_the_state_space_stays_fine():
    torch.manual_seed(0)
    model = S4(S4Config(3, 5, d_model=8, state=6))
    x = torch.randn(2, 11, 3)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(x)
    error = (rough.float() - model(x)).abs().max()
    assert error < 0.05 * model(x).abs().max()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: S4D(0), "width: got 0, expected at least 1"),
        (lambda: S4D(4, 5), "pair: got 2, expected a divisor of state = 5"),
        (lambda: S4D(4, steps=(0.1, 0.01)), "steps: got (0.1, 0.01)"),
        (lambda: S4D(4, steps=(0.0, 0.01)), "steps: got (0.0, 0.01)"),
        (
            lambda: layer()(torch.ones(2, 3, 5).double()),
            "x: got width 5, expected 4",
        ),
        (
            lambda: layer()(torch.ones(2, 0, 4).double()),
            "x: got shape (2, 0, 4), expected no empty axis",
        ),
        (
            lambda: layer().step(torch.ones(2, 4).double(), layer().start(1)),
            "h: got batch 1, expected x's 2",
        ),
        (
            lambda: layer().read(
                torch.ones(2, 3, 4).double(), layer().start(3)
            ),
            "h: got batch 3, expected x's 2",
        ),
        (
            lambda: layer().step(
                torch.ones(2, 4).double(), S4D(4, 10).start(2)
            ),
            "h: got (width, modes) (4, 5), expected (4, 3)",
        ),
        (
            lambda: layer().read(
                torch.ones(2, 3, 4).double(), S4D(4, 2).start(2)
            ),
            "h: got (width, modes) (4, 1), expected (4, 3)",
        ),
        (
            lambda: layer().step(
                torch.ones(2, 4).double(), layer().start(2).real
            ),
            "h: got torch.float64, expected Complex",
        ),
        (
            lambda: layer().step(torch.ones(4).double(), layer().start(1)),
            "x: got shape (4,), expected (batch, width)",
        ),
        (
            lambda: layer().packed(
                torch.ones(2, 3, 4).double(), torch.zeros(2, 4).bool()
            ),
            "first: got length 4, expected x's 3",
        ),
        (
            lambda: layer().packed(
                torch.ones(2, 3, 4).double(), torch.zeros(2, 3)
            ),
            "first: got torch.float32, expected bool",
        ),
        (
            lambda: layer().read(
                torch.ones(2, 3, 4).double(),
                layer().start(2),
                torch.tensor([0, 3]),
            ),
            "lengths: got 0 to 3, expected 1 to 3",
        ),
        (
            lambda: layer().read(
                torch.ones(2, 3, 4).double(),
                layer().start(2),
                torch.tensor([2]),
            ),
            "lengths: got batch 1, expected x's 2",
        ),
        (
            lambda: layer().read(
                torch.ones(2, 3, 4).double(),
                layer().start(2),
                torch.tensor([2.0, 3.0]),
            ),
            "lengths: got torch.float32, expected an integer dtype",
        ),
        (
            lambda: layer().bfloat16()(torch.ones(2, 3, 4).bfloat16()),
            "log_step: got torch.bfloat16, expected float32 or float64",
        ),
        (
            lambda: zoh_diagonal(
                torch.full((4, 3), complex(-1, math.inf)).cdouble(),
                diagonal()[1],
            ),
            "a: got (-1+infj), expected finite numbers",
        ),
        (
            lambda: zoh_diagonal(
                diagonal()[0], torch.tensor([0.1, 0.1, 0.1, math.inf]).double()
            ),
            "step: got 0.1",
        ),
        (
            lambda: diagonal_kernel(*[diagonal()[2]] * 3, 0),
            "length: got 0, expected at least 1",
        ),
        (
            lambda: S4(S4Config(3, 5, 8, 6))(torch.ones(2, 3, 4)),
            "x: got width 4, expected 3",
        ),
        (
            lambda: S4(S4Config(3, 5, 8, 6))(torch.ones(2, 3, 3).double()),
            "x: got torch.float64, expected torch.float32",
        ),
        (
            lambda: S4(S4Config(3, 5, 8, 6))(torch.ones(2, 3, 3).half()),
            "x: got torch.float16, expected torch.float32",
        ),
        (
            lambda: S4(S4Config(3, 5, 8, 6)).step(torch.ones(2, 3), []),
            "states: got 0, expected one for each of 2 blocks",
        ),
        (
            lambda: S4(S4Config(3, 5, 8, 6)).step(
                torch.ones(2, 3), S4(S4Config(3, 5, 8, 6)).start(1)
            ),
            "h: got batch 1, expected x's 2",
        ),
        (
            lambda: S4(S4Config(3, 5, 8, 6)).step(
                torch.ones(2, 4), S4(S4Config(3, 5, 8, 6)).start(2)
            ),
            "x: got width 4, expected 3",
        ),
        (
            lambda: layer().half()(torch.ones(2, 3, 4).half()),
            "log_step: got torch.float16, expected float32 or float64",
        ),
        (
            lambda: layer().read(
                torch.ones(2, 3, 4).double(),
                layer().start(2),
                torch.tensor([3, 4]),
            ),
            "lengths: got 3 to 4, expected 1 to 3",
        ),
        (lambda: layer().start(0), "batch: got 0, expected at least 1"),
        (
            lambda: zoh_diagonal(-diagonal()[0], diagonal()[1]),
            "a: got a real part of 0.",
        ),
        (
            lambda: zoh_diagonal(diagonal()[0], -diagonal()[1]),
            "step: got -",
        ),
        (lambda: S4Config(1, 2, n_layer=0), "n_layer: got 0, expected at"),
        (
            lambda: S4(S4Config(3, 5, 8, 6))(torch.ones(2, 3, 3).int()),
            "x: got torch.int32, expected a float dtype",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)
