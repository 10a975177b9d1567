"""Four models of one size over length: digits pixel by pixel, copying."""

import statistics

import pytest

from tests import contests
from tests.models.s4.training_runs import (
    CONTESTANTS,
    COPY,
    DIGITS,
    copied,
    read_digits,
)

SEEDS = (0, 1, 2)
SLOW = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
QUICK = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
RATES = {"RNN": SLOW, "LSTM": QUICK, "Transformer": QUICK, "S4D": QUICK}
STARTS = {
    "RNN": "W a random rotation, biases 0",
    "LSTM": "chrono biases up to the length",
    "Transformer": "PyTorch's own",
    "S4D": "S4D-Lin, Δ from 0.001 to 0.1",
}


def raced(best, **about):
    """What is said of the race: as many rates for all, each its own."""
    said = contests.race((), best, STARTS, baseline="LSTM", **about)
    for n, grid in said["rates"].items():
        grid["tried"] = list(RATES[n])
    return said


def tell(record, name, train, beginnings, *, title, prediction, what, **race):
    """Tune every contestant, train it with three seeds, record the share.

    `beginnings` = (those that rates are chosen by, those that are reported):
    what stands in a job between the contestant and its rate.
    """
    chosen_by, reported = beginnings
    best = {}
    for n in CONTESTANTS:
        best |= contests.tuned(train, {(n,): [(n, *chosen_by)]}, RATES[n])
    jobs = {
        n: [(n, *reported, best[n,], seed) for seed in SEEDS]
        for n in CONTESTANTS
    }
    found = contests.runs(train, sum(jobs.values(), []))
    rows = []
    for n in CONTESTANTS:
        shares = [found[job][0] for job in jobs[n]]
        mean = statistics.mean(shares)
        rows.append((n, best[n,], mean, min(shares), max(shares)))
    record(
        name,
        kind="trained",
        seeds=SEEDS,
        spread={"rate": None, "right": 0.1, "lowest": None, "highest": None},
        race=raced(best, **race),
        title=title,
        prediction=prediction,
        columns={
            "model": "", "rate": "", "right": "", "lowest": "", "highest": "",
        },
        labels={
            "rate": "best rate",
            "right": f"{what}, mean of {len(SEEDS)} seeds",
            "lowest": "worst seed",
            "highest": "best seed",
        },
        rows=rows,
    )  # fmt: skip


def of_digits(record, scale, prediction):
    length = (8 * scale) ** 2
    tell(
        record,
        f"digits_{length}",
        read_digits,
        ((scale, "chosen"), (scale, "reported")),
        title=f"Digits read pixel by pixel, {length} steps, after "
        f"{DIGITS['steps']} batches of {DIGITS['batch']}",
        prediction=prediction,
        what="share named rightly",
        chosen_on="300 digits that no run trains on, seed 100",
        reported_on="300 other digits, seeds 0 to 2",
    )


@pytest.mark.trained
def bench_digits_of_64(record):
    of_digits(
        record,
        1,
        "At 64 steps all but the RNN learn it: S4D and the Transformer 0.97, "
        "the LSTM 0.94, the RNN 0.85.",
    )


@pytest.mark.trained
def bench_digits_of_256(record):
    of_digits(
        record,
        2,
        "Four times as many steps, no more to know: S4D stays at 0.97, the "
        "Transformer falls to 0.9, the LSTM to 0.85, the RNN to 0.6.",
    )


def of_copies(record, wait, prediction):
    tell(
        record,
        f"copying_{wait}",
        copied,
        ((wait,), (wait,)),
        title=f"One of eight symbols recalled after {wait:,} blanks, after "
        f"at most {COPY['steps']} batches of {COPY['batch']}",
        prediction=prediction,
        what="share recalled",
        chosen_on="200 texts, seed 100 in training",
        reported_on="200 texts, seeds 0 to 2 in training",
    )


@pytest.mark.trained
def bench_copying_over_100(record):
    of_copies(
        record,
        100,
        "The Transformer looks back and is right within the budget; S4D and "
        "the LSTM with chrono biases are, too; the RNN guesses, 1/8.",
    )


@pytest.mark.trained
def bench_copying_over_1000(record):
    of_copies(
        record,
        1000,
        "S4D recalls most, 0.7 and more; the LSTM and the RNN guess; the "
        "Transformer, for which 1,000 is as near as 100, is right.",
    )
