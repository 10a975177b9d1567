"""One step, six ways, in float32: the same weights, tokens and targets.

Rows of each block are a multiple of four, what the loops take at once.
"""

import functools

import numpy as np
import torch

from llmnotes.parallel.data_parallel import run
from llmnotes.parallel.gpt2_parallel import (
    FirstWrites,
    ForkJoin,
    InTasks,
    Layout,
    Shards,
)
from llmnotes.transformer.gpt import GPTConfig
from llmnotes.transformer.gpt2_by_hand import (
    GPT2,
    from_gpt,
    loops,
    parameter_shapes,
    reference,
)
from tests.transformer.gpt2_by_hand import by_torch, same, tiny

SHAPE = GPTConfig(101, n_positions=9, n_embd=36, n_layer=2, n_head=3)
BATCH, LENGTH, RATE = 5, 8, 0.01
WAYS = "NumPy", "numba serial", "fork-join", "tasks", "processes", "torch"


def ids():
    return tiny.ids(SHAPE, BATCH, LENGTH)


def weights(dtype=np.float32):
    return from_gpt(tiny.scattered(SHAPE), None, dtype)


def found(model):
    """{name: array} of a model that has stepped."""
    made = dict(model.acts)
    made |= {f"d{name}": x for name, x in model.grads.items()}
    return made | dict(model.weights)


def by_numpy(dtype=np.float32):
    model = GPT2(SHAPE, weights(dtype), reference)
    model.step(*ids(), lr=RATE)
    return found(model)


def serially():
    model = GPT2(SHAPE, weights(), loops)
    model.step(*ids(), lr=RATE)
    return found(model)


def forked(threads=2):
    kernels = ForkJoin(threads)
    model = FirstWrites(SHAPE, weights(), kernels)
    model.step(*ids(), lr=RATE)
    kernels.close()
    return found(model)


def in_tasks(kernels=None, blocks=2):
    ours = InTasks(SHAPE, weights(), kernels, blocks)
    ours.step(*ids(), lr=RATE)
    return found(ours.model)


def be_a_rank():
    """What a rank has after its step: activations of its rows, the rest."""
    ours = Shards(SHAPE, weights(), loops, size=3000)
    before = ours.update
    summed = {}

    def update(**options):
        """Look at the sums first: of its own parts a rank has the sums."""
        for sent in ours.sent:
            sent.wait()
        for i, stretch in enumerate(ours.all):
            mine = ours.own(stretch)
            summed[i] = ours.grads[mine].copy()
        before(**options)

    ours.update = update
    ours.step(*ids(), lr=RATE)
    params = ours.layout.views(ours.params)
    return (
        {name: np.array(x) for name, x in ours.model.acts.items()},
        summed,
        {name: np.array(x) for name, x in params.items()},
    )


def in_processes(processes, ranks=2):
    told = run(be_a_rank, ranks, processes=processes)
    acts = {
        name: np.concatenate(
            [acts[name] for acts, _, _ in told], axis=batch_axis(name)
        )
        for name in told[0][0]
    }
    shapes = parameter_shapes(SHAPE)
    layout = Layout(shapes, SHAPE.n_layer, ranks, 3000)
    grads = np.zeros(layout.size, np.float32)
    for rank, (_, summed, _) in enumerate(told):
        for i, stretch in enumerate(layout.stretches):
            grads[stretch.part(rank, ranks)] = summed[i]
    views = layout.views(grads, "d")
    made = acts | {name: np.array(x) for name, x in views.items()}
    return made | told[0][2]


def batch_axis(name):
    """Where the sequences of an activation are counted."""
    top = "encoded", "lnf", "lnf_mean", "lnf_rstd", "logits", "probs", "losses"
    return 0 if name in top else 1


def by_torchs_autograd():
    model = tiny.scattered(SHAPE).float()
    _, acts, _ = by_torch.step(model, *ids())
    grads = same.gradients(model)
    torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.0).step()
    made = dict(acts) | {f"d{name}": x for name, x in grads.items()}
    return made | dict(from_gpt(model))


def from_disk(make, processes):
    """The step of a process that has read its loops from the disk.

    Loops that a process has just compiled can differ from the same loops
    read back, in the last bit of a softmax. So the first one only compiles.
    """
    run(make, 1, processes=processes)
    return run(make, 1, processes=processes)[0]


def all_ways(processes):
    """{way: {tensor: array}}, in the order of WAYS."""
    return dict(
        zip(
            WAYS,
            (
                by_numpy(),
                from_disk(serially, processes),
                forked(),
                from_disk(in_tasks, processes),
                in_processes(processes),
                by_torchs_autograd(),
            ),
            strict=True,
        )
    )


@functools.cache
def exact():
    """The step in float64."""
    return by_numpy(np.float64)


def groups():
    """{what: names}: activations, gradients, parameters after the step."""
    parameters = list(parameter_shapes(SHAPE))
    gradients = [f"d{name}" for name in parameters]
    left = [n for n in exact() if n not in parameters + gradients]
    return {
        "activations": left,
        "gradients": gradients,
        "parameters": parameters,
    }


def equal(a, b, names):
    """Whether all these tensors have the same bits."""
    return all(np.array_equal(a[name], b[name]) for name in names)


def error(found, name):
    """Largest difference from float64, as a share of the largest number."""
    best = exact()[name]
    return float(np.abs(found[name] - best).max() / np.abs(best).max())
