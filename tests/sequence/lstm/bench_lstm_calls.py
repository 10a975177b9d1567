"""Why a gradient by hand pays for one cell and not for the other: calls."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from llmnotes.sequence.gru import GRU
from llmnotes.sequence.lstm import LSTM
from llmnotes.sequence.lstm.by_hand import ByHandLSTM, FusedLSTM
from llmnotes.sequence.rnn import RNN, Recurrent


class AutogradRNN(RNN):
    scan = Recurrent.scan


class AutogradGRU(GRU):
    scan = Recurrent.scan


CELLS = {
    ("RNN", "autograd"): AutogradRNN,
    ("RNN", "by hand"): RNN,
    ("GRU", "autograd"): AutogradGRU,
    ("GRU", "by hand"): GRU,
    ("LSTM", "autograd"): LSTM,
    ("LSTM", "by hand"): ByHandLSTM,
    ("LSTM", "by hand, fused"): FusedLSTM,
}


class Calls(TorchDispatchMode):
    """Counts the operations that compute; a view of a tensor is none."""

    def __init__(self):
        super().__init__()
        self.all, self.products = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function)
        self.all += not (function.is_view or "new_empty" in name)
        self.products += "mm" in name
        return function(*args, **(kwargs or {}))


def calls(model, length):
    """Calls of a pass forward, and of one back: [(all, products), ...]."""
    x = torch.zeros(4, length, 8, requires_grad=True)
    model.zero_grad()
    with Calls() as there:
        out, _ = model(x)
    with Calls() as back:
        torch.autograd.grad(out, [x, *model.parameters()], out)
    return [(way.all, way.products) for way in (there, back)]


def bench_calls_per_step(record):
    rows = []
    for (cell, gradient), kind in CELLS.items():
        model = kind(8, 8)
        long, short = calls(model, 30), calls(model, 20)
        (there, _), (back, products) = [
            tuple((a - b) / 10 for a, b in zip(*both, strict=True))
            for both in zip(long, short, strict=True)
        ]
        rows.append((cell, gradient, there, back, products))
    record(
        "calls",
        kind="exact",
        title="Operations that PyTorch is asked for at every step",
        prediction=(
            "By hand a step back has one matrix product in place of two, in "
            "every cell, and the small operations are the same ones. So half "
            "as many calls for the RNN, where the products are most of it, "
            "and for the LSTM about as many as before, some twenty."
        ),
        columns={
            "cell": "",
            "gradient": "",
            "forward": "calls",
            "back": "calls",
            "products": "calls",
        },
        labels={
            "forward": "forward",
            "back": "back",
            "products": "of these matrix products",
        },
        rows=rows,
    )
