"""What the autograd chapter computes: a graph, digits, and the speed."""

import functools
import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch

from llmnotes.foundations import autograd
from llmnotes.foundations.autograd import (
    Tensor,
    gradients,
    topological_order,
)
from llmnotes.foundations.autograd.drawing import numbers, svg
from tests import contests
from tests.foundations.autograd import digits
from tests.foundations.autograd.moons import (
    ByHand,
    Ours,
    Scalars,
    Torch,
    TorchCompiled,
    TorchFunction,
    TorchModules,
)

PICTURE = Path("docs/foundations/autograd_graph.svg")
ALT = (
    "A graph drawn downwards. x and w meet in a matrix product, b is added, "
    "relu follows, its result enters a product twice, and a sum ends it at "
    "36. Every box also shows the gradient that came back: 1 at the sum, "
    "(1, 1) at the product, (12, 0) from relu up to b, and (12, 24) at x."
)


def expression():
    """The expression of the figure, and what its leaves are called."""
    x = Tensor([[1.0, 2.0]])
    w = Tensor([[1.0, -1.0], [2.0, -3.0]])
    b = Tensor([1.0, 1.0])
    hidden = (x @ w + b).relu()
    return (hidden * hidden).sum(), {x: "x", w: "w", b: "b"}


def bench_graph(record, request):
    output, names = expression()
    drawn = svg(output, names, ALT)
    if request.config.getoption("--results") == "write":
        PICTURE.write_text(drawn, encoding="utf-8")
    assert PICTURE.read_text(encoding="utf-8") == drawn
    order = topological_order(output)
    place = {tensor: i for i, tensor in enumerate(order)}
    record(
        "graph",
        kind="exact",
        title="The graph of the figure, in the order of the forward pass",
        prediction=(
            "Eight nodes. The relu's second element was negative, so nothing "
            "comes back through it; its first went into both factors of the "
            "product, so 6 + 6 comes back."
        ),
        columns={
            "place": "",
            "node": "",
            "sources": "",
            "value": "",
            "gradient": "",
        },
        rows=[
            (
                place[tensor],
                names.get(tensor, tensor.op),
                ", ".join(str(place[s]) for s, _ in tensor.edges) or "none",
                numbers(tensor.data),
                numbers(gradient),
            )
            for tensor, gradient in zip(
                order, gradients(output, order), strict=True
            )
        ],
    )


@pytest.mark.trained
def bench_digits(record):
    best, found = digits.race()
    rows = []
    for (hidden,), rate in best.items():
        shares = [found[hidden, rate, split] for split in digits.SPLITS]
        test, train = (list(column) for column in zip(*shares, strict=True))
        rows += [
            (hidden, split, rate, train[split], test[split], None, None)
            for split in digits.SPLITS
        ]
        means = (float(np.mean(train)), float(np.mean(test)))
        rows.append((hidden, "mean", rate, *means, min(test), max(test)))
    record(
        "digits",
        kind="trained",
        seeds=digits.SPLITS,
        race=contests.race(
            digits.RATES,
            best,
            dict.fromkeys(
                digits.HIDDEN, "normal weights of variance 2/inputs (He)"
            ),
            chosen_on="360 digits that no split tests, three splits",
            reported_on="360 other digits, drawn anew for each of ten splits",
            baseline="none",
            column="hidden",
        ),
        spread={
            "rate": None,
            "train": 0.005,
            "test": 0.01,
            "lowest": 0.015,
            "highest": 0.015,
        },
        title="Share of scikit-learn's digits read rightly, ten random splits",
        prediction=(
            "Each network at the best of six rates. Without a hidden layer "
            "about 96.5 % of the test digits, with 32 hidden units 97 %, "
            "with 256 about 98 % and all of the training digits: a trial on "
            "the digits that choose the rates had shown as much. Of 360 "
            "digits one is 0.28 %, so splits should differ by about one "
            "percentage point."
        ),
        columns={
            "hidden": "",
            "split": "",
            "rate": "",
            "train": "",
            "test": "",
            "lowest": "",
            "highest": "",
        },
        labels={
            "hidden": "hidden units",
            "rate": "best rate",
            "train": "training digits",
            "test": "test digits",
            "lowest": "lowest of ten",
            "highest": "highest of ten",
        },
        rows=rows,
    )


def bench_nearest(record):
    right = [(s, digits.nearest(s)) for s in digits.SPLITS]
    record(
        "nearest",
        kind="exact",
        title="Of 360 test digits, those that the nearest digit reads rightly",
        prediction=(
            "Nothing is trained: each test digit gets the label of the "
            "training digit whose 64 grey values are nearest. These digits "
            "are small and cleanly cut out, so we expect 98 %, as much as "
            "the network."
        ),
        columns={"split": "", "right": ""},
        labels={"right": "read rightly"},
        rows=[*right, ("all", sum(n for _, n in right))],
    )


@pytest.fixture
def engine():
    """Our engine and one thread for all; `make bench` checks no shapes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield autograd
    torch.set_num_threads(threads)


OURS, SCALARS = "our Tensor", "plain Python"
CONTESTANTS = {
    OURS: Ours,
    "torch with the same text": Torch,
    "torch with nn.Linear and SGD": TorchModules,
    "torch, the step as one function": TorchFunction,
    "torch, the step compiled": TorchCompiled,
    "NumPy with derivatives by hand": ByHand,
}


def scalar_seconds(rounds=7):
    """Times of the scalar engine, apart from the race.

    Its nodes hang together in rings; the heap that they leave behind would
    slow whoever comes next.
    """
    scalars, seconds = Scalars(), []
    scalars.step()
    for _ in range(rounds):
        begin = time.perf_counter()
        scalars.step()
        seconds.append(time.perf_counter() - begin)
    return seconds


def assert_first_step(contestant, dtype):
    """It takes the step that derivatives by hand take, compiled or not."""
    known = ByHand(dtype=dtype)
    for one in (contestant, known):
        one.step()
    np.testing.assert_allclose(
        contestant.numbers(), known.numbers(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.timing
def bench_step(record, race, engine):
    calls = {}
    for dtype in (np.float64, np.float32):
        for name, kind in CONTESTANTS.items():
            options = {"engine": engine} if kind is Ours else {}
            contestant = kind(dtype=dtype, **options)
            calls[name, np.dtype(dtype).name] = contestant.step
            assert_first_step(contestant, dtype)
    times = race(calls, rounds=7, slice_s=0.2)
    times = {(SCALARS, "float64"): scalar_seconds(), **times}
    nodes = {
        SCALARS: Scalars().step(),
        OURS: len(topological_order(Ours().loss())),
    }
    best = {key: median(values) for key, values in times.items()}
    record(
        "step",
        kind="timing",
        seed=0,
        title="One step on the half-moons: forward, backward, update",
        prediction=(
            "A node costs Python several microseconds, whether it holds one "
            "number or a thousand. Plain Python makes about 70,000 nodes per "
            "step and our Tensor about 30, so we expect a factor of a few "
            "thousand. torch's nodes are made in C++, yet each call passes "
            "its dispatcher and autograd's bookkeeping, which cost about as "
            "much as our Python: we expect a draw with torch step by step. "
            "Compiled, a step is a few C++ loops and one call from Python: "
            "we expect half of our time."
        ),
        columns={
            "who": "",
            "dtype": "",
            "nodes": "",
            "seconds": "s",
            "per_node": "s",
            "times_ours": "",
        },
        labels={
            "seconds": "time per step",
            "per_node": "per node",
            "times_ours": "times ours",
        },
        rows=[
            (
                who,
                dtype,
                nodes.get(who),
                seconds,
                seconds / nodes[who] if who in nodes else None,
                seconds / best[OURS, dtype],
            )
            for (who, dtype), seconds in best.items()
        ],
    )


@pytest.mark.timing
def bench_cost(record, race, engine):
    """Where our step goes: arithmetic, recording, ordering, pulling back."""
    ours, bare = Ours(engine=engine), ByHand()
    loss = ours.loss()
    kept = bare.forward()[1]
    calls = {
        "forward with arrays only": bare.forward,
        "forward recorded": ours.loss,
        "backward with arrays only": functools.partial(bare.backward, kept),
        "backward ordered and pulled": functools.partial(
            engine.gradients, loss, ours.parameters
        ),
        "of that the order": functools.partial(engine.topological_order, loss),
    }
    times = race(calls, rounds=9, slice_s=0.1)
    nodes = len(engine.topological_order(loss))
    record(
        "cost",
        kind="timing",
        seed=0,
        title="Where a step of our Tensor goes",
        prediction=(
            "The arrays are so small that even NumPy alone is busy with "
            "calls, not with numbers. Recording should add about one "
            "microsecond per node and going back about two."
        ),
        columns={"part": "", "seconds": "s", "per_node": "s"},
        labels={"seconds": "time", "per_node": "per node"},
        rows=[
            (part, median(values), median(values) / nodes)
            for part, values in times.items()
        ],
    )


@pytest.mark.timing
def bench_sizes(record, race, engine):
    kinds = {
        OURS: functools.partial(Ours, engine=engine),
        "torch": Torch,
        "NumPy by hand": ByHand,
    }
    calls = {
        (name, count): kind(count, np.float32).step
        for count in (10, 100, 1000, 10_000, 100_000)
        for name, kind in kinds.items()
    }
    times = race(calls, rounds=7, slice_s=0.05)
    record(
        "sizes",
        kind="timing",
        seed=0,
        title="Time per step against the number of points, one thread",
        prediction=(
            "Up to some hundred points all three are flat: the cost is that "
            "of calls. From some thousand on it is arithmetic, and torch, "
            "whose kernels make fewer passes over memory, should win."
        ),
        columns={"who": "", "points": "", "seconds": "s"},
        labels={"seconds": "time per step", "points": "points in a batch"},
        rows=[
            (name, count, median(values))
            for (name, count), values in times.items()
        ],
    )
