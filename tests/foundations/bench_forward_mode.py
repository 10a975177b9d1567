"""What the forward mode chapter computes: who wins on which Jacobian."""

import functools
import tracemalloc
from statistics import median

import numpy as np
import pytest
import torch

from llmnotes.foundations import forward_mode
from llmnotes.foundations.autograd import Tensor, gradients
from llmnotes.foundations.forward_mode import jacfwd, jacrev, jvp
from tests.foundations.autograd.counting import counted, multiply_adds

HIDDEN, CELLS = 64, 1024
INPUTS = (1, 4, 16, 32, 64, 256, 1024)
LABELS = {
    "inputs": "inputs (columns of the Jacobian); 1,024 / inputs outputs",
    "outputs": "outputs (rows)",
    "multiply_adds": "multiply-adds",
    "seconds": "time",
}


def network(inputs, outputs, wrap=np.asarray):
    """x → tanh(xA)B with fixed random A and B, and a point x."""
    rng = np.random.default_rng(0)
    a = wrap(rng.standard_normal((inputs, HIDDEN)) / inputs**0.5)
    b = wrap(rng.standard_normal((HIDDEN, outputs)) / HIDDEN**0.5)
    x = rng.standard_normal((1, inputs))
    return lambda x: (x @ a).tanh() @ b, x


MODES = {"forward": jacfwd, "reverse": jacrev}


def bench_operations(record):
    rows = []
    for inputs in INPUTS:
        function, x = network(inputs, CELLS // inputs, counted)
        for mode, jacobian in MODES.items():
            count = multiply_adds(lambda j=jacobian, f=function, x=x: j(f)(x))
            rows.append((mode, inputs, CELLS // inputs, count))
    record(
        "operations",
        kind="exact",
        seed=0,
        title="Multiply-adds for a Jacobian of 1,024 cells, tall to wide",
        prediction=(
            "One pass through the network is inputs·64 + 64·outputs "
            "multiply-adds. Forward mode makes one pass per input and "
            "carries value and tangent through it: 2·inputs of these. "
            "Reverse mode makes one pass to record and one back per output: "
            "1 + outputs. The lines should cross where 2·inputs = 1 + "
            "outputs: between 16 and 32 inputs."
        ),
        columns={
            "mode": "",
            "inputs": "",
            "outputs": "",
            "multiply_adds": "",
        },
        labels=LABELS,
        rows=rows,
    )


@pytest.fixture
def module():
    """Our module and one thread for all; `make bench` checks no shapes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield forward_mode
    torch.set_num_threads(threads)


@pytest.mark.timing
def bench_jacobian(record, race, module):
    calls = {}
    for inputs in INPUTS:
        function, x = network(inputs, CELLS // inputs)
        for mode, jacobian in MODES.items():
            jacobian = getattr(module, jacobian.__name__)
            calls[mode, inputs] = functools.partial(jacobian(function), x)
    times = race(calls, rounds=5, slice_s=0.05)
    record(
        "jacobian",
        kind="timing",
        seed=0,
        title="Time for a Jacobian of 1,024 cells, tall to wide",
        prediction=(
            "As the operations, but a pass costs its calls rather than its "
            "arithmetic, and a pass of duals has more of them than a pull. "
            "Forward should win on tall ones and lose on wide ones, each by "
            "a factor of hundreds at the ends, and cross a little below 32."
        ),
        columns={"mode": "", "inputs": "", "seconds": "s"},
        labels=LABELS,
        rows=[
            (mode, inputs, median(values))
            for (mode, inputs), values in times.items()
        ],
    )


def peak(go):
    """Bytes that a call holds at its peak, by NumPy's own account."""
    tracemalloc.start()
    try:
        go()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bench_memory(record):
    x = np.linspace(-1, 1, 100_000)
    one = np.ones_like(x)

    def deep(depth):
        def function(x):
            for _ in range(depth):
                x = x.tanh()
            return x.sum()

        return function

    leaf = Tensor(x)

    def reverse(depth):
        gradients(deep(depth)(leaf), [leaf])

    rows = []
    for depth in (2, 8, 32, 128):
        memory = peak(lambda d=depth: jvp(deep(d), [x], [one]))
        rows.append(("forward", depth, memory))
        rows.append(("reverse", depth, peak(lambda d=depth: reverse(d))))
    record(
        "memory",
        kind="tolerance",
        tolerance=0.05,
        seed=None,
        title="Peak memory of one derivative through a chain of tanh",
        prediction=(
            "x is 0.8 MB. Forward mode forgets each layer after the next: "
            "a few arrays at any depth. Reverse mode keeps what every pull "
            "needs, one array per layer: 0.8 MB times the depth."
        ),
        columns={"mode": "", "depth": "", "bytes": "B"},
        labels={"depth": "layers", "bytes": "peak memory"},
        rows=rows,
    )


def bowl(wrap=np.asarray):
    """A loss with 256 inputs: a network and the sum of its squares."""
    function, x = network(256, 16, wrap)
    return lambda x: (function(x) ** 2).sum(), x


def curvatures(m, loss, x):
    """The calls of the table below."""
    direction = np.random.default_rng(1).standard_normal(x.shape)
    return {
        "loss": lambda: loss(Tensor(x)),
        "gradient": lambda: m.grad(loss)(x),
        "Hessian times a vector": lambda: m.hvp(loss, x, direction),
        "Hessian, 256 × 256": lambda: m.jacfwd(m.grad(loss))(x),
    }


@pytest.mark.timing
def bench_hessian(record, race, module):
    counts = {
        name: multiply_adds(go)
        for name, go in curvatures(module, *bowl(counted)).items()
    }
    times = race(curvatures(module, *bowl()), rounds=5, slice_s=0.1)
    record(
        "hessian",
        kind="timing",
        seed=1,
        title="What curvature costs: 256 inputs, 64 hidden units, 16 outputs",
        prediction=(
            "The gradient needs as many multiply-adds going back as the loss "
            "going forward: twice the loss. On duals each of these is done "
            "for value and tangent: four times. The whole Hessian is 256 of "
            "those."
        ),
        columns={"what": "", "multiply_adds": "", "seconds": "s"},
        labels=LABELS,
        rows=[
            (name, counts[name], median(values))
            for name, values in times.items()
        ],
    )


SIZES = {"small": (1, 256), "large": (256, 1024)}  # rows, width


def torchs_products(rows, width):
    """A gradient, and the Hessian times a vector three ways, by torch."""
    torch.manual_seed(0)
    a, b = torch.randn(2, width, width) / width**0.5
    x, v = torch.randn(2, rows, width)

    def loss(x):
        return (((x @ a).tanh() @ b) ** 2).sum()

    def recorded():
        leaf = x.clone().requires_grad_()
        found = torch.autograd.grad(loss(leaf), leaf, create_graph=True)[0]
        return leaf, found

    def again(leaf, found):
        return torch.autograd.grad(found, leaf, v, retain_graph=True)[0]

    def plain():
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(loss(leaf), leaf)[0]

    kept = recorded()
    gradient = torch.func.grad(loss)
    return {
        "gradient": plain,
        "forward over back": lambda: torch.func.jvp(gradient, (x,), (v,))[1],
        "back over back": lambda: again(*recorded()),
        "back over back, recorded before": lambda: again(*kept),
    }


@pytest.mark.timing
def bench_products(record, race, module):
    calls = {
        (size, what): call
        for size, shape in SIZES.items()
        for what, call in torchs_products(*shape).items()
    }
    for size in SIZES:
        _, first, *others = (calls[key]() for key in calls if key[0] == size)
        for other in others:
            torch.testing.assert_close(first, other, rtol=1e-3, atol=1e-3)
    times = race(calls, rounds=5, slice_s=0.1)
    best = {key: median(values) for key, values in times.items()}
    record(
        "products",
        kind="timing",
        seed=0,
        title="The Hessian times a vector in torch, counted in gradients",
        prediction=(
            "In multiply-adds every way is worth two gradients, or one where "
            "the gradient was recorded before. Where the arrays are large "
            "the times should say the same; where they are small a call "
            "costs more than its numbers, and going forward over back, with "
            "two layers of torch.func around each operation, is the slowest: "
            "five gradients or more, as a rough trial had shown."
        ),
        columns={"size": "", "what": "", "seconds": "s", "gradients": ""},
        labels={"seconds": "time", "gradients": "times a gradient"},
        rows=[
            (size, what, seconds, seconds / best[size, "gradient"])
            for (size, what), seconds in best.items()
        ],
    )
