"""What the bound measures: gaps that are known, and digits in bits."""

import math
import statistics

import pytest
import torch

from llmnotes.diffusion.ddpm import Schedule, cosine, linear
from llmnotes.diffusion.ddpm.bound import (
    fixed_large,
    fixed_small,
    optimal,
    posterior_variance,
)
from llmnotes.diffusion.ddpm.gaussian import EULER, Gaussian, gap, losses
from tests import contests
from tests.diffusion.ddpm import bound_runs

SEEDS = (0, 1, 2)
DATA = Gaussian(0.3, 0.16)
STEPS = {"plain": 1000, "fourier": 1000, "levels": 600}
LONGER = "levels", 1500
TARGETS = ("noise", "velocity", "data")


def bits(nats):
    """Bits of one number, rounded to what sums of a million keep."""
    return round(nats / math.log(2), 9)


def paced(steps):
    """The paper's line of betas, the same noise in any number of steps."""
    return Schedule(linear(steps, 0.1 / steps, 20 / steps))


def gaps_at(steps):
    """A row: the gap with three variances, and what the small one keeps."""
    at = paced(steps)
    best = optimal(at, DATA.unknown(at))
    small, large, none = (
        bits(gap(DATA, at, v))
        for v in (fixed_small(at), fixed_large(at), best)
    )
    over = round(small - EULER / 2 / math.log(2), 9)
    return steps, small, over, large, none


def bench_gaps_of_the_exact_denoiser(record):
    record(
        "gaps",
        kind="tolerance",
        tolerance=1e-5,
        title="Bits per dimension that are lost with the exact denoiser: "
        "Gaussian data of mean .3 and standard deviation .4, betas in a line",
        prediction=(
            "The best variance loses nothing at any T but what the prior "
            "does not know; β loses a tenth for ten times the steps; β̃ "
            "keeps γ_Euler / 2 nats, .41637 bits, for ever."
        ),
        columns={"steps": "", "small": "bit", "over": "bit", "large": "bit",
                 "best": "bit"},
        labels={"steps": "T", "small": "β̃, fixed small",
                "over": "over γ_Euler / 2", "large": "β, fixed large",
                "best": "the best variance"},
        rows=[gaps_at(10**n) for n in range(2, 7)],
    )  # fmt: skip


def public(at):
    """The small variance with β̃_2 at t = 1, as public code has it."""
    small = fixed_small(at)
    return torch.cat([small[:1], posterior_variance(at)[2:3], small[2:]])


def bench_limits_of_the_small_variance(record):
    half = EULER / 2
    cases = [
        ("a line", paced(10**5), fixed_small, half),
        ("a line and β̃_2 at t = 1", paced(10**5), public,
         half + (1 - math.log(2)) / 2),
        ("cosine", Schedule(cosine(10**5)), fixed_small, half),
        ("cosine without offset", Schedule(cosine(10**5, 0.0)), fixed_small,
         EULER + math.pi**2 / 12),
    ]  # fmt: skip
    record(
        "limits",
        kind="tolerance",
        tolerance=1e-4,
        title="What β̃ loses in 100,000 steps, and where it will end",
        prediction=(
            "How noise begins decides: evenly, γ_Euler / 2 nats; like t², "
            "γ_Euler + π² / 12."
        ),
        columns={"schedule": "", "small": "bit", "limit": "bit"},
        labels={"small": "lost at T = 100,000", "limit": "for T without end"},
        rows=[
            (name, bits(gap(DATA, at, variance(at))), bits(limit))
            for name, at, variance, limit in cases
        ],
    )


def bench_where_the_small_variance_loses(record):
    at = paced(10**5)
    lost = losses(DATA, at, fixed_small(at))
    ends = [(2, 2), (3, 10), (11, 100), (101, 1000), (1001, 10**5)]
    record(
        "where",
        kind="tolerance",
        tolerance=1e-4,
        title="Steps at which β̃ loses, of 100,000",
        prediction="Half of it in one step, t = 2: (1 - ln 2) / 2 nats.",
        columns={"steps": "", "lost": "bit", "share": ""},
        labels={"steps": "t", "share": "of the whole"},
        rows=[
            (f"{a} to {b}" if a < b else str(a),
             bits(float(lost[a : b + 1].sum())),
             round(float(lost[a : b + 1].sum() / lost.sum()), 9))
            for a, b in ends
        ],
    )  # fmt: skip


def spread_of(values):
    """Mean, least and most of some seeds."""
    return statistics.mean(values), min(values), max(values)


@pytest.mark.trained
def bench_terms_of_trained_denoisers(record):
    jobs = [(t, "cosine", seed) for t in TARGETS for seed in SEEDS]
    found, rows = contests.runs(bound_runs.terms_of, jobs, 1), []
    for target in TARGETS:
        for variance in ("small", "large", "best"):
            said = [found[target, "cosine", s][variance] for s in SEEDS]
            columns = list(zip(*said, strict=True))
            rows.append(
                (f"{target} · {variance}", *spread_of(columns[0]),
                 *map(statistics.mean, columns[1:]))
            )  # fmt: skip
    record(
        "terms",
        kind="trained",
        seeds=SEEDS,
        spread={"bits": None, "lowest": None, "highest": None, "prior": 1e-5,
                "late": None, "early": None, "decoder": None, "stride": None},
        example="No ranking: each target at the one rate that draws well.",
        title="Bits per dimension of held-out digits, by terms: cosine, "
        "T = 1,000",
        prediction=(
            "ε and v cost about 4 bits with β̃, no less than uniform levels; "
            "x_0 many times that, all of it early; the best variance "
            "helps the worst model most."
        ),
        columns={"model": "", "bits": "bit", "lowest": "bit",
                 "highest": "bit", "prior": "bit", "late": "bit",
                 "early": "bit", "decoder": "bit", "stride": "bit"},
        labels={"model": "target · variance", "bits": "the bound",
                "lowest": "best seed", "highest": "worst seed",
                "late": "t from 101 to T", "early": "t from 2 to 100",
                "stride": "a sum that takes every 16th t for 16"},
        rows=rows,
    )  # fmt: skip


def likelihoods():
    """{guess: what its three seeds said}."""
    jobs = {g: [(g, n, s) for s in SEEDS] for g, n in STEPS.items()}
    jobs["levels for longer"] = [(*LONGER, s) for s in SEEDS]
    found = contests.runs(bound_runs.likelihood_of, sum(jobs.values(), []), 1)
    return {name: [found[job] for job in each] for name, each in jobs.items()}


@pytest.mark.trained
def bench_bits_of_digits(record):
    uniform, counted = math.log2(17), bound_runs.histogram()
    rows = [
        ("all levels alike", *[uniform] * 4, None, None, 0.0),
        ("a histogram for each number", *[counted] * 3, None, None, None, 0.0),
    ]
    for name, said in likelihoods().items():
        prior, middle, decoder = (
            [one["terms"][i] for one in said] for i in range(3)
        )
        total = [sum(x) for x in zip(prior, middle, decoder, strict=True)]
        rows.append(
            (name, *spread_of(total),
             statistics.mean(one["learned"] for one in said),
             statistics.mean(prior), statistics.mean(decoder),
             statistics.mean(one["seconds"] for one in said))
        )  # fmt: skip
    record(
        "likelihoods",
        kind="trained",
        seeds=SEEDS,
        spread={"bits": 0.05, "lowest": None, "highest": None,
                "learned": None, "prior": 1e-5, "decoder": 1e-3,
                "seconds": None},
        example="No ranking: one rate for all, and steps for half a minute.",
        title="Bits per dimension of held-out digits, in continuous time",
        prediction=(
            "With the posterior over levels inside, 600 steps come below "
            "2.2 bits and below the histogram's; Fourier features help a "
            "network that has to find the levels, which stays above 2.43. "
            "With 1,500 steps, learned digits get cheaper and held-out "
            "ones dearer."
        ),
        columns={"guess": "", "bits": "bit", "lowest": "bit",
                 "highest": "bit", "learned": "bit", "prior": "bit",
                 "decoder": "bit", "seconds": "s"},
        labels={"bits": "held-out digits", "lowest": "best seed",
                "highest": "worst seed", "learned": "digits learned from",
                "seconds": "CPU time"},
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_the_same_weights_under_four_schedules(record):
    rows = []
    for guess, said in likelihoods().items():
        for gamma in said[0]["gammas"]:
            found = [one["gammas"][gamma] for one in said]
            away = [one["gammas"][gamma][0] / one["gammas"]["line"][0] - 1
                    for one in said]  # fmt: skip
            columns = zip(*found, strict=True)
            rows.append(
                (f"{guess} · {gamma}",
                 *map(statistics.mean, columns), max(map(abs, away)))
            )  # fmt: skip
    record(
        "schedules",
        kind="trained",
        seeds=SEEDS,
        spread={"bits": 0.05, "draw": None, "batch": None,
                "spread_batch": None, "away": 0.02},
        example="No ranking of models: each is judged under four schedules.",
        title="The same weights under four ways from γ = -8 to 6",
        prediction=(
            "The bound moves by at most 1.5 % with the schedule; one draw of "
            "it varies three times as much under the cosine as on a line, "
            "and half as much where γ was learned. Spread times halve what "
            "a batch varies."
        ),
        columns={"schedule": "", "bits": "bit", "draw": "bit", "batch": "bit",
                 "spread_batch": "bit", "away": ""},
        labels={"schedule": "guess · way", "bits": "the bound",
                "draw": "standard deviation of one draw",
                "batch": "of a batch of 64, times drawn apart",
                "spread_batch": "of a batch of 64, times spread",
                "away": "from the line's bound, worst seed"},
        rows=rows,
    )  # fmt: skip
