"""Where GPT-2's numbers lie, how near three implementations come, memory."""

import math

import numpy as np
import torch

from llmnotes.transformer.gpt import GPT_2_SMALL, GPTConfig
from llmnotes.transformer.gpt2_by_hand import (
    activation_shapes,
    loops,
    padded,
    parameter_shapes,
    reference,
)
from tests.transformer.gpt2_by_hand import by_torch, same, tiny
from tests.transformer.gpt2_by_hand.peak import BATCH, LENGTH

ROWS = padded(GPT_2_SMALL.vocab_size)
GOLDEN = GPTConfig(101, n_positions=32, n_embd=48, n_layer=3, n_head=4)
FLOAT = 4  # bytes
EPS = 2.0**-24  # half a unit in the last place of float32


def lying(shapes):
    """Name, shape, offset and size of each tensor."""
    offset = 0
    for name, shape in shapes.items():
        size = math.prod(shape)
        yield name, " × ".join(f"{n:,}" for n in shape), offset, size
        offset += size


COLUMNS = {"tensor": "", "shape": "", "offset": "", "numbers": ""}


def bench_where_the_parameters_lie(record):
    record(
        "parameters",
        kind="exact",
        title="GPT-2 124M's 16 parameter tensors, the table padded",
        prediction="124,439,808 numbers and 47 rows of padding, 36,096 more.",
        columns=COLUMNS,
        rows=list(lying(parameter_shapes(GPT_2_SMALL, ROWS))),
    )


def bench_where_the_activations_lie(record):
    shapes = activation_shapes(GPT_2_SMALL, BATCH, LENGTH, ROWS)
    record(
        "activations",
        kind="exact",
        title=f"Its 23 activation tensors, B = {BATCH}, T = {LENGTH}",
        prediction="73,323,776 numbers as llm.c's README prints them, and "
        "47 more columns of logits and of probs.",
        columns=COLUMNS,
        rows=list(lying(shapes)),
    )


def bench_three_ways_to_count(record):
    plain = activation_shapes(GPT_2_SMALL, BATCH, LENGTH)
    wide = (GPT_2_SMALL.n_layer, BATCH, LENGTH, 4 * GPT_2_SMALL.n_embd)
    counts = {
        "as llm.c first allocated them": plain,
        "with fcproj four times as wide": plain | {"fcproj": wide},
        "with 50,304 columns of logits": activation_shapes(
            GPT_2_SMALL, BATCH, LENGTH, ROWS
        ),
    }
    record(
        "counts",
        kind="exact",
        title=f"Activations of GPT-2 124M, B = {BATCH}, T = {LENGTH}",
        prediction="llm.c's README says 73,323,776.",
        columns={"count": "", "numbers": ""},
        labels={"count": "counted"},
        rows=[
            (name, sum(map(math.prod, shapes.values())))
            for name, shapes in counts.items()
        ],
    )


def bench_memory_of_a_step(record):
    model = sum(map(math.prod, parameter_shapes(GPT_2_SMALL, ROWS).values()))
    acts = activation_shapes(GPT_2_SMALL, BATCH, LENGTH, ROWS)
    pass_ = sum(map(math.prod, acts.values()))
    parts = {
        "parameters": model,
        "their gradients": model,
        "AdamW's m": model,
        "AdamW's v": model,
        "activations": pass_,
        "their gradients again": pass_,
    }
    rows = [(name, n, FLOAT * n / 1e6) for name, n in parts.items()]
    total = sum(parts.values())
    record(
        "memory",
        kind="exact",
        title=f"Six arenas of a step, float32, B = {BATCH}, T = {LENGTH}",
        prediction="Four times the model, twice the activations.",
        columns={"arena": "", "numbers": "", "size": "MB"},
        rows=[*rows, ("all", total, FLOAT * total / 1e6)],
    )


def stepped(model, kernels):
    """A step of ours in float32: activations, two kinds of gradients."""
    ours = tiny.by_hand(model, kernels, rows=128, dtype=np.float32)
    ours.forward(*tiny.ids(GOLDEN, 2, 17))
    ours.backward()
    return ours.acts, ours.dacts, ours.grads


def autograd(model):
    """The same from torch, in the precision of the model."""
    _, acts, dacts = by_torch.step(model, *tiny.ids(GOLDEN, 2, 17))
    dacts["att"][:] = np.tril(dacts["att"])
    return acts, dacts, same.gradients(model)


def bench_a_golden_step(record):
    torch.set_num_threads(1)
    exact = autograd(tiny.scattered(GOLDEN))
    single = tiny.scattered(GOLDEN).float()
    ways = {
        "numpy": stepped(single, reference),
        "loops": stepped(single, loops),
        "torch": autograd(single),
    }
    kinds = ("activation", "its gradient", "gradient of a parameter")
    rows = []
    for i, kind in enumerate(kinds):
        for name, true in exact[i].items():
            size = np.abs(true).max()
            if not size:  # no gradient goes through a mean
                continue
            errors = [
                same.errors(found[i], {name: true})[name] / size / EPS
                for found in ways.values()
            ]
            rows.append((name, kind, *(round(e, 2) for e in errors)))
    record(
        "golden",
        kind="tolerance",
        tolerance=0.9,  # of rounding errors: another machine, other sums
        seed=0,
        title="Largest error of each tensor in float32, against float64",
        prediction="A few units in the last place everywhere, and none of "
        "the three ahead.",
        columns={"tensor": "", "kind": "", **dict.fromkeys(ways, "2⁻²⁴")},
        labels={"numpy": "NumPy"},
        rows=rows,
    )
