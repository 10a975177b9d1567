"""GPTQ: the Cholesky form is the exact problem, and beats rounding."""

import jaxtyping
import pytest
import torch
from torch import nn

from llmnotes.adaptation.quantization import quantize
from llmnotes.adaptation.quantization.gptq import (
    by_activity,
    compensated,
    cost,
    exact,
    gptq,
    hessian,
    in_order,
    nearest_on_grid,
)
from llmnotes.adaptation.quantization.smooth import smoothing

ROWS, INPUTS, TOKENS = 7, 24, 61


def some(seed=0, tokens=TOKENS):
    """A weight, and inputs of which many go together."""
    torch.manual_seed(seed)
    mix = torch.randn(INPUTS, INPUTS)
    return torch.randn(ROWS, INPUTS), torch.randn(tokens, INPUTS) @ mix


def grid(weight, bits, group):
    """What rounds a column, and remembers what it was given."""
    on_grid, *_ = nearest_on_grid(quantize(weight, f"uint{bits}", group))
    given = []

    def nearest(column, j):
        given.append(column.clone())
        return on_grid(column, j)

    return nearest, given


@pytest.mark.parametrize(("bits", "group"), [(3, 8), (4, "channel"), (2, 12)])
def test_the_cholesky_form_is_the_exact_problem(bits, group):
    weight, inputs = some()
    matrix = hessian(inputs)
    (one, first), (two, second) = (grid(weight, bits, group) for _ in "ab")
    quick = compensated(weight.double(), matrix, one)
    slow = exact(weight.double(), matrix, two)
    for ours, theirs in zip(first, second, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-8)
    assert torch.equal(quick, slow)
    found = gptq(weight, inputs, bits, group)
    torch.testing.assert_close(found.dequantize(), quick.float())
    slowly = gptq(weight, inputs, bits, group, solve=exact)
    assert torch.equal(found.codes, slowly.codes)


def test_what_is_left_is_the_least_squares_answer():
    """Of the free columns no other choice does better: torch's lstsq."""
    weight, inputs = some()
    weight, inputs, half = weight.double(), inputs.double(), INPUTS // 2

    def nearest(column, j):
        return column.round() if j < half else column

    found = compensated(weight, hessian(inputs, 0.0), nearest)
    wanted = inputs @ weight.T - inputs[:, :half] @ found[:, :half].T
    best = torch.linalg.lstsq(inputs[:, half:], wanted).solution.T
    torch.testing.assert_close(found[:, half:], best)


def test_one_column_by_hand():
    """0.4 becomes 0; half of the error goes over: 0.4 + 0.2 becomes 1."""
    weight = torch.tensor([[0.4, 0.4]]).double()
    matrix = torch.tensor([[2.0, 1.0], [1.0, 2.0]]).double()
    found = compensated(weight, matrix, lambda column, j: column.round())
    assert found.tolist() == [[0.0, 1.0]]
    error = weight - found
    # 2·0.16 + 2·0.36 − 2·0.24, where rounding costs 2·0.16 + 2·0.16 + 2·0.16
    assert (error @ matrix @ error.T).item() == pytest.approx(0.56)
    assert (weight @ matrix @ weight.T).item() == pytest.approx(0.96)


def test_inputs_that_have_nothing_in_common_leave_rounding():
    weight, _ = some()
    inputs = torch.diag(torch.arange(1.0, INPUTS + 1))
    for found, plain in (
        (gptq(weight, inputs, 3, 8), quantize(weight, "uint3", 8)),
        (gptq(weight, inputs, 8), quantize(weight, "uint8")),
    ):
        assert torch.equal(found.codes, plain.codes)
        assert torch.equal(found.scale, plain.scale)
        assert torch.equal(found.zero, plain.zero)


@pytest.mark.parametrize(("bits", "group"), [(2, 8), (3, 6), (4, "channel")])
def test_outputs_change_less_than_with_rounding(bits, group):
    ours = theirs = 0
    for seed in range(5):
        weight, inputs = some(seed)
        plain = quantize(weight, f"uint{bits}", group)
        found = gptq(weight, inputs, bits, group)
        ours += cost(weight - found.dequantize(), inputs)
        theirs += cost(weight - plain.dequantize(), inputs)
        assert found.nbytes == plain.nbytes
    assert ours < 0.65 * theirs


def test_a_dead_input_is_rounded_and_disturbs_nobody():
    weight, inputs = some()
    inputs[:, 5] = 0
    found = gptq(weight, inputs, 3, "channel")
    plain = quantize(weight, "uint3", "channel")
    assert torch.equal(found.codes[:, 5], plain.codes[:, 5])
    others = [j for j in range(INPUTS) if j != 5]
    matrix = hessian(inputs[:, others], 0.0)
    mean = inputs.double().square().sum(0).mean()
    matrix += 0.01 * mean * torch.eye(len(others))
    nearest, *_ = nearest_on_grid(plain)
    alone = compensated(
        weight[:, others].double(),
        matrix,
        lambda column, j: nearest(column, others[j]),
    )
    torch.testing.assert_close(found.dequantize()[:, others], alone.float())


def test_any_order_of_columns_comes_back_in_place():
    weight, inputs = some()
    matrix, order = hessian(inputs), torch.randperm(INPUTS)
    nearest, _ = grid(weight, 3, 8)
    found = in_order(order, weight.double(), matrix, nearest)
    moved = compensated(
        weight.double()[:, order],
        matrix[order][:, order],
        lambda column, j: nearest(column, int(order[j])),
    )
    assert torch.equal(found[:, order], moved)


def test_more_inputs_than_tokens_need_damping():
    weight, inputs = some(tokens=INPUTS - 3)
    gptq(weight, inputs, 4, 8)
    for solve in compensated, exact:
        with pytest.raises(ValueError, match="say nothing about input 2[0-3]"):
            gptq(weight, inputs, 4, 8, damping=0.0, solve=solve)


def test_one_token_may_come_without_an_axis_of_its_own():
    weight, inputs = some()
    alone, row = (gptq(weight, x, 4, 8) for x in (inputs[0], inputs[:1]))
    assert torch.equal(alone.packed, row.packed)


def test_what_is_given_stays_as_it_was_and_half_stays_half():
    weight, inputs = some()
    before = weight.clone(), inputs.clone()
    found = gptq(weight.requires_grad_(), inputs, 4, 8)
    assert torch.equal(weight, before[0]) and torch.equal(inputs, before[1])
    assert not found.dequantize().requires_grad
    half = gptq(weight.detach().half(), inputs.half()[None], 4, 8)
    assert half.dequantize().dtype == torch.float16


@pytest.fixture
def unwatched():
    """As readers call it: nobody enforces annotations."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


NAN = float("nan")
REFUSED = {
    "bits: got 5, expected 2, 3, 4 or 8": dict(bits=5),
    "group: got 7, expected a divisor of": dict(group=7),
    "damping: got -1, expected 0 or more": dict(damping=-1),
    "damping: got nan, expected 0 or more": dict(damping=NAN),
    "damping: got inf, expected 0 or more": dict(damping=float("inf")),
    "damping: got None, expected 0 or more": dict(damping=None),
    "inputs: got NaN or infinity": dict(inputs=torch.full((3, INPUTS), NAN)),
    "inputs: got input 23, expected weight's 24": dict(
        inputs=torch.ones(3, INPUTS - 1)
    ),
    "weight: got 168 times NaN": dict(weight=torch.full((ROWS, INPUTS), NAN)),
    "weight: got shape (24,), expected (output, input)": dict(
        weight=torch.ones(INPUTS)
    ),
}


@pytest.mark.parametrize(("message", "change"), REFUSED.items())
def test_what_cannot_be_is_refused_by_name(message, change, unwatched):
    weight, inputs = some()
    given = dict(weight=weight, inputs=inputs, bits=4, group=8)
    with pytest.raises(ValueError) as error:
        gptq(**given | change)
    assert message in str(error.value)


@pytest.fixture(scope="module")
def theirs():
    """Their GPTQ of one weight, as a function."""
    from compressed_tensors.quantization import QuantizationArgs
    from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight

    def run(weight, inputs, plain, **how):
        rows = len(weight)
        args = QuantizationArgs(num_bits=plain.bits, symmetric=False, **how)
        zero = plain.zero.reshape(rows, -1) - 2.0 ** (plain.bits - 1)
        found, _, fallback = quantize_weight(
            weight.clone()[None],
            (inputs.T @ inputs)[None],
            plain.scale.reshape(1, rows, -1),
            zero[None],
            None,
            args,
            blocksize=16,
        )
        assert not fallback.any()
        return found[0]

    return run


@pytest.mark.parametrize("order", [None, "weight"])
@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("group", ["channel", 64])
def test_all_codes_are_theirs(theirs, bits, group, order):
    torch.manual_seed(3)
    rows, width = 21, 192
    weight = torch.randn(rows, width)
    inputs = torch.randn(300, width) @ torch.randn(width, width)
    plain = quantize(weight, f"uint{bits}", group)
    how = {"strategy": "channel", "actorder": order}
    if group != "channel":
        how |= {"strategy": "group", "group_size": group}
    found = theirs(weight, inputs, plain, **how).reshape(plain.codes.shape)
    solve = by_activity if order else compensated
    ours = gptq(weight, inputs, bits, group, solve=solve)
    codes = torch.round(found / plain.scale) + plain.zero
    assert torch.equal(ours.codes, codes.to(torch.uint8))
    assert (ours.codes != plain.codes).float().mean() > 0.2
    assert ours.codes.unique().numel() == 2**bits


def test_their_smoothing_is_ours_for_inputs_that_are_even():
    """They take max - min of an input, and twice the largest weight."""
    from llmcompressor.modifiers.transform.smoothquant import (
        SmoothQuantModifier,
    )

    torch.manual_seed(0)
    layers = [nn.Linear(11, 5), nn.Linear(11, 3)]
    largest = torch.rand(11) * 9
    modifier = SmoothQuantModifier(smoothing_strength=0.5, mappings=[])
    found = modifier._calculate_smoothing_scales(layers, 2 * largest)
    weight = torch.cat([layer.weight.detach() for layer in layers])
    torch.testing.assert_close(smoothing(largest, weight), found.detach())
