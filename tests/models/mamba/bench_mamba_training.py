"""What selection buys: two tasks over lengths that were not trained on."""

import statistics

import pytest

from tests import contests
from tests.models.mamba.training_runs import (
    CONTESTANTS,
    LENGTH,
    TASKS,
    found,
)

SEEDS = (0, 1, 2)
RATES = (1e-3, 3e-3, 1e-2, 3e-2)


@pytest.mark.trained
def bench_lengths(record):
    tried = {
        (task, name): [(task, name)] for task in TASKS for name in CONTESTANTS
    }
    best = contests.tuned(found, tried, RATES)
    jobs = {c: [(*c, best[c], seed) for seed in SEEDS] for c in tried}
    said = contests.runs(found, sum(jobs.values(), []))
    rows = []
    for (task, name), runs in jobs.items():
        scores = zip(*(said[job][1:] for job in runs), strict=True)
        for length, seeds in zip(TASKS[task][2], scores, strict=True):
            rows.append(
                (
                    task,
                    name,
                    length,
                    statistics.mean(seeds),
                    min(seeds),
                    max(seeds),
                )
            )
    record(
        "lengths",
        kind="trained",
        seeds=SEEDS,
        spread={"right": 0.15, "lowest": None, "highest": None},
        race=contests.race(
            RATES,
            best,
            dict.fromkeys(CONTESTANTS, "A = -1 … -16, Δ from .001 to .1"),
            baseline="without selection",
            chosen_on=f"texts of {LENGTH} tokens, seed 100",
            reported_on="other texts, seeds 0 to 2",
        ),
        title=f"Trained on {LENGTH} tokens, asked at other lengths",
        prediction=(
            "At the length that is trained on both solve induction, and "
            "selective copying is .1 to .2 apart. At other lengths the one "
            "without selection falls towards guessing, and Mamba holds."
        ),
        columns={
            "task": "",
            "model": "",
            "length": "tokens",
            "right": "",
            "lowest": "",
            "highest": "",
        },
        labels={
            "right": "right answers, mean of 3 seeds",
            "lowest": "worst seed",
            "highest": "best seed",
        },
        rows=rows,
    )
