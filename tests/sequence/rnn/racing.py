"""Forward and backward of recurrent layers, one race for all chapters."""

import statistics

import torch

TITLE = "Forward and backward: 16 sequences of 128 steps, width 128"


def forward_and_backward(race, models):
    """Median seconds of a step of each model, on one thread."""
    torch.set_num_threads(1)
    x = torch.randn(16, 128, 128)

    def step(model):
        def go():
            model.zero_grad()
            model(x)[0].square().sum().backward()

        return go

    times = race({name: step(model) for name, model in models.items()})
    return [(name, statistics.median(t)) for name, t in times.items()]
