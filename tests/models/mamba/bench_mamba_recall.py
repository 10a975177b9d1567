"""Who recalls how many pairs: by what is kept, and by how many look back."""

import statistics

import pytest

from tests import contests
from tests.models.mamba.recall_runs import (
    CONTESTANTS,
    GOAL,
    LAYERS,
    PAIRS,
    STEPS,
    built,
    found,
    kept,
    size,
)

SEEDS = (0, 1, 2)
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
PLAIN = "LSTM", "S4D", "Mamba N=2", "Mamba N=8", "Mamba N=32", "Transformer"
LOOKING = "no look", "one look", "two looks", "looks only"
MAMBA = "A = -1 … -N, Δ from .001 to .1"
STARTS = {
    **dict.fromkeys(CONTESTANTS, MAMBA),
    "LSTM": "forget biases 1; the rest PyTorch's",
    "S4D": "S4D-Lin, Δ from .001 to .1",
    "Transformer": "normal, 0.02, less where a layer writes to the stream",
}


def tell(record, name, models, baseline, title, prediction):
    """Tune each, train it with three seeds, record the shares."""
    best = contests.tuned(found, {(n,): [(n,)] for n in models}, RATES)
    jobs = {n: [(n, best[n,], seed) for seed in SEEDS] for n in models}
    said = contests.runs(found, sum(jobs.values(), []))
    rows = []
    for n in models:
        model = built(n)
        about = size(model), kept(model)
        scores = zip(*(said[job][1:] for job in jobs[n]), strict=True)
        for pairs, seeds in zip(PAIRS, scores, strict=True):
            spread = statistics.mean(seeds), min(seeds), max(seeds)
            rows.append((n, *about, best[n,], pairs, *spread))
    record(
        name,
        kind="trained",
        seeds=SEEDS,
        spread={"rate": None, "right": 0.1, "lowest": None, "highest": None},
        race=contests.race(
            *(RATES, best, {n: STARTS[n] for n in models}),
            baseline=baseline,
            chosen_on="other texts of 1 to 16 pairs, seed 100",
            reported_on="256 texts of each number of pairs, seeds 0 to 2",
        ),
        title=title,
        prediction=prediction,
        columns={
            "model": "", "parameters": "", "kept": "numbers", "rate": "",
            "pairs": "", "right": "", "lowest": "", "highest": "",
        },
        labels={
            "kept": "numbers kept of 16 pairs",
            "rate": "best rate",
            "right": f"values recalled, mean of {len(SEEDS)} seeds",
            "lowest": "worst seed",
            "highest": "best seed",
        },
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_recall(record):
    tell(
        record,
        "recall",
        PLAIN,
        "LSTM",
        f"Values recalled, models of {GOAL:,} parameters after {STEPS:,} "
        "steps",
        "The Transformer recalls all 16. A Mamba recalls more the larger its "
        "state is: with 2 numbers a channel half of 4 pairs, with 32 nearly "
        "all of 16. S4D, which cannot choose, and the LSTM, whose state is "
        "the smallest, lie below all of them.",
    )


@pytest.mark.trained
def bench_looks(record):
    tell(
        record,
        "looks",
        LOOKING,
        "no look",
        f"Values recalled, {LAYERS} layers some of which are attention",
        "One look among four layers is enough: all 16 pairs are recalled. "
        "Without one it is as Mamba with so small a state, half of 4.",
    )
