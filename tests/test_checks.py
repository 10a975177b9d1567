"""What `checked` reads from annotations, proved on functions of its own."""

import inspect

import numpy as np
import pytest
import torch
from jaxtyping import AbstractDtype, Bool, Float, Int, jaxtyped
from torch import Tensor, nn

from llmnotes.checks import (
    check_divides,
    check_length,
    check_sizes,
    check_within,
    checked,
)


@checked
def attend(
    query: Float[Tensor, "... query width"],
    key: Float[Tensor, "... key width"],
    seen: Bool[Tensor, "#query key"] | None = None,
    *,
    lengths: Int[Tensor, "batch"] | None = None,
    scale: float = 1.0,
):
    return "answer"


def zeros(*shape, **options):
    return torch.zeros(*shape, **options)


FITS = {
    "two axes": ((zeros(3, 4), zeros(5, 4)), {}),
    "more axes, of any size": ((zeros(2, 3, 4), zeros(7, 7, 5, 4)), {}),
    "None": ((zeros(3, 4), zeros(5, 4), None), {}),
    "a mask": ((zeros(3, 4), zeros(5, 4), zeros(3, 5).bool()), {}),
    "one row for all": ((zeros(3, 4), zeros(5, 4), zeros(1, 5).bool()), {}),
    "by keyword": ((zeros(3, 4),), {"key": zeros(5, 4), "scale": 2.0}),
    "int32": (
        (zeros(3, 4), zeros(5, 4)),
        {"lengths": zeros(2, dtype=torch.int32)},
    ),
    "all on meta": ((zeros(3, 4, device="meta"),) * 2, {}),
    "all in bfloat16": ((zeros(3, 4).bfloat16(), zeros(5, 4).bfloat16()), {}),
    "a parameter": ((nn.Parameter(zeros(3, 4)), zeros(5, 4)), {}),
}


@pytest.mark.parametrize("args,kwargs", FITS.values(), ids=FITS.keys())
def test_what_fits_goes_through(args, kwargs):
    assert attend(*args, **kwargs) == "answer"


REFUSED = {
    "key: got width 5, expected query's 4": ((zeros(3, 4), zeros(5, 5)), {}),
    "key: got width 6, expected query's 4": (
        (zeros(3, 4),),
        {"key": zeros(5, 6)},
    ),
    "query: got shape (4,), expected (..., query, width)": (
        (zeros(4), zeros(5, 4)),
        {},
    ),
    "key: got shape (0, 4), expected no empty axis": (
        (zeros(3, 4), zeros(0, 4)),
        {},
    ),
    "query: got list, expected a tensor": (([[1.0]], zeros(5, 4)), {}),
    "query: got NoneType, expected a tensor": ((None, zeros(5, 4)), {}),
    "query: got torch.int64, expected a float dtype": (
        (zeros(3, 4).long(), zeros(5, 4)),
        {},
    ),
    "seen: got torch.float32, expected bool": (
        (zeros(3, 4), zeros(5, 4), zeros(3, 5)),
        {},
    ),
    "lengths: got torch.bool, expected an integer dtype": (
        (zeros(3, 4), zeros(5, 4)),
        {"lengths": zeros(2).bool()},
    ),
    "lengths: got shape (2, 1), expected (batch,)": (
        (zeros(3, 4), zeros(5, 4)),
        {"lengths": zeros(2, 1).long()},
    ),
    "key: got dtype torch.float64, expected query's torch.float32": (
        (zeros(3, 4), zeros(5, 4).double()),
        {},
    ),
    "key: got device meta, expected query's cpu": (
        (zeros(3, 4), zeros(5, 4, device="meta")),
        {},
    ),
    "seen: got query 2, expected query's 3": (
        (zeros(3, 4), zeros(5, 4), zeros(2, 5).bool()),
        {},
    ),
    "seen: got key 1, expected key's 5": (
        (zeros(3, 4), zeros(5, 4), zeros(3, 1).bool()),
        {},
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_named(message):
    args, kwargs = REFUSED[message]
    with pytest.raises(ValueError) as error:
        attend(*args, **kwargs)
    assert str(error.value) == message


@checked
def loss(
    logits: Float[Tensor, "*rows vocab 2"], targets: Int[Tensor, "*rows"]
):
    return "answer"


def test_named_leading_axes_and_given_sizes_must_agree():
    assert loss(zeros(3, 4, 5, 2), zeros(3, 4).long()) == "answer"
    assert loss(zeros(5, 2), torch.tensor(1)) == "answer"
    for message, logits, targets in (
        ("targets: got rows (4,), expected logits' (3, 4)", (3, 4, 5, 2), 4),
        ("logits: got shape (3, 5, 3), expected (*rows, ", (3, 5, 3), 3),
    ):
        with pytest.raises(ValueError) as error:
            loss(zeros(*logits), zeros(targets).long())
        assert str(error.value).startswith(message)


class Wide(AbstractDtype):
    dtypes = ["float32", "float64"]


@checked
def turn(
    x: Float[Tensor, "length width"], angles: Wide[Tensor, "length half"]
):
    return "answer"


def test_a_dtype_class_of_ones_own_need_not_agree_with_the_floats():
    assert turn(zeros(3, 4).bfloat16(), zeros(3, 2)) == "answer"
    with pytest.raises(ValueError, match="^angles: got torch.bfloat16, .*Wid"):
        turn(zeros(3, 4), zeros(3, 2).bfloat16())


class Layer:
    @checked
    def forward(self, x: Float[Tensor, "batch width"]):
        return self


def test_a_method_checks_its_arguments_and_not_itself():
    layer = Layer()
    assert layer.forward(zeros(2, 3)) is layer
    with pytest.raises(ValueError, match="^x: got shape"):
        layer.forward(x=zeros(3))


def test_it_answers_before_the_shape_types_do():
    def function(x: Float[Tensor, "a b"], y: Float[Tensor, "b c"]):
        return x @ y

    enforced = checked(jaxtyped(typechecker=_beartype())(function))
    assert enforced(torch.ones(2, 3), torch.ones(3, 4)).shape == (2, 4)
    with pytest.raises(ValueError, match="^y: got b 4, expected x's 3"):
        enforced(torch.ones(2, 3), torch.ones(4, 4))


def _beartype():
    return pytest.importorskip("beartype").beartype


def test_the_function_itself_stays_in_reach():
    assert inspect.unwrap(attend) is not attend
    assert inspect.unwrap(attend)(1, 2) == "answer"
    assert list(inspect.signature(attend).parameters)[:2] == ["query", "key"]


def test_a_missing_argument_is_pythons_own_error():
    with pytest.raises(TypeError, match="missing 1 required .* 'key'"):
        attend(zeros(3, 4))


def test_what_cannot_be_checked_is_refused_when_the_function_is_defined():
    def nothing(x: Tensor):
        pass

    def sum_of_axes(x: Float[Tensor, "a a+1"]):
        pass

    with pytest.raises(TypeError, match="^nothing: no argument has a shape"):
        checked(nothing)
    with pytest.raises(TypeError, match="^x: cannot check axis 'a.1'"):
        checked(sum_of_axes)


def test_compiled_functions_hold_no_graph_break():
    @checked
    def product(x: Float[Tensor, "a b"], y: Float[Tensor, "b c"]):
        return x @ y

    fast = torch.compile(product, fullgraph=True, backend="eager")
    assert fast(torch.ones(2, 3), torch.ones(3, 4)).eq(3).all()


WORDS = {
    "steps: got 0, expected at least 1": lambda: check_sizes(heads=2, steps=0),
    "steps: got 2.0, expected an integer": lambda: check_sizes(steps=2.0),
    "steps: got -1, expected at least 0": lambda: check_sizes(0, steps=-1),
    "steps: got True, expected an integer": lambda: check_sizes(steps=True),
    "x: got nan to nan, expected 0 to 8": lambda: check_within(
        0, 8, x=torch.tensor([1.0, torch.nan])
    ),
    "ids: got 2 to 9, expected 0 to 8": lambda: check_within(
        0, 8, ids=torch.tensor([[2, 9]])
    ),
    "lengths: got 0 to 3, expected 1 to 5": lambda: check_within(
        1, 5, lengths=torch.tensor([3, 0])
    ),
    "heads: got 5, expected a divisor of d_model = 12": lambda: check_divides(
        "d_model", 12, heads=5
    ),
    "ids: got length 3, expected at most n = 2": lambda: check_length(
        "n", 2, ids=torch.zeros(5, 3)
    ),
    "heads: got 0, expected a divisor of d_model = 12": lambda: check_divides(
        "d_model", 12, heads=0
    ),
}


@pytest.mark.parametrize(("message", "call"), WORDS.items())
def test_ranges_are_worded_alike(message, call):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)


def test_ranges_let_their_ends_pass():
    check_sizes(heads=1)
    check_sizes(0, steps=0)
    check_sizes(heads=np.int64(2))
    check_within(0, 8, ids=torch.zeros(0, 3))  # nothing is outside
    check_within(0, 8, ids=torch.tensor([0, 8]))
    check_divides("d_model", 12, heads=12, kv_heads=1)
    check_length("n", 3, ids=torch.zeros(5, 3))


def test_entries_that_nobody_can_look_at_are_not_asked():
    check_within(0, 8, ids=torch.zeros(2, device="meta"))
    torch.func.vmap(lambda x: (check_within(0, 8, x=x), x)[1])(torch.ones(3))
    compiled = torch.compile(
        lambda x: (check_within(0, 8, x=x), 2 * x)[1],
        backend="eager",
        fullgraph=True,
    )
    assert compiled(torch.ones(3)).sum() == 6
