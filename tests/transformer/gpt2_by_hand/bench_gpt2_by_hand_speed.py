"""How long a step of GPT-2 124M takes on one thread, and how it grows."""

import statistics

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from llmnotes.transformer.gpt import GPT, GPT_2_SMALL, GPTConfig
from llmnotes.transformer.gpt2_by_hand import (
    GPT2,
    Tensors,
    loops,
    padded,
    parameter_shapes,
    reference,
    to_gpt,
)
from tests.transformer.gpt2_by_hand import tiny

# A middle-sized model for the curves: GPT-2 124M would take an hour.
SHAPE = dict(vocab_size=1024, n_positions=1024, n_embd=192, n_head=6)
SWEEPS = {
    "length": [(1, t, 4) for t in (64, 128, 256, 512, 1024)],
    "batch": [(b, 64, 4) for b in (1, 2, 4, 8, 16)],
    "layers": [(1, 64, layers) for layers in (2, 4, 8, 16)],
}


def random_weights(config):
    """Numbers of the size that GPT-2's have."""
    weights = Tensors(parameter_shapes(config, padded(config.vocab_size)))
    draw = np.random.default_rng(0)
    weights.numbers[:] = 0.02 * draw.standard_normal(
        weights.numbers.size, np.float32
    )
    return weights


def by_hand(config, kernels, given):
    """A step of ours in three parts."""
    model = GPT2(config, random_weights(config), kernels)

    def back():
        model.zero_grad()
        model.backward()

    model.forward(*given)
    return {
        "forward": lambda: model.forward(*given),
        "backward": back,
        "update": model.update,
    }


def by_torch(config, given):
    """torch eager with its fused AdamW, in the same three parts."""
    model: GPT = to_gpt(config, random_weights(config)).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, weight_decay=0.0, fused=True
    )
    inputs, targets = (torch.from_numpy(x).long() for x in given)
    kept = {}

    def forward():
        logits = model(inputs)
        kept["loss"] = F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def backward():
        optimizer.zero_grad()
        kept["loss"].backward(retain_graph=True)

    forward()
    backward()
    return {
        "forward": forward,
        "backward": backward,
        "update": optimizer.step,
    }


@pytest.mark.timing
def bench_a_step_of_gpt2_124m(record, race):
    torch.set_num_threads(1)
    given = tiny.ids(GPT_2_SMALL, 4, 64)
    ways = {
        "NumPy": by_hand(GPT_2_SMALL, reference, given),
        "loops": by_hand(GPT_2_SMALL, loops, given),
        "torch": by_torch(GPT_2_SMALL, given),
    }
    contestants = {
        (way, part): go
        for way, parts in ways.items()
        for part, go in parts.items()
    }
    times = race(contestants, rounds=5)
    seconds = {key: statistics.median(times[key]) for key in contestants}
    for way in ways:
        seconds[way, "step"] = sum(seconds[way, part] for part in ways[way])
    record(
        "step",
        kind="timing",
        title="GPT-2 124M, B = 4, T = 64, float32, one thread",
        prediction="NumPy's products are a library's, so it is within twice "
        "of torch; its AdamW makes seven passes and is slow. Our loops "
        "take five times as long as torch, because nothing is packed.",
        columns={"way": "", "part": "", "seconds": "s", "ratio": ""},
        labels={"ratio": "times torch", "seconds": "median time"},
        rows=[
            (way, part, s, s / seconds["torch", part])
            for (way, part), s in seconds.items()
        ],
    )


@pytest.mark.timing
def bench_how_a_step_grows(record, race):
    contestants, counts = {}, {}
    for sweep, sizes in SWEEPS.items():
        for batch, length, layers in sizes:
            config = GPTConfig(n_layer=layers, **SHAPE)
            given = tiny.ids(config, batch, length)
            model = GPT2(config, random_weights(config), loops)

            def step(model=model, given=given):
                model.forward(*given)
                model.zero_grad()
                model.backward()

            key = sweep, batch, length, layers
            contestants[key] = step
            counts[key] = dict(length=length, batch=batch, layers=layers)
    times = race(contestants, rounds=5)
    rows = [
        (key[0], counts[key][key[0]], statistics.median(times[key]))
        for key in contestants
    ]
    record(
        "growth",
        kind="timing",
        title="Forward and backward in loops, C = 192, by T, B and L",
        prediction="In proportion to B; a little less in L, since the head "
        "stays; more than in proportion to T, with exponent 1.2, since "
        "attention's part grows with its square.",
        columns={"what": "", "count": "", "seconds": "s"},
        labels={"what": "grows", "seconds": "median time"},
        rows=rows,
    )
    record(
        "exponents",
        kind="timing",
        title="Slope of ln seconds over ln count",
        prediction="1.2 for T, 1.0 for B, 0.9 for L.",
        columns={"what": "", "exponent": ""},
        labels={"what": "grows"},
        rows=[(sweep, slope(rows, sweep)) for sweep in SWEEPS],
    )


def slope(rows, sweep):
    """The exponent of a power law through the points of one sweep."""
    points = [(n, s) for name, n, s in rows if name == sweep]
    return float(np.polyfit(*np.log(points).T, 1)[0])
