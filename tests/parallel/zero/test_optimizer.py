"""What is refused, and by which words."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from llmnotes.parallel.data_parallel import RankError, run
from llmnotes.parallel.zero import ShardedGradients, ShardedOptimizer
from tests.parallel.zero import ranks
from tests.parallel.zero.alone import one

SGD = partial(torch.optim.SGD, lr=0.1)


@pytest.fixture(scope="module", autouse=True)
def group():
    with one():
        yield


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda _: SGD(nn.Linear(2, 3).parameters()),
            r"make: got a parameter of shape \(3, 2\) that is not this",
        ),
        (lambda p: SGD(p[:1]), "make: got an optimizer without bias"),
        (
            lambda p: torch.optim.LBFGS(p),
            "make: got LBFGS, expected an optimizer that moves each number",
        ),
        (
            lambda p: torch.optim.Adafactor(p),
            "make: got Adafactor, expected an optimizer that moves each",
        ),
    ],
)
def test_an_optimizer_that_cannot_be_cut(make, message):
    with pytest.raises(ValueError, match=message):
        ShardedOptimizer(nn.Linear(2, 3), make)


@pytest.mark.parametrize("stage", ranks.STAGES)
def test_gradients_on_top_of_those_of_the_last_step(stage):
    model = nn.Linear(2, 3)
    optimizer = ranks.STAGES[stage](model, SGD)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"expected zero_grad\(\) after"):
        model(torch.ones(1, 2)).sum().backward()


def test_a_model_without_parameters():
    with pytest.raises(ValueError, match="model: got no parameters"):
        ShardedOptimizer(nn.Tanh(), SGD)


def test_states_and_weights_of_another_model():
    optimizer = ShardedGradients(nn.Linear(2, 3), SGD)
    with pytest.raises(ValueError, match="state: got 'b', expected names of"):
        optimizer.scatter({"b": {}})
    with pytest.raises(ValueError, match=r"state: got m of 'bias' of shape"):
        optimizer.scatter({"bias": {"m": torch.ones(4)}})
    with pytest.raises(ValueError, match="weights: got 1 with 'weight' miss"):
        optimizer.load({"bias": torch.ones(3)})
    wrong = {"bias": torch.ones(3), "weight": torch.ones(2, 3)}
    with pytest.raises(ValueError, match=r"weights: got 'weight' of shape"):
        optimizer.load(wrong)


def test_a_model_that_is_another_one_on_another_rank(processes):
    message = (
        r"ValueError: model: got weight \(2, 4\) of torch.float32 on rank 1"
    )
    with pytest.raises(RankError, match=message):
        run(ranks.with_another_model, 2, processes=processes)


def test_model_zero_grad_will_do():
    """Many loops call it; then gradients are None until backward."""
    results = []
    for by_model in (True, False):
        torch.manual_seed(1)
        model = nn.Linear(2, 3)
        optimizer = ShardedOptimizer(model, SGD)
        for _ in range(3):
            optimizer.zero_grad()
            if by_model:
                model.zero_grad()
            model(torch.ones(1, 2)).square().sum().backward()
            optimizer.step()
        results.append(optimizer.weights()["weight"])
    assert torch.equal(*results)


def test_a_weight_whose_gradient_comes_in_two_parts():
    """A reentrant checkpoint runs a backward of its own."""
    model = nn.Sequential(*[nn.Linear(3, 3) for _ in range(3)])
    ShardedGradients(model, SGD)
    x = model[1](model[0](torch.ones(1, 3)))
    again = checkpoint(model[1], x, use_reentrant=True)
    with pytest.raises(RuntimeError, match="expected one; checkpoint with"):
        model[2](again).sum().backward()


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("what", ["nan", "failed", "state"])
def test_what_has_gone_wrong_is_neither_hidden_nor_left_behind(
    what, stage, processes
):
    """A NaN spoils all, a new step forgets a failed one, a state is whole."""
    assert all(run(ranks.hurt, 2, what, stage, processes=processes))
