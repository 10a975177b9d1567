"""What the RNN chapter computes: parity, Jacobians over lag, the wall."""

import functools

import pytest
import torch
from torch import nn

from llmnotes.sequence.rnn import RNN, Recurrent
from llmnotes.sequence.rnn.odd import is_odd, parity_network
from llmnotes.sequence.rnn.through_time import (
    clip_by_norm,
    singular_values_by_lag,
    step_jacobians,
)
from tests.sequence.rnn.racing import TITLE, forward_and_backward

SEED = 0


def bench_a_window_is_blind_to_what_left_it(record):
    window, rows = 8, []
    network = parity_network()
    for length in (2, 4, 8, 9, 16, 64, 256, 1000):
        torch.manual_seed(SEED)
        bits = torch.randint(2, (2000, length))
        answer = bits.sum(1) % 2
        guess = bits[:, -window:].sum(1) % 2
        state, _ = network(bits[..., None].float())
        for name, said in (
            ("window of 8 bits", guess),
            ("RNN of 2 units", is_odd(state[:, -1]).long()),
        ):
            right = (said == answer).double().mean().item()
            rows.append((name, length, right))
    record(
        "parity",
        kind="tolerance",
        tolerance=1e-9,
        seed=SEED,
        title="Is the number of ones odd? Answers over 2,000 random sequences",
        prediction=(
            "As soon as one bit lies outside the window, both answers are "
            "equally likely whatever the window holds: half right from "
            "length 9 on, for any function of the window. The two units "
            "carry one bit, the only one that is needed: always right."
        ),
        columns={"solver": "", "length": "bits", "right": ""},
        labels={
            "length": "length of the sequence",
            "right": "share of right answers",
        },
        rows=rows,
    )


def bench_what_the_two_units_hold(record):
    bits = [0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 1, 1]
    x = torch.tensor(bits, dtype=torch.float32)[None, :, None]
    out = parity_network()(x)[0][0].detach()
    rows = [("input", t, bit) for t, bit in enumerate(bits)]
    for name, values in (
        ("at least 1", (out[:, 0] + 1) / 2),
        ("is 2", (out[:, 1] + 1) / 2),
        ("odd so far", is_odd(out)),
    ):
        rows += [(name, t, v.item()) for t, v in enumerate(values)]
    record(
        "state",
        kind="tolerance",
        tolerance=1e-3,
        seed=None,
        title="Sixteen bits, the two units that read them, and the parity",
        prediction=(
            "The first unit is on when the bit or the parity before is 1, "
            "the second when both are. The parity is the first without the "
            "second, and changes exactly where the bit is 1."
        ),
        columns={"row": "", "step": "", "value": ""},
        rows=rows,
    )


def run(weight, activation, steps):
    """Drive a network with small noise; its slopes and Jacobians by step."""
    torch.manual_seed(SEED + 1)
    h = torch.zeros(len(weight), dtype=torch.float64)
    noise = 0.1 * torch.randn(steps, len(weight), dtype=torch.float64)
    outputs = []
    for x in noise:
        h = activation(x + weight @ h)
        outputs.append(h)
    return torch.stack(outputs)


LAGS = [1, 2, 3, 5, 7, 10, 15, *range(20, 101, 10)]


def bench_jacobians_over_lag(record):
    torch.manual_seed(SEED)
    matrix = torch.randn(64, 64, dtype=torch.float64)
    matrix /= torch.linalg.eigvals(matrix).abs().max()
    rows = []
    for radius in (0.9, 1.0, 1.1, 2.0):
        weight = radius * matrix
        straight = weight.expand(100, 64, 64)  # slope 1 at every step
        bent = step_jacobians(run(weight, torch.tanh, 120)[20:], weight)
        for name, jacobians in (("linear", straight), ("tanh", bent)):
            values = singular_values_by_lag(jacobians)
            sizes = jacobians.slogdet()[1].cumsum(0) / 64
            rows += [
                (name, radius, k, values[k - 1, 0].item(), mean.exp().item())
                for k in LAGS
                for mean in [sizes[k - 1]]
            ]
    record(
        "jacobians",
        kind="tolerance",
        tolerance=1e-3,
        seed=SEED,
        title="How far a change of the state is carried, 64 units",
        prediction=(
            "Without the tanh, the largest singular value goes with the "
            "spectral radius to the power of the lag, up to a constant: at "
            "lag 100 about 3e-5, 1 and 1e4. The tanh has slopes below 1, so "
            "each of its curves lies below; with states this small we expect "
            "radius 1.1 to grow all the same, only slower. The mean over all "
            "directions lies far below the largest: most of them vanish at "
            "any radius."
        ),
        columns={
            "network": "",
            "radius": "",
            "lag": "steps",
            "largest": "",
            "mean": "",
        },
        labels={
            "radius": "spectral radius of W",
            "lag": "lag",
            "largest": "largest singular value",
            "mean": "geometric mean of all 64",
        },
        rows=rows,
    )


def largest(seed, radius, lag=100):
    """Largest singular value over `lag` steps of one random matrix."""
    torch.manual_seed(seed)
    weight = torch.randn(64, 64, dtype=torch.float64)
    weight *= radius / torch.linalg.eigvals(weight).abs().max()
    jacobians = step_jacobians(run(weight, torch.tanh, lag + 20)[20:], weight)
    product = functools.reduce(lambda p, j: j @ p, jacobians)
    return torch.linalg.matrix_norm(product, 2).item()


def bench_how_many_matrices_explode(record, matrices=12):
    rows = []
    for radius in (0.9, 1.0, 1.1, 1.3, 1.5, 1.75, 2.0):
        values = [largest(seed, radius) for seed in range(matrices)]
        grown = sum(value > 1 for value in values)
        rows.append((radius, matrices, grown, grown / matrices))
    record(
        "exploding",
        kind="tolerance",
        tolerance=1e-9,
        seed=SEED,
        title="Of twelve random matrices, how many let a gradient grow",
        prediction=(
            "Told after the fact: with one matrix, the first edition of the "
            "page said that only radius 2 explodes. A review drew twelve and "
            "found 42 % at radius 1.1, 67 % at 1.3, 75 % at 1.5, 83 % at "
            "1.75 and all at 2.0. We expect none at 1 and below."
        ),
        columns={
            "radius": "",
            "matrices": "",
            "grown": "",
            "share": "",
        },
        labels={
            "radius": "spectral radius of W",
            "grown": "largest singular value above 1",
        },
        rows=rows,
    )


def last_state(weight, bias=-0.1, steps=50, h=0.5):
    """One unit, no input, fifty steps."""
    h = torch.full_like(weight, h)
    for _ in range(steps):
        h = torch.tanh(weight * h + bias)
    return h


def loss_and_slope(weight):
    weight = torch.as_tensor(weight, dtype=torch.float64).requires_grad_()
    loss = (last_state(weight) - 0.5) ** 2
    (slope,) = torch.autograd.grad(loss.sum(), weight)
    return loss.detach(), slope


def bench_the_loss_of_one_unit_has_a_wall(record):
    weights = torch.linspace(1.1, 1.7, 121, dtype=torch.float64)
    loss, slope = loss_and_slope(weights)
    record(
        "wall",
        kind="tolerance",
        tolerance=1e-6,
        seed=None,
        title="Loss of one unit after 50 steps against its one weight",
        prediction=(
            "With a small weight the unit falls to a negative state, with a "
            "large one it stays positive. In between lies a weight at which "
            "it hesitates, and 50 steps turn a difference in the third "
            "decimal into one of order 1: a slope of a thousand or so."
        ),
        columns={"weight": "", "loss": "", "slope": ""},
        labels={
            "weight": "weight w",
            "loss": "loss",
            "slope": "gradient of the loss",
        },
        rows=[
            (round(w, 4), a, b)
            for w, a, b in zip(
                weights.tolist(), loss.tolist(), slope.tolist(), strict=True
            )
        ],
    )


def bench_descent_with_and_without_clipping(record):
    rows = []
    for name in ("plain", "clipped"):
        weight = 2.0
        for step in range(101):
            loss, slope = loss_and_slope(weight)
            rows.append((name, step, weight, loss.item(), slope.item()))
            if name == "clipped":
                (slope,), _ = clip_by_norm([slope], 1.0)
            weight -= 0.05 * slope.item()
    record(
        "descent",
        kind="tolerance",
        tolerance=1e-4,
        seed=None,
        title="Gradient descent towards the wall, step size 0.05",
        prediction=(
            "Both go down the gentle slope from w = 2 in the same way. At "
            "the wall the plain one takes a step of 0.05 times a gradient in "
            "the hundreds and lands where the tanh is flat, for good; the "
            "clipped one moves by 0.05 and comes back."
        ),
        columns={
            "method": "",
            "step": "",
            "weight": "",
            "loss": "",
            "slope": "",
        },
        labels={"weight": "weight w", "slope": "gradient of the loss"},
        rows=rows,
    )


class Plain(RNN):
    """The loop of every recurrence, its gradient left to autograd."""

    scan = Recurrent.scan


@pytest.mark.timing
def bench_forward_and_backward(record, race):
    torch.manual_seed(SEED)
    models = {
        "our loop, autograd's gradient": Plain(128, 128),
        "our loop, gradient by hand": RNN(128, 128),
        "nn.RNN": nn.RNN(128, 128, batch_first=True),
    }
    record(
        "speed",
        kind="timing",
        seed=SEED,
        title=TITLE,
        prediction=(
            "nn.RNN's steps are the same calls made from C++, each recorded "
            "for autograd as ours are. By hand, a step back is two products "
            "and a matrix product, and the gradient of W one product for all "
            "steps: faster than nn.RNN, we think by a quarter."
        ),
        columns={"model": "", "seconds": "s"},
        labels={"model": "implementation", "seconds": "time"},
        rows=forward_and_backward(race, models),
    )
