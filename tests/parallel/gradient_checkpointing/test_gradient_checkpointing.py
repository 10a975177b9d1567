"""Beside torch's checkpoint: its traps, word for word, and ours under DDP."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import (
    CheckpointError,
    checkpoint,
    checkpoint_sequential,
)

from llmnotes import train
from llmnotes.parallel.data_parallel import run
from llmnotes.parallel.gradient_checkpointing import forwards
from tests.parallel.gradient_checkpointing import cases, shared

modern = partial(checkpoint, use_reentrant=False)
reentrant = partial(checkpoint, use_reentrant=True)


@pytest.fixture
def x():
    torch.manual_seed(3)
    return torch.randn(4, 3, requires_grad=True)


def test_the_variant_must_be_named(x):
    with pytest.warns(UserWarning, match="use_reentrant parameter should be"):
        out = checkpoint(torch.sin, x)
    assert type(out.grad_fn).__name__ == "CheckpointFunctionBackward"


def test_reentrant_weights_get_nothing_if_no_input_requires_a_gradient(x):
    first, second = nn.Linear(3, 3), nn.Linear(3, 2)
    with pytest.warns(
        UserWarning, match="None of the inputs have requires_gr"
    ):
        out = reentrant(first, x.detach())
    second(out).sum().backward()
    assert first.weight.grad is None and second.weight.grad is not None
    second(modern(first, x.detach())).sum().backward()
    assert first.weight.grad is not None


def test_reentrant_knows_neither_grad_nor_keywords(x):
    with pytest.raises(RuntimeError, match=r"incompatible with \.grad\(\)"):
        torch.autograd.grad(reentrant(torch.sin, x).sum(), x)
    with pytest.raises(ValueError, match="Unexpected keyword arguments: more"):
        reentrant(torch.sin, x, more=1)


@pytest.mark.parametrize("again", [modern, reentrant])
def test_running_means_move_twice(again, x):
    norm = nn.BatchNorm1d(3, momentum=0.1)
    again(norm, x + 5).sum().backward()
    assert norm.num_batches_tracked == 2
    share = norm.running_mean / (x + 5).mean(0)
    assert share.tolist() == pytest.approx([0.19] * 3)


def test_another_shape_is_found_another_value_is_not(x):
    calls = []

    def shorter(v):
        calls.append(1)
        return torch.sin(v) if len(calls) == 1 else torch.sin(v[:2])

    with pytest.raises(CheckpointError, match="have different metadata"):
        modern(shorter, x).sum().backward()

    calls.clear()

    def drifting(v):
        calls.append(1)
        return (v * len(calls)).sin()

    found = cases.grads(modern(drifting, x).sum(), [x])
    assert not torch.allclose(*found, x.cos(), atol=0.1)


def test_without_the_random_state_it_is_another_mask():
    drop, shares = nn.Dropout(0.5), []

    def again(v):
        return drop(v) * v.exp()

    for keep in (True, False):
        torch.manual_seed(3)
        ones = torch.ones(1000, requires_grad=True)
        out = modern(
            lambda v: drop(v) * v.exp(), ones, preserve_rng_state=keep
        )
        out.sum().backward()
        shares.append(((out > 0) == (ones.grad > 0)).float().mean().item())
    assert shares[0] == 1
    assert shares[1] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("layers", "segments", "calls"), [(7, 3, 11), (10, 4, 16), (4, 1, 4)]
)
def test_sequential_leaves_the_rest_to_the_last(layers, segments, calls, x):
    made = []

    class Counted(nn.Module):
        def forward(self, v):
            made.append(1)
            return v.sin()

    stack = nn.Sequential(*[Counted() for _ in range(layers)])
    out = checkpoint_sequential(stack, segments, x, use_reentrant=False)
    out.sum().backward()
    size = layers // segments
    rest = layers - size * (segments - 1)
    assert len(made) == forwards([size] * (segments - 1) + [rest]) == calls


def test_sequential_with_too_many_segments(x):
    stack = nn.Sequential(*[nn.Tanh() for _ in range(3)])
    with pytest.raises(ValueError, match=r"range\(\) arg 3 must not be zero"):
        checkpoint_sequential(stack, 4, x, use_reentrant=False)


@pytest.mark.parametrize("unused", [False, True])
def test_ddp_with_tied_weights_equals_one_process(processes, unused):
    batch = cases.ids(batch=4)
    model = cases.gpt(layers=2)
    train.loss(model, batch[:, :-1], batch[:, 1:]).backward()
    size = sum(p.numel() for p in model.parameters())
    args = (shared.gradients, 2, batch, unused)
    for grads, reduced in run(*args, processes=processes):
        for found, p in zip(grads, model.parameters(), strict=True):
            torch.testing.assert_close(found, p.grad, rtol=1e-5, atol=1e-7)
        assert size <= reduced <= size + unused * len(grads)


def test_fsdp_equals_one_process(processes):
    batch = cases.ids(batch=4)
    model = cases.gpt(layers=2)
    train.loss(model, batch[:, :-1], batch[:, 1:]).backward()
    for grads in run(shared.sharded, 2, batch, processes=processes):
        for found, p in zip(grads, model.parameters(), strict=True):
            torch.testing.assert_close(found, p.grad, rtol=1e-5, atol=1e-7)


def expected():
    """The mean of what two ranks find, by one process."""
    plain = shared.Twice(lambda layer, x: layer(x))
    for rank in range(2):
        x = torch.full((2, 3), 1.0 + rank)
        plain(x).square().sum().backward()
    return plain.layer.weight.grad / 2


@pytest.mark.parametrize("unused", [False, True])
def test_a_weight_in_two_regions_is_reduced_once(processes, unused):
    args = shared.twice, 2, "ours", unused
    for found in run(*args, processes=processes):
        torch.testing.assert_close(found, expected())


def test_torchs_reentrant_variant_leaves_ranks_apart_or_complains(processes):
    args = shared.twice, 2, "reentrant"
    first, second = run(*args, False, processes=processes)
    for found in first, second:  # no error
        assert not torch.allclose(found, expected())
    assert not torch.allclose(first, second)
    for found in run(*args, True, processes=processes):
        assert "Expected to mark a variable ready only once" in found
