"""Five models of one size read tiny Shakespeare."""

import statistics

import pytest

from tests import contests
from tests.models.mamba.text_runs import (
    CONTESTANTS,
    GOAL,
    STEPS,
    TUNED_AT,
    built,
    chosen,
    read,
    size,
    width_of,
)

SEEDS = (0, 1, 2)
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
MAMBA = "A = -1 … -16, Δ from .001 to .1"
STARTS = {
    "LSTM": "forget biases 1; the rest PyTorch's",
    "S4D": "S4D-Lin, Δ from .001 to .1",
    "Mamba": MAMBA,
    "Mamba with one look": MAMBA + "; the look as the Transformer",
    "Transformer": "normal, 0.02, less where a layer writes to the stream",
}


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_text(record):
    best = contests.tuned(
        chosen, {(n,): [(n,)] for n in CONTESTANTS}, RATES, better=min
    )
    jobs = {n: [(n, best[n,], seed) for seed in SEEDS] for n in CONTESTANTS}
    found = contests.runs(read, sum(jobs.values(), []))
    rows = []
    for n in CONTESTANTS:
        losses = [found[job][0] for job in jobs[n]]
        spread = statistics.mean(losses), min(losses), max(losses)
        rows.append((n, width_of(n), size(built(n)), best[n,], *spread))
    record(
        "text",
        kind="trained",
        seeds=SEEDS,
        spread={"rate": None, "loss": 0.1, "lowest": None, "highest": None},
        race=contests.race(
            *(RATES, best, STARTS),
            baseline="LSTM",
            chosen_on=f"the last 5 % of the training text, {TUNED_AT} steps, "
            "seed 100",
            reported_on="the validation text, seeds 0 to 2",
        ),
        title=f"Loss on Shakespeare, {GOAL:,} parameters, {STEPS:,} steps",
        prediction=(
            "Within 64 letters recurrence is ahead again: Mamba first, with "
            "or without a look, then the LSTM, the Transformer and S4D."
        ),
        columns={
            "model": "", "width": "", "parameters": "", "rate": "",
            "loss": "nat", "lowest": "nat", "highest": "nat",
        },
        labels={
            "loss": f"validation loss, mean of {len(SEEDS)} seeds",
            "rate": "best rate",
            "lowest": "best seed",
            "highest": "worst seed",
        },
        rows=rows,
    )  # fmt: skip
