"""One step on two half-moons, written seven times: who needs how long?

A network 2-16-16-1 with relu, 100 points, the hinge loss max(0, 1 − y·s)
and 0.0001·Σp² over all 337 parameters; a step is forward, backward, update.
"""

from itertools import pairwise

import numpy as np
import torch
from sklearn.datasets import make_moons
from torch import nn

from llmnotes.foundations import autograd
from tests.foundations.autograd.scalar_autograd import Value

WIDTHS, DECAY, RATE = (2, 16, 16, 1), 1e-4, 0.1


def points(count, dtype):
    x, label = make_moons(n_samples=count, noise=0.1, random_state=1)
    return x.astype(dtype), (2 * label[:, None] - 1).astype(dtype)


def start(dtype):
    """The same numbers for everybody: [W₁, b₁, W₂, b₂, W₃, b₃]."""
    rng = np.random.default_rng(0)
    return [
        array.astype(dtype)
        for inputs, outputs in pairwise(WIDTHS)
        for array in (
            rng.uniform(-1, 1, (inputs, outputs)),
            np.zeros(outputs),
        )
    ]


def objective(x, y, parameters):
    """The loss; the same text for our Tensors and for torch's."""
    w1, b1, w2, b2, w3, b3 = parameters
    hidden = (x @ w1 + b1).relu()
    hidden = (hidden @ w2 + b2).relu()
    score = hidden @ w3 + b3
    squares = sum((p * p).sum() for p in parameters)
    return (1 - y * score).relu().mean() + DECAY * squares


class Ours:
    def __init__(self, count=100, dtype=np.float64, engine=autograd):
        self.x, self.y = points(count, dtype)
        self.parameters = [engine.Tensor(p) for p in start(dtype)]
        self.gradients = engine.gradients

    def loss(self):
        return objective(self.x, self.y, self.parameters)

    def step(self):
        found = self.gradients(self.loss(), self.parameters)
        for p, g in zip(self.parameters, found, strict=True):
            p.data = p.data - RATE * g

    def numbers(self):
        return np.concatenate([p.data.ravel() for p in self.parameters])


class Torch:
    """Our text, with torch's tensors; the update in one call for all."""

    def __init__(self, count=100, dtype=np.float64):
        self.x, self.y = map(torch.tensor, points(count, dtype))
        self.parameters = [
            torch.tensor(p, requires_grad=True) for p in start(dtype)
        ]

    def step(self):
        loss = objective(self.x, self.y, self.parameters)
        found = torch.autograd.grad(loss, self.parameters)
        with torch.no_grad():
            torch._foreach_add_(self.parameters, found, alpha=-RATE)

    def numbers(self):
        with torch.no_grad():
            return torch.cat([p.flatten() for p in self.parameters]).numpy()


def updated(parameters, x, y):
    """The whole step as a function: torch.func.grad, and the update."""
    found = torch.func.grad(lambda p: objective(x, y, p))(parameters)
    return [p - RATE * g for p, g in zip(parameters, found, strict=True)]


class TorchFunction:
    """The whole step as one function, run step by step."""

    def __init__(self, count=100, dtype=np.float64, step=updated):
        self.x, self.y = map(torch.tensor, points(count, dtype))
        self.parameters = [torch.tensor(p) for p in start(dtype)]
        self.updated = step

    def step(self):
        self.parameters = self.updated(self.parameters, self.x, self.y)

    def numbers(self):
        return torch.cat([p.flatten() for p in self.parameters]).numpy()


class TorchCompiled(TorchFunction):
    """The same function, compiled: the first step takes half a minute."""

    def __init__(self, count=100, dtype=np.float64, backend="inductor"):
        compiled = torch.compile(updated, dynamic=False, backend=backend)
        super().__init__(count, dtype, compiled)


class TorchModules:
    """As one writes it: nn.Linear, torch.optim.SGD with its weight decay.

    The decay is the optimizer's, so that the squares need no graph.
    """

    def __init__(self, count=100, dtype=np.float64):
        self.x, self.y = map(torch.tensor, points(count, dtype))
        layers = [nn.Linear(i, o, dtype=self.x.dtype) for i, o in PAIRS]
        self.model = nn.Sequential(
            layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]
        )
        numbers = start(dtype)
        with torch.no_grad():
            for i, layer in enumerate(layers):
                layer.weight.copy_(torch.tensor(numbers[2 * i].T))
                layer.bias.copy_(torch.tensor(numbers[2 * i + 1]))
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=RATE, weight_decay=2 * DECAY
        )

    def step(self):
        self.optimizer.zero_grad()
        (1 - self.y * self.model(self.x)).relu().mean().backward()
        self.optimizer.step()

    def numbers(self):
        with torch.no_grad():
            parts = [
                part.flatten()
                for layer in self.model[::2]
                for part in (layer.weight.T, layer.bias)
            ]
            return torch.cat(parts).numpy()


PAIRS = list(pairwise(WIDTHS))


class ByHand:
    """NumPy with the derivatives written out: no graph, nothing recorded."""

    def __init__(self, count=100, dtype=np.float64):
        self.x, self.y = points(count, dtype)
        self.parameters = start(dtype)

    def forward(self):
        w1, b1, w2, b2, w3, b3 = self.parameters
        first = np.maximum(self.x @ w1 + b1, 0)
        second = np.maximum(first @ w2 + b2, 0)
        margin = 1 - self.y * (second @ w3 + b3)
        squares = sum((p * p).sum() for p in self.parameters)
        loss = np.maximum(margin, 0).mean() + DECAY * squares
        return loss, (first, second, margin)

    def backward(self, kept):
        first, second, margin = kept
        _, _, w2, _, w3, _ = self.parameters
        d3 = np.where(margin > 0, self.y, 0) * (-1 / len(self.x))
        d2 = np.where(second > 0, d3 @ w3.T, 0)
        d1 = np.where(first > 0, d2 @ w2.T, 0)
        found = []
        for x, d in ((self.x, d1), (first, d2), (second, d3)):
            found += [x.T @ d, d.sum(0)]
        return [
            g + 2 * DECAY * p
            for g, p in zip(found, self.parameters, strict=True)
        ]

    def step(self):
        found = self.backward(self.forward()[1])
        self.parameters = [
            p - RATE * g for p, g in zip(self.parameters, found, strict=True)
        ]

    def numbers(self):
        return np.concatenate([p.ravel() for p in self.parameters])


class Scalars:
    """One `Value` per number, one neuron after the other."""

    def __init__(self, count=100, dtype=np.float64):
        self.x, self.y = (a.tolist() for a in points(count, dtype))
        self.layers = [
            [[Value(v) for v in row] for row in np.atleast_2d(p).tolist()]
            for p in start(dtype)
        ]
        self.values = [v for p in self.layers for row in p for v in row]

    def score(self, x):
        for i in (0, 2, 4):
            weight, (bias,) = self.layers[i : i + 2]
            columns = list(zip(*weight, strict=True))
            x = [
                sum((w * v for w, v in zip(column, x, strict=True)), b)
                for column, b in zip(columns, bias, strict=True)
            ]
            if i < 4:
                x = [v.relu() for v in x]
        return x[0]

    def loss(self):
        hinges = [
            (1 + -y * self.score(x)).relu()
            for x, (y,) in zip(self.x, self.y, strict=True)
        ]
        squares = sum((v * v for v in self.values), Value(0.0))
        return sum(hinges, Value(0.0)) * (1 / len(hinges)) + DECAY * squares

    def step(self):
        for v in self.values:
            v.grad = 0.0
        nodes = self.loss().backward()
        for v in self.values:
            v.data -= RATE * v.grad
        return nodes

    def numbers(self):
        return np.array([v.data for v in self.values])
