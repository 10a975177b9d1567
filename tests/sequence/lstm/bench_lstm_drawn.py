"""The numbers in the drawing of the LSTM's cell: the example by hand."""

import math

import torch

from llmnotes.sequence.lstm.model import lstm_step, open_gates


def bench_the_example_by_hand(record):
    ln3 = math.log(3)
    z = torch.tensor([[0, -ln3, math.atanh(0.6), ln3]], dtype=torch.float64)
    before, nothing = torch.tensor([[2.0]]).double(), torch.zeros(1, 1)
    weight, bias = torch.zeros(4, 1).double(), torch.zeros(4).double()
    h, c = lstm_step(z, nothing.double(), before, weight, bias)
    i, f, g, o = open_gates(z)
    rows = {
        "before": before,
        "input gate": i,
        "forget gate": f,
        "candidate": g,
        "output gate": o,
        "kept": f * before,
        "added": i * g,
        "memory": c,
        "squashed": c.tanh(),
        "shown": h,
    }
    record(
        "by_hand",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="The example by hand, number by number",
        prediction="As derived on the page: c = 0.8, h = ¾ tanh 0.8 = 0.498.",
        columns={"what": "", "value": ""},
        rows=[(name, number.item()) for name, number in rows.items()],
    )
