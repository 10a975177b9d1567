"""Activations that wait on a disk come back to the bit, each sent once."""

import gc

import pytest
import torch
from torch import nn

from llmnotes.parallel.data_parallel import Living
from llmnotes.parallel.gradient_checkpointing import (
    FLOAT32_ON_CPU,
    Layer,
    ToDisk,
    ToMemory,
    activations,
)
from tests.parallel.gradient_checkpointing import cases

SIZE = 2, 8, 12, 3


def a_layer(dropout=0.1):
    torch.manual_seed(0)
    layer = Layer(12, 3, dropout)
    return layer, torch.randn(2, 8, 12, requires_grad=True)


def test_gradients_are_the_same_to_the_bit():
    found = []
    for away in (False, True):
        layer, x = a_layer()
        torch.manual_seed(1)
        if away:
            with ToDisk(layer.parameters()):
                loss = layer(x).square().sum()
        else:
            loss = layer(x).square().sum()
        found.append(cases.grads(loss, [x, *layer.parameters()]))
    assert all(map(torch.equal, *found))


def test_bytes_are_those_of_the_formula():
    layer, x = a_layer()
    with ToDisk(layer.parameters()) as disk:
        out = layer(x)
    assert disk.bytes == activations(*SIZE, width=FLOAT32_ON_CPU)
    assert disk.bytes == sum(
        file.stat().st_size for file in disk.files.iterdir()
    )
    out.sum().backward()


def test_a_number_of_the_cpu_stays_where_it_is():
    half, x = torch.tensor(0.5), torch.ones(3, requires_grad=True)
    with ToMemory([], "cpu") as memory:
        y = (x * half).sum()
    y.backward()
    assert x.grad.tolist() == [0.5] * 3 and memory.bytes == 0


def test_a_hook_that_knows_no_parameters_sends_the_weights_too():
    layer, x = a_layer()
    with ToDisk([]) as disk:
        layer(x)
    weights = sum(
        p.numel() for name, p in layer.named_parameters()
        if name.endswith("weight") or name.startswith("norm")
    )  # fmt: skip
    assert disk.bytes - 4 * weights == activations(*SIZE, width=FLOAT32_ON_CPU)


def test_what_went_away_does_not_live():
    found = []
    for away in (False, True):
        layer, x = a_layer()
        with Living() as living:
            if away:
                with ToDisk(layer.parameters()):
                    out = layer(x)
            else:
                out = layer(x)
            found.append(living.bytes)
    assert found[1] == 4 * out.numel() < found[0]


def test_views_come_back_in_one_storage_and_a_change_makes_a_second():
    x = torch.arange(1.0, 7.0, requires_grad=True)
    y = x * 1
    with ToDisk([]) as disk:
        left, right = y[:2] ** 2, y[2:] ** 2
        assert disk.bytes == 24
        z = y.detach().clone()
        a = x.sum() * z
        z += 1
        b = x.sum() * z
    assert disk.bytes == 24 * 3
    (a.sum() + b.sum() + left.sum() + right.sum()).backward()
    assert torch.equal(x.grad, 2 * x + 21 + 27)


def test_memory_that_is_used_again_is_another_storage():
    x = torch.arange(1.0, 7.0, requires_grad=True)
    with ToDisk([]) as disk:  # each x * i goes away, the next takes its place
        total = sum(((x * float(i)) ** 2).sum() for i in range(1, 6))
    total.backward()
    assert torch.equal(x.grad, 2 * x * (1 + 4 + 9 + 16 + 25))
    assert disk.bytes == 24 * 5


def test_files_go_with_the_object():
    with ToDisk([]) as disk:
        nn.Linear(3, 3)(torch.ones(2, 3)).sum()
    folder = disk.files
    assert folder.exists()
    del disk
    gc.collect()
    assert not folder.exists()


def test_memory_that_is_the_same_is_refused():
    layer, x = a_layer()
    with pytest.raises(ValueError, match="device: got cpu, where a saved"):
        with ToMemory(layer.parameters()):
            layer(x)


def test_another_memory_is_sent_to_and_read_from():
    class Copies(ToMemory):
        """Stands for a second memory, where there is none."""

        def write(self, whole):
            return whole.tolist()

        def read(self, where):
            return torch.tensor(where, dtype=torch.uint8)

    layer, x = a_layer(0.0)
    with Copies(layer.parameters(), "cpu"):
        out = layer(x)
    (away,) = cases.grads(out.sum(), [x])
    (here,) = cases.grads(layer(x).sum(), [x])
    assert torch.equal(away, here)
