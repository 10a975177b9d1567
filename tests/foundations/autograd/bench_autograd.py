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
from llmnotes.foundations.autograd.mlp import accuracy, initialise, train
from llmnotes.pictures import images
from tests.foundations.autograd.moons import (
    ByHand,
    Ours,
    Scalars,
    Torch,
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


def split_digits(seed):
    """A fifth of the 1,797 digits for the test, drawn at random."""
    x, labels = images("digits")
    x = x.reshape(len(x), -1)
    order = np.random.default_rng(seed).permutation(len(x))
    test, rest = order[:360], order[360:]
    return x[rest], labels[rest], x[test], labels[test]


@pytest.mark.trained
def bench_digits(record):
    rows = []
    for hidden in ("none", "256"):
        widths = (64, 10) if hidden == "none" else (64, int(hidden), 10)
        for seed in range(10):
            x, labels, test_x, test_labels = split_digits(seed)
            rng = np.random.default_rng(seed)
            parameters = initialise(widths, rng)
            train(parameters, x, labels, rng, progress=seed == 0)
            rows.append(
                (
                    hidden,
                    seed,
                    accuracy(parameters, x, labels),
                    accuracy(parameters, test_x, test_labels),
                )
            )
    for hidden in ("none", "256"):
        chosen = [row for row in rows if row[0] == hidden]
        means = [float(np.mean([r[i] for r in chosen])) for i in (2, 3)]
        rows.append((hidden, "mean", *means))
    record(
        "digits",
        kind="trained",
        example="how far one network gets at the rates its widths were "
        "tried with; a ranking would tune each",
        seeds=range(10),
        spread={"train": 0.005, "test": 0.01},
        title="Share of scikit-learn's digits read rightly, ten random splits",
        prediction=(
            "Without a hidden layer about 96 % of the test digits; with 256 "
            "hidden units at least 97 % in the mean and all of the training "
            "digits. Of 360 digits one is 0.28 %, so splits should differ by "
            "about one percentage point."
        ),
        columns={"hidden": "", "split": "", "train": "", "test": ""},
        labels={
            "hidden": "hidden units",
            "train": "training digits",
            "test": "test digits",
        },
        rows=rows,
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


@pytest.mark.timing
def bench_step(record, race, engine):
    calls = {}
    for dtype in (np.float64, np.float32):
        for name, kind in CONTESTANTS.items():
            options = {"engine": engine} if kind is Ours else {}
            call = kind(dtype=dtype, **options).step
            calls[name, np.dtype(dtype).name] = call
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
            "much as our Python: we expect a draw."
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
