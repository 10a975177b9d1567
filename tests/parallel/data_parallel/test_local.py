"""DiLoCo: rounds of ranks that train alone in between."""

import pytest
import torch
from torch import nn

from llmnotes.parallel.data_parallel import Outer, run
from tests.parallel.data_parallel import ranked


def alone(rank, steps, start):
    """What one rank does between two rounds."""
    model = nn.Linear(3, 2).double()
    for p, x in zip(model.parameters(), start, strict=True):
        p.data = x.clone()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for step in steps:
        ranked.seed_masks(0, step, rank)
        optimizer.zero_grad()
        (model(torch.randn(5, 3).double()) ** 2).mean().backward()
        optimizer.step()
    return [p.detach() for p in model.parameters()]


@pytest.mark.parametrize("rate, momentum", [(1.0, 0.0), (0.7, 0.9)])
def test_rounds_do_what_algorithm_1_says(rate, momentum, processes):
    torch.manual_seed(0)
    start = [p.detach() for p in nn.Linear(3, 2).double().parameters()]
    speed = [torch.zeros_like(x) for x in start]
    for steps in (range(3), range(3, 6)):
        ends = [alone(rank, steps, start) for rank in range(3)]
        for i, x in enumerate(start):
            delta = x - sum(end[i] for end in ends) / 3
            speed[i] = momentum * speed[i] + delta
            start[i] = x - rate * (delta + momentum * speed[i])
    job = 6, rate, momentum, 3
    for ours, calls in run(ranked.averaged, 3, *job, processes=processes):
        for one, two in zip(ours, start, strict=True):
            torch.testing.assert_close(one, two)
        assert [c.numbers for c in calls] == [8, 8]


def test_rounds_of_one_step_are_data_parallel_sgd(processes):
    job = 4, 1.0, 0.0, 1
    found = run(ranked.averaged, 2, *job, processes=processes)
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    for step in range(4):
        model.zero_grad()
        for rank in range(2):
            ranked.seed_masks(0, step, rank)
            x = torch.randn(5, 3).double()
            ((model(x) ** 2).mean() / 2).backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
    for ours, _ in found:
        for one, two in zip(ours, model.parameters(), strict=True):
            torch.testing.assert_close(one, two)


@pytest.mark.parametrize(
    "words, said",
    [
        ({"rate": 0.0}, "rate: got 0.0, expected more than 0"),
        ({"momentum": 1.0}, "momentum: got 1.0, expected at least 0"),
    ],
)
def test_bad_settings_are_refused(words, said):
    with pytest.raises(ValueError, match=said):
        Outer(nn.Linear(1, 1), **words)
