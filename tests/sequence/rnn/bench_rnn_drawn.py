"""How thick the arrows of the unrolled network are: its gain, by lag."""

import torch

from llmnotes.sequence.rnn.through_time import (
    singular_values_by_lag,
    step_jacobians,
)
from tests.sequence.rnn.bench_rnn import SEED, run


def bench_the_first_steps_back(record):
    torch.manual_seed(SEED)
    matrix = torch.randn(64, 64, dtype=torch.float64)
    matrix /= torch.linalg.eigvals(matrix).abs().max()
    rows = []
    for radius in (0.9, 2.0):
        weight = radius * matrix
        outputs = run(weight, torch.tanh, 120)[20:]
        jacobians = step_jacobians(outputs, weight)
        largest = singular_values_by_lag(jacobians)[:, 0].tolist()
        mean = (jacobians.slogdet()[1].cumsum(0) / 64).exp().tolist()
        rows.append((radius, 0, 1.0, 1.0))
        rows += [(radius, k, largest[k - 1], mean[k - 1]) for k in range(1, 7)]
    record(
        "unrolled",
        kind="tolerance",
        tolerance=1e-3,
        seed=SEED,
        title="What becomes of a gradient on its first six steps back",
        prediction=(
            "The same run as above, read at every step: on average over all "
            "directions less than half is left after one step, and at radius "
            "2 the largest grows at the same time."
        ),
        columns={"radius": "", "lag": "steps", "largest": "", "mean": ""},
        labels={
            "radius": "spectral radius of W",
            "largest": "largest singular value",
            "mean": "geometric mean of all 64",
        },
        rows=rows,
    )
