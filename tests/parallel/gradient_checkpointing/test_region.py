"""A region gives the gradients of what it recomputes, to the bit."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint as torch_checkpoint

from llmnotes import train
from llmnotes.models.kv_cache import KVCache
from llmnotes.parallel.gradient_checkpointing import (
    checkpoint,
    checkpoint_compared,
    each,
)
from tests.parallel.gradient_checkpointing import cases


@pytest.mark.parametrize(
    ("way", "dropout"),
    [
        (cases.blocks, 0.2),
        (cases.attentions, 0.2),
        (cases.both, 0.2),
        (cases.blocks, 0.0),
    ],
)
def test_three_steps_with_dropout_end_at_the_same_bits(way, dropout):
    (plain, state), (ours, after) = (
        cases.trained(prepare, dropout) for prepare in (cases.nothing, way)
    )
    assert all(map(torch.equal, plain, ours))
    assert torch.equal(state, after)  # random numbers go on where they would


def test_it_equals_torchs_checkpoint_in_float64():
    found = []
    for again in (checkpoint, partial(torch_checkpoint, use_reentrant=False)):
        model = cases.gpt().double()
        for block in model.transformer.h:
            block.forward = partial(again, block.forward)
        text = cases.ids()
        loss = train.loss(model, text[:, :-1], text[:, 1:])
        found.append(cases.grads(loss, list(model.parameters())))
    assert all(map(torch.equal, *found))


@pytest.fixture
def x():
    torch.manual_seed(3)
    return torch.randn(4, 3, requires_grad=True)


def test_by_hand(x):
    weight = torch.tensor(2.0, requires_grad=True)
    out = checkpoint(lambda v: weight * v.square(), x)
    out.sum().backward()
    assert torch.equal(out, 2 * x.square())
    assert torch.equal(x.grad, 4 * x)
    assert torch.equal(weight.grad, x.square().sum())


def test_weights_get_gradients_when_no_input_requires_one(x):
    first, second = nn.Linear(3, 5), nn.Linear(5, 2)
    second(checkpoint(first, x.detach())).sum().backward()
    assert first.weight.grad is not None and second.weight.grad is not None


def test_what_a_closure_reads_gets_gradients_whatever_made_it(x):
    table = nn.Parameter(torch.ones(3))
    found = []
    for run in (lambda f, v: f(v), checkpoint):
        made = x.cos()  # no leaf
        out = run(lambda v, y=made: v.sin() * y + table, x)
        found.append(cases.grads(out.sum() + made.sum(), [x, table]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_shared_weights_in_two_regions_and_outside(x):
    tied = nn.Linear(3, 3)
    found = []
    for run in (lambda f, v: f(v), checkpoint):
        out = tied(run(tied, run(lambda v: tied(v).tanh(), x)))
        found.append(cases.grads(out.sum(), [x, tied.weight, tied.bias]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_an_input_that_is_used_elsewhere_too_counts_once(x):
    out = checkpoint(torch.sin, x) + x.square()
    assert torch.allclose(*cases.grads(out.sum(), [x]), x.cos() + 2 * x)


def test_nested_arguments_and_results(x):
    scale = torch.tensor(3.0, requires_grad=True)

    def function(v, *, more):
        return {"a": v * more["scale"][0], "name": "b", "i": v.argmax()}

    out = checkpoint(function, x, more={"scale": [scale]})
    assert out["name"] == "b" and out["i"] == x.argmax()
    found = cases.grads(out["a"].sum(), [x, scale])
    assert torch.equal(found[0], torch.full_like(x, 3))
    assert torch.equal(found[1], x.sum())


def test_only_what_is_asked_for_is_found(x):
    layer = nn.Linear(3, 2)
    loss = checkpoint(layer, x).sum()
    (found,) = torch.autograd.grad(loss, x)
    assert torch.allclose(found, layer.weight.sum(0).expand(4, 3))
    assert layer.weight.grad is None


def test_an_output_that_nobody_uses(x):
    first, _ = checkpoint(lambda v: (v.sin(), v.exp()), x)
    assert torch.equal(*cases.grads(first.sum(), [x]), x.cos())


def test_a_second_backward_recomputes_again(x):
    loss = checkpoint(torch.sin, x).sum()
    for _ in range(2):
        assert torch.equal(
            *torch.autograd.grad(loss, x, retain_graph=True), x.cos()
        )


def test_without_gradients_it_is_the_function(x):
    with torch.no_grad():
        assert checkpoint(torch.sin, x).grad_fn is None


def test_the_mask_of_backward_is_that_of_forward():
    ones = torch.ones(1000, requires_grad=True)
    out = checkpoint(lambda v: F.dropout(v, 0.5) * 1.0, ones)
    torch.rand(7)  # others draw meanwhile
    out.sum().backward()
    assert torch.equal(out > 0, ones.grad > 0)


def test_buffers_change_once(x):
    found = []
    for run in (lambda f, v: f(v), checkpoint):
        norm = nn.BatchNorm1d(3)
        cubes = run(norm, x + 5).pow(3).sum()
        found.append([*cases.grads(cubes, [x]), *norm.buffers()])
    assert all(map(torch.equal, *found))


def test_a_buffer_that_matters_stands_as_it_did(x):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, v):
            self.calls += 1
            return (v * self.calls).sin()

    layer = Counting()
    first, second = checkpoint(layer, x), checkpoint(layer, x)
    found = cases.grads((first + second).sum(), [x])
    torch.testing.assert_close(*found, x.cos() + 2 * (2 * x).cos())
    assert layer.calls == 2


@pytest.mark.parametrize("order", ["around", "before", "behind"])
def test_autocast_is_kept_and_its_cache_is_left_alone(x, order):
    layer, found = nn.Linear(3, 3), []
    ways = {
        "around": lambda run: run(lambda v: layer(layer(v)), x),
        "before": lambda run: layer(run(layer, x)),
        "behind": lambda run: run(layer, layer(x)),
    }
    for run in (lambda f, v: f(v), checkpoint):
        with torch.autocast("cpu", torch.bfloat16):
            out = ways[order](run)
        assert out.dtype == torch.bfloat16
        found.append(cases.grads(out.float().sum(), [x, layer.weight]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0.02, atol=0.02)


def test_autocast_around_backward_alone_changes_no_recompute(x):
    layer, found = nn.Linear(3, 2), []
    for run in (lambda f, v: f(v), checkpoint):
        out = run(layer, x)  # not autocast
        with torch.autocast("cpu", torch.bfloat16):
            found.append(*cases.grads(out.square().sum(), [layer.weight]))
    assert torch.equal(*found)


def refused(error, text, act):
    with pytest.raises(error) as found:
        act()
    assert text in str(found.value)


def test_what_it_refuses_at_once(x):
    norm = nn.BatchNorm1d(3)
    outside = "that comes from outside"
    for error, text, act in (
        (
            ValueError,
            "function: it writes (aten.add_.Tensor) into a tensor of shape "
            f"(4, 3) {outside}",
            lambda: checkpoint(lambda v: v.add_(1), x),
        ),
        (ValueError, outside, lambda: checkpoint(lambda v: norm(v), x)),
    ):
        refused(error, text, act)
    norm.eval()  # reads only
    checkpoint(lambda v: norm(v), x).sum().backward()


def test_what_it_refuses_in_backward(x):
    calls = []

    def shorter(v):
        calls.append(1)
        return v[len(calls) - 1 :].sin()

    refused(
        RuntimeError,
        "function: recomputed, it returned (3, 3) of torch.float32, and "
        "before (4, 3) of torch.float32",
        lambda: checkpoint(shorter, x).sum().backward(),
    )
    refused(
        RuntimeError,
        "create_graph: got True",
        lambda: torch.autograd.grad(
            checkpoint(torch.sin, x).sum(), x, create_graph=True
        ),
    )


@pytest.mark.parametrize("run", [checkpoint, checkpoint_compared])
def test_other_numbers_are_found_by_comparing_only(x, run):
    calls = []

    def drifting(v):
        calls.append(1)
        return (v * len(calls)).sin()

    loss = run(drifting, x).sum()
    if run is checkpoint:  # the trap: no error, and a wrong gradient
        assert not torch.equal(*cases.grads(loss, [x]), x.cos())
    else:
        refused(RuntimeError, "output 0 of shape (4, 3)", loss.backward)


def test_comparing_lets_dropout_and_running_means_pass(x):
    layer = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    checkpoint_compared(layer, x).sum().backward()
    assert x.grad is not None


def test_a_cache_that_would_be_written_twice_is_refused():
    model = cases.gpt()
    each(model.transformer.h)
    past = KVCache(2 * cases.LENGTH)
    loss = model(cases.ids(), past=past).sum()
    refused(ValueError, "would write again in the recompute", loss.backward)


def test_a_weight_that_moved_meanwhile_is_found(x):
    layer = nn.Linear(3, 2)
    loss = checkpoint(layer, x).sum()
    with torch.no_grad():
        layer.weight.add_(1)
    refused(RuntimeError, "modified by an inplace operation", loss.backward)


def test_what_it_makes_it_may_write_to_and_its_result_too(x):
    def function(v):
        keep = torch.tensor([1.0, 1.0, 1.0])
        keep[1] = 0
        out = v.sin()
        return out.mul_(keep)

    out = checkpoint(function, x)
    out += 1
    expected = x.cos() * torch.tensor([1.0, 0.0, 1.0])
    assert torch.equal(*cases.grads(out.sum(), [x]), expected)


def test_a_copy_of_a_layer_is_a_region_of_the_copy(x):
    layer = nn.Linear(3, 2)
    each([layer])
    other = copy.deepcopy(layer)
    other(x).sum().backward()
    assert layer.weight.grad is None and other.weight.grad is not None
    refused(
        ValueError, "layers: got a Linear that is a", lambda: each([other])
    )


def test_names_in_a_checkpoint_stay():
    model = cases.gpt()
    names = [*model.state_dict()]
    cases.both(model)
    assert [*model.state_dict()] == names


@pytest.mark.parametrize("kind", ["closure", "weight"])
def test_an_argument_that_is_read_from_outside_as_well_gets_both_gradients(
    kind,
):
    torch.manual_seed(0)
    layer = nn.Linear(3, 3).double()
    x = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    if kind == "closure":
        given, function = x, lambda y: (y * x).sum()
    else:
        given, function = layer.weight, lambda w: (layer(w) * x).sum()
    (wanted,) = torch.autograd.grad(function(given), given)
    (found,) = torch.autograd.grad(checkpoint(function, given), given)
    assert torch.equal(found, wanted)
