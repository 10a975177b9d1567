"""Regions among several ranks: DDP sums each gradient once."""

import pytest
import torch

from llmnotes import train
from llmnotes.parallel.data_parallel import run
from tests.parallel.gradient_checkpointing import cases, shared


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
