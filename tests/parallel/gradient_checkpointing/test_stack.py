"""A stack in segments: 2√n blocks at the peak, counted."""

import math

import pytest
import torch
from torch import nn

from llmnotes.parallel.data_parallel import Living
from llmnotes.parallel.gradient_checkpointing import (
    Checkpointed,
    balanced,
    checkpointed,
    forwards,
    peak,
    tapered,
    timeline,
)
from tests.parallel.gradient_checkpointing import cases


class Sine(nn.Module):
    """One operation, which keeps its input: a block of size one."""

    def forward(self, x):
        return x.sin()


class Outputs(Living):
    """Counts what layers make, not the gradients on their way."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.sin.default:
            return super().__torch_dispatch__(function, types, args, kwargs)
        return function(*args, **(kwargs or {}))


def lived(sizes, numbers=1000):
    """Blocks that live at the peak of a step, counted, and the input."""
    stack = Checkpointed([Sine() for _ in range(sum(sizes))], sizes)
    x = torch.randn(numbers, requires_grad=True)
    with Outputs() as living:
        stack(x).sum().backward()
    return living.peak / (4 * numbers) + 1


@pytest.mark.parametrize("layers", [1, 2, 7, 10, 16])
def test_blocks_at_the_peak_are_those_of_the_formula(layers):
    for segments in range(1, layers + 1):
        sizes = balanced(layers, segments)
        assert lived(sizes) == peak(sizes)


@pytest.mark.parametrize("sizes", [[9], [3, 3, 3], [4, 3, 2], [1] * 9])
def test_the_timeline_has_the_peak_of_the_formula(sizes):
    moments = timeline(sizes)
    assert max(len(alive) for _, _, alive in moments) == peak(sizes)
    kinds = [kind for kind, _, _ in moments]
    assert kinds.count("forward") + kinds.count("again") == forwards(sizes)
    assert kinds.count("backward") == sum(sizes)


def test_chens_numbers():
    for layers, blocks in ((16, 8), (100, 20), (1024, 64)):
        root = math.isqrt(layers)
        assert peak(balanced(layers, root)) == blocks == 2 * root
        best = min(
            peak(balanced(layers, k)) for k in range(1, min(layers, 99) + 1)
        )
        assert best == blocks
    found = {k: peak(balanced(10, k)) for k in range(1, 11)}
    assert [k for k in found if found[k] == min(found.values())] == [3, 4]


def test_segments_that_grow_shorter_are_better():
    for layers in (16, 100):
        sizes = tapered(layers)
        assert sum(sizes) == layers
        assert (
            peak(sizes) == math.ceil((math.sqrt(8 * layers + 1) - 1) / 2) + 1
        )
        assert lived(sizes) == peak(sizes)


@pytest.mark.parametrize(
    ("layers", "segments", "sizes"),
    [(7, 3, [3, 2, 2]), (10, 4, [3, 3, 2, 2]), (4, 1, [4]), (3, 3, [1] * 3)],
)
def test_sizes_differ_by_one_at_most(layers, segments, sizes):
    assert balanced(layers, segments) == sizes


def test_gradients_are_those_of_the_plain_stack():
    found = []
    for segments in (1, 2, 3, 5):
        torch.manual_seed(0)
        layers = [nn.Linear(3, 3) for _ in range(5)]
        stack = checkpointed(layers, segments)
        x = torch.randn(4, 3, requires_grad=True)
        loss = stack(x).square().sum()
        found.append(cases.grads(loss, [x, *stack.parameters()]))
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))
    assert [*stack.state_dict()][:2] == ["0.weight", "0.bias"]


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: balanced(3, 4), "segments: got 4, expected at most the 3"),
        (lambda: balanced(3, 0), "segments: got 0, expected at least 1"),
        (lambda: balanced(0, 1), "layers: got 0, expected at least 1"),
        (
            lambda: Checkpointed([Sine()] * 3, [1, 1]),
            r"sizes: got \[1, 1\], expected a sum of 3 layers",
        ),
        (lambda: Checkpointed([Sine()], [1, 0]), r"sizes\[1\]: got 0"),
    ],
)
def test_cuts_that_cannot_be(act, message):
    with pytest.raises(ValueError, match=message):
        act()
