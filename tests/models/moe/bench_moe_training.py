"""What training shows: a mixture beside dense models, and who asks whom."""

import statistics

import pytest

from tests import contests
from tests.models.moe.training_runs import (
    CONTESTANTS,
    DENSE,
    STEPS,
    chosen,
    raced,
    specialised,
)

SEEDS = (0, 1, 2)
RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
COEFFICIENTS = {"balanced": 0.02, "not balanced": 0.0}


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_a_mixture_beside_dense_models(record):
    tried = {(name,): [(name,)] for name in CONTESTANTS}
    best = contests.tuned(chosen, tried, RATES, min)
    jobs = {n: [(n, best[n,], seed) for seed in SEEDS] for n in CONTESTANTS}
    found = contests.runs(raced, sum(jobs.values(), []))
    rows = []
    for name in CONTESTANTS:
        losses = [found[job][0] for job in jobs[name]]
        mean = statistics.mean(losses)
        rows.append((name, best[name,], mean, min(losses), max(losses)))
    record(
        "race",
        kind="trained",
        seeds=SEEDS,
        spread={"rate": None, "loss": 0.03, "lowest": None, "highest": None},
        race=contests.race(
            RATES,
            best,
            dict.fromkeys(CONTESTANTS, "matrices from N(0, 0.02²), as both"),
            baseline=DENSE,
            chosen_on="the last 5 % of the training text, seed 100",
            reported_on="the validation text, seeds 0 to 2",
        ),
        title=f"A mixture and two dense models after {STEPS} steps, rates "
        "tuned",
        prediction=(
            "The mixture is 0.03 to 0.06 nat better than the dense model of "
            "its flops, and does not reach the dense one of its parameters, "
            "which is another 0.03 better."
        ),
        columns={
            "model": "", "rate": "", "loss": "nat", "lowest": "nat",
            "highest": "nat",
        },
        labels={
            "rate": "best rate",
            "loss": f"validation loss, mean of {len(SEEDS)} seeds",
            "lowest": "best seed",
            "highest": "worst seed",
        },
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_what_the_experts_specialise_in(record):
    jobs = [(c, seed) for c in COEFFICIENTS.values() for seed in SEEDS]
    found = contests.runs(specialised, jobs)
    rows = []
    for name, coefficient in COEFFICIENTS.items():
        layers = zip(*(found[coefficient, s][0] for s in SEEDS), strict=True)
        for number, seeds in enumerate(layers):
            source, character, busiest = zip(*seeds, strict=True)
            rows.append(
                (
                    name,
                    number,
                    statistics.mean(source),
                    min(source),
                    max(source),
                    statistics.mean(character),
                    statistics.mean(busiest),
                )
            )
    record(
        "specialise",
        kind="trained",
        seeds=SEEDS,
        spread={
            "source": 0.1, "lowest": None, "highest": None, "character": 0.3,
            "busiest": 0.15,
        },
        example="what the experts of one shape are asked for after training "
        "on two sources at one rate; nothing is ranked",
        title=f"What a choice of expert tells of its token, {STEPS} steps on "
        "Shakespeare and the Python reference",
        prediction=(
            "Of the character more than of the source, in every layer: more "
            "than 1 bit in the first layer, where the token is all that there "
            "is, and less further up. Of the source, 1 bit if an expert "
            "belonged to one of them, less than 0.05 in the first layer and "
            "up to 0.3 in the last. Unbalanced, one expert has half of all "
            "choices in some layer."
        ),
        columns={
            "training": "", "layer": "", "source": "bit", "lowest": "bit",
            "highest": "bit", "character": "bit", "busiest": "",
        },
        labels={
            "source": "of the source, mean of 3 seeds",
            "lowest": "lowest seed",
            "highest": "highest seed",
            "character": "of the character",
            "busiest": "share of the busiest expert",
        },
        rows=rows,
    )  # fmt: skip
