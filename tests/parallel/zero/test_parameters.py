"""Stage 3: weights that come and go, and what is there meanwhile."""

from functools import partial

import pytest
import torch
from torch import nn

from llmnotes.parallel.data_parallel import Traffic
from llmnotes.parallel.zero import ShardedParameters
from llmnotes.train import adamw
from tests.parallel.zero import toy
from tests.parallel.zero.alone import one
from tests.parallel.zero.test_zero import trained

SGD = partial(torch.optim.SGD, lr=0.1)


@pytest.fixture(scope="module", autouse=True)
def group():
    with one():
        yield


def two_layers():
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def test_a_weight_outside_its_units_forward_is_no_number():
    model = two_layers()
    optimizer = ShardedParameters(model, SGD)
    assert model[0].weight.isnan().all()
    assert model[0].weight.shape == (3, 2)
    assert not model(torch.ones(1, 2)).isnan().any()
    assert optimizer.weights()["0.weight"].isfinite().all()


def test_a_forward_that_fails_leaves_nothing_behind():
    model = two_layers()
    optimizer = ShardedParameters(model, SGD)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        model(torch.ones(1, 5))
    assert not optimizer.live
    x = torch.ones(2, requires_grad=True)
    x.square().sum().backward()  # autograd keeps what it is given again
    model(torch.ones(1, 2)).sum().backward()
    assert not optimizer.live


def test_layers_may_compute_again_in_backward():
    """Gradient checkpointing, with as many gathers as without."""
    plain = toy.toy()
    optimizer = adamw(plain, toy.CONFIG)
    next(toy.losses(plain, toy.batch(0))).backward()
    optimizer.step()
    for kind in (toy.Toy, toy.Checkpointed):
        model = toy.toy(kind=kind)
        sharded = ShardedParameters(model, toy.make(model))
        with Traffic() as traffic:
            next(toy.losses(model, toy.batch(0))).backward()
        sharded.step()
        for name, x in trained(plain).items():
            torch.testing.assert_close(
                sharded.weights()[name], x, rtol=1e-12, atol=1e-12
            )
        # Of three layers, of what is the model's own, and of what is frozen.
        assert traffic.count() == {"all-gather": 10, "reduce-scatter": 4}
