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


def test_a_weight_in_two_regions_is_reduced_once(processes):
    plain = shared.Twice(lambda layer, x: layer(x))
    plain(torch.ones(2, 3)).sum().backward()
    for found in run(shared.twice, 2, "ours", processes=processes):
        torch.testing.assert_close(found, plain.layer.weight.grad)


def test_the_trap_of_torchs_reentrant_variant(processes):
    for found in run(shared.twice, 2, "reentrant", processes=processes):
        assert "Expected to mark a variable ready only once" in found
