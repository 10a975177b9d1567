"""The numbers in the drawing of the GRU's cell: the example by hand."""

import math

import torch

from llmnotes.sequence.gru import gru_step, gru_step_reset_before


def bench_the_example_by_hand(record):
    ln3, rows = math.log(3), []
    projected = torch.tensor([[ln3, -ln3, 0, 0, 0, 0]], dtype=torch.float64)
    h = torch.ones(1, 2, dtype=torch.float64)
    weight = torch.zeros(6, 2, dtype=torch.float64)
    weight[4, 1] = weight[5, 0] = 1
    reset, update = projected[:, :4].sigmoid().chunk(2, 1)
    mixed = {
        "after": (gru_step, reset * (h @ weight[4:].T)),
        "before": (gru_step_reset_before, (reset * h) @ weight[4:].T),
    }
    for name, (step, read) in mixed.items():
        candidate = read.tanh()
        numbers = {
            "before": h,
            "reset gate": reset,
            "update gate": update,
            "read": read,
            "candidate": candidate,
            "kept": update * h,
            "added": (1 - update) * candidate,
            "state": step(projected, h, weight, torch.zeros(6).double()),
        }
        rows += [
            (name, what, unit + 1, number[0, unit].item())
            for what, number in numbers.items()
            for unit in (0, 1)
        ]
    record(
        "by_hand",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="The example by hand, number by number",
        prediction=(
            "As derived on the page: the first unit's state is 0.818 with "
            "the reset gate after the matrix, 0.622 with it before."
        ),
        columns={"reset": "", "what": "", "unit": "", "value": ""},
        rows=rows,
    )
