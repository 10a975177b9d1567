"""What the GRU chapter counts, computes, trains and times."""

import statistics

import pytest
import torch
from torch import nn

from llmnotes.sequence.gru import GRU, ResetBeforeGRU
from llmnotes.sequence.lstm import LSTM
from llmnotes.sequence.lstm.task import TASKS
from llmnotes.sequence.rnn import RNN, Recurrent
from llmnotes.sequence.rnn.through_time import singular_values_by_lag
from tests import contests
from tests.sequence.gru.memory import (
    CONTESTANTS,
    LAGS,
    STARTS,
    STEPS,
    begun,
    hidden_for,
    remembers,
    size,
)
from tests.sequence.rnn.racing import TITLE, forward_and_backward

SEED = 0
SEEDS, TUNED_AT = (0, 1, 2), (10, 20)
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def bench_parameter_counts(record):
    kinds = {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}
    record(
        "counts",
        kind="exact",
        title="Parameters with 10 inputs and 20 units",
        prediction=(
            "A part has 20·10 + 20·20 + 2·20 = 640 numbers; the RNN has one, "
            "the GRU three, the LSTM four."
        ),
        columns={"model": "", "parts": "", "parameters": ""},
        rows=[
            (name, kind.gates, size(kind(10, 20)))
            for name, kind in kinds.items()
        ],
    )


def carried(model, steps=100):
    """Singular values and mean size of the Jacobian product, by lag."""
    torch.manual_seed(SEED + 1)
    model = model.double()
    weight_ih, weight_hh, bias_ih, bias_hh = (
        p.detach() for p in model.parameters()
    )
    noise = torch.randn(steps, 1, 64, dtype=torch.float64)
    h, jacobians = torch.zeros(1, 64, dtype=torch.float64), []
    for x in 0.1 * noise:
        projected = x @ weight_ih.T + bias_ih

        def after(h, projected=projected):
            return model.step(projected, (h,), weight_hh, bias_hh)[0]

        jacobians.append(torch.func.jacrev(after)(h)[0, :, 0])
        h = after(h)
    jacobians = torch.stack(jacobians)
    sizes = jacobians.slogdet()[1].cumsum(0) / 64
    return singular_values_by_lag(jacobians), sizes.exp()


def bench_what_a_state_carries(record):
    torch.manual_seed(SEED)
    models = {
        "RNN": RNN(64, 64),
        "GRU": GRU(64, 64),
        "GRU with update bias 3": GRU(64, 64),
    }
    with torch.no_grad():
        models["GRU with update bias 3"].bias_ih_l0[64:128] = 3.0
    rows = []
    for name, model in models.items():
        values, means = carried(model)
        rows += [
            (name, k, values[k - 1, 0].item(), means[k - 1].item())
            for k in [1, 2, 3, 5, 7, 10, 15, *range(20, 101, 10)]
        ]
    record(
        "carried",
        kind="tolerance",
        tolerance=1e-3,
        seed=SEED,
        title="How far a change of the state is carried by untrained networks",
        prediction=(
            "As PyTorch starts them, RNN and GRU forget: W has a spectral "
            "radius of about 1/√3, and an update gate of ½ halves what is "
            "kept at each step. With a bias of 3 the gate is 0.95, and the "
            "mean of all directions should fall as 0.95 to the lag: 0.006 at "
            "100."
        ),
        columns={"network": "", "lag": "steps", "largest": "", "mean": ""},
        labels={
            "lag": "lag",
            "largest": "largest singular value",
            "mean": "geometric mean of all 64 singular values",
        },
        rows=rows,
    )


def said(name):
    """A contestant as tables call it: a comma would end a condition."""
    return name.replace(",", "")


def outcome(run):
    """Share of right answers and steps; one that exploded gives none."""
    return (0.0, STEPS) if isinstance(run, dict) else run[1:]


@pytest.mark.trained
def bench_who_remembers_how_long(record):
    names = [(task, name) for task in TASKS for name in CONTESTANTS]
    best = contests.tuned(
        remembers,
        {(n, t): [(n, t, lag) for lag in TUNED_AT] for t, n in names},
        RATES,
    )
    jobs = {
        (task, name, lag): [
            (name, task, lag, best[name, task], seed) for seed in SEEDS
        ]
        for task, name in names
        for lag in LAGS
    }
    found = contests.runs(remembers, sum(jobs.values(), []))
    rows = []
    for (task, name, lag), runs in jobs.items():
        ended = [outcome(found[job]) for job in runs]
        right = [share for share, _ in ended]
        hidden = hidden_for(name, task)
        rows.append(
            (
                *(task, said(name), lag, hidden),
                size(begun(name, task, lag, 0)),
                *(statistics.mean(right), min(right), max(right)),
                statistics.mean(steps for _, steps in ended),
            )
        )
    record(
        "memory",
        kind="trained",
        seeds=SEEDS,
        spread={"right": 0.2, "lowest": None, "highest": None, "steps": None},
        race=contests.race(
            RATES,
            {(said(name), task): rate for (name, task), rate in best.items()},
            {said(name): start for name, start in STARTS.items()},
            baseline="RNN orthogonal",
            chosen_on="2,000 questions at each of lags 10 and 20, seed 100",
            reported_on="2,000 others at each lag, seeds 0 to 2",
        ),
        title="Copying three symbols and adding two numbers across a lag",
        prediction=(
            "The first edition ran one seed at two rates and concluded that "
            "the plain RNN goes first and that a forget bias helps to copy "
            "but not to add. A review refuted both. Now we expect: started "
            "orthogonally, the RNN copies as far as the best gated network "
            "and adds badly, since a sum must be kept to 0.04 while tanh "
            "bends it; the identity start the reverse, being linear where "
            "it is not cut off. Biased gates should hold 40 in both tasks, "
            "chrono 80. minGRU, whose gates cannot count, should add, and "
            "not copy in order."
        ),
        columns={
            "task": "",
            "model": "",
            "lag": "steps",
            "hidden": "",
            "parameters": "",
            "right": "",
            "lowest": "",
            "highest": "",
            "steps": "",
        },
        labels={
            "lag": "lag",
            "hidden": "units",
            "steps": "training steps, mean",
            "right": f"share of right answers, mean of {len(SEEDS)} seeds",
            "lowest": "worst seed",
            "highest": "best seed",
        },
        rows=rows,
    )


class Plain(GRU):
    """The loop of every recurrence, its gradient left to autograd."""

    scan = Recurrent.scan


@pytest.mark.timing
def bench_forward_and_backward(record, race):
    torch.manual_seed(SEED)
    models = {
        "reset before, by autograd": ResetBeforeGRU(128, 128),
        "reset after, by autograd": Plain(128, 128),
        "reset after, by hand": GRU(128, 128),
        "nn.GRU": nn.GRU(128, 128, batch_first=True),
    }
    record(
        "speed",
        kind="timing",
        seed=SEED,
        title=TITLE,
        prediction=(
            "Before the matrix, a step needs two products that wait for one "
            "another instead of one; we expect a fifth more time. By hand, "
            "the way back is one product per step and one for all, and "
            "should beat nn.GRU, whose steps autograd records one by one."
        ),
        columns={"model": "", "seconds": "s"},
        labels={"model": "implementation", "seconds": "time"},
        rows=forward_and_backward(race, models),
    )
