"""All three stages train as one process does, and as FSDP2."""

import pytest
import torch

from llmnotes.parallel.data_parallel import run
from tests.parallel.zero import ranks, toy


@pytest.fixture(scope="module")
def alone():
    return toy.alone()


def assert_close(found, expected, rtol=1e-11):
    for name, x in expected.items():
        torch.testing.assert_close(
            found[name], x, rtol=rtol, atol=rtol,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def weights_of(model):
    return {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_weights_are_those_of_one_process(stage, count, alone, processes):
    model, optimizer, norms = alone
    found = run(ranks.trained, count, stage, processes=processes)
    for weights, seen, state, tied in found:
        assert_close(weights, weights_of(model))
        assert seen == pytest.approx(norms, rel=1e-11)
        assert tied
        for name, p in weights_of(model).items():
            own = dict(model.named_parameters())[name]
            assert_close(state[name], optimizer.state[own])


@pytest.mark.parametrize("count", [2, 3])
def test_fsdp2_comes_to_the_same_weights(count, alone, processes):
    for weights in run(ranks.fsdp, count, processes=processes):
        assert_close(weights, weights_of(alone[0]))
