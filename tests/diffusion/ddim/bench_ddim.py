"""What DDIM's chapter measures: steps, solvers, ways back and straight."""

import math
import statistics

import pytest

from llmnotes.diffusion.ddim import (
    DDIM,
    DPMSolver2M,
    Euler,
    leading,
    linspace,
    solve,
    trailing,
    visited,
)
from llmnotes.diffusion.ddim.model import points
from llmnotes.diffusion.ddpm import Schedule, cosine, linear, scaled_linear
from tests import contests
from tests.diffusion.ddim import draws, shown, spent
from tests.diffusion.ddim.small import (
    carried,
    exact,
    noise,
    slow,
    three_parts,
)

SEEDS = (0, 1, 2)
RATES = (3e-3, 1e-2, 3e-2)
NO_RANKING = "No ranking: "
SCHEDULES = {
    "linear": linear, "cosine": cosine, "scaled linear": scaled_linear
}  # fmt: skip


def spread_of(values):
    """Mean, least and most of some seeds."""
    return statistics.mean(values), min(values), max(values)


def rows_of(train, cases, seeds=SEEDS):
    """{case: what its seeds returned}, each run once and kept."""
    found = contests.runs(train, [(*c, s) for c in cases for s in seeds])
    return {case: [found[*case, s] for s in seeds] for case in cases}


def quality_row(said):
    """Fréchet distance with its spread, then the means of the rest."""
    frechet, *others = zip(*said, strict=True)
    return *spread_of(frechet), *map(statistics.mean, others)


QUALITY = {"frechet": "", "lowest": "", "highest": "", "accuracy": "",
           "precision": "", "recall": "", "copies": ""}  # fmt: skip
QUALITY_SPREAD = {
    "frechet": 4.0, "lowest": None, "highest": None, "accuracy": 0.02,
    "precision": 0.05, "recall": 0.06, "copies": None,
}  # fmt: skip
QUALITY_LABELS = {
    "frechet": "Fréchet distance", "lowest": "best seed",
    "highest": "worst seed",
}  # fmt: skip


def bench_what_a_step_costs_in_exactness(record):
    denoiser, x = three_parts(slow()), 1.7 * noise(200, 1)
    first, last = denoiser.schedule.steps, 512
    way = points(denoiser.schedule, [first, last])
    right = exact(denoiser, x, *way)
    solvers = {"Euler in ln α": Euler(), "DDIM": DDIM(),
               "DPM-Solver++ 2M": DPMSolver2M()}  # fmt: skip
    rows = []
    for name, solver in solvers.items():
        before = None
        for steps in (8, 16, 32, 64, 128, 256):
            times = range(first, last - 1, -(first - last) // steps)
            found = solve(denoiser, x, times, solver=solver, clip=None)
            off = float((found - right).abs().mean())
            order = None if before is None else math.log2(before / off)
            rows.append((name, steps, off, order))
            before = off
    record(
        "orders",
        kind="tolerance",
        tolerance=1e-3,
        seed=0,
        title="Distance from the ODE's exact path, a mixture of three parts",
        prediction=(
            "Twice the steps halve the error of Euler and of DDIM and "
            "quarter that of the second order: 1, 1 and 2. DDIM's is the "
            "smaller of the first two, because what it takes for constant "
            "over a step, the guess, changes less than the slope does."
        ),
        columns={"solver": "", "steps": "", "error": "", "order": ""},
        labels={"error": "mean error", "order": "log2 of its fall"},
        rows=rows,
    )


def bench_what_eta_does_to_a_gaussian(record):
    schedule = Schedule(cosine())
    record(
        "gaussian",
        kind="tolerance",
        tolerance=1e-9,
        title="Deviation of samples of a Gaussian of deviation 0.4, by the "
        "exact recursion",
        prediction=(
            "Every η ends at 0.4 when the steps are many. With few steps "
            "samples are too narrow, and more so the more is drawn anew."
        ),
        columns={"steps": "", "eta": "", "deviation": ""},
        labels={"eta": "η"},
        rows=[
            (n, eta, carried(schedule, visited(1000, n), eta)[1])
            for n in (3, 5, 10, 20, 50, 100, 200, 500, 1000)
            for eta in (0.0, 0.5, 1.0)
        ],
    )


def bench_where_samplers_begin(record):
    rows = []
    for name, betas in SCHEDULES.items():
        schedule = Schedule(betas())
        for steps in (5, 10, 50):
            for spacing in (leading, linspace, trailing):
                times = spacing(1000, steps)
                alpha = float(schedule.alphas[times[0]])
                rows.append(
                    (name, steps, spacing.__name__, times[0], times[-1], alpha)
                )
    record(
        "begins",
        kind="tolerance",
        tolerance=1e-9,
        title="The first step of a sampler, and what there is of the picture "
        "at that step, though the sampler begins with noise alone",
        prediction=(
            "Leading begins at 1001 - 1000/n; with ten steps of the cosine "
            "schedule 15 % of the amplitude should be picture there."
        ),
        columns={"schedule": "", "steps": "", "spacing": "", "first": "",
                 "last": "", "alpha": ""},
        labels={"first": "first t", "last": "last t", "alpha": "√ᾱ there"},
        rows=rows,
    )  # fmt: skip


def bench_whose_steps_are_the_same(record):
    """The bounds are those that tests/diffusion/ddim/test_ddim.py asserts."""
    bits = "float64, its ᾱ set to ours"
    single = "float32 in its own step"
    record(
        "schedulers",
        kind="exact",
        title="Every state of ten steps, the same network and draws: the "
        "largest difference is below",
        prediction="Equal to rounding, whatever the network predicts.",
        columns={"theirs": "", "ours": "", "below": "", "limit": ""},
        labels={"theirs": "diffusers", "limit": "computed in"},
        rows=[
            ("DDIMScheduler", "DDIM(eta)", "1e-10", bits),
            ("DDIMScheduler as it comes", "DDIM(follow=False)", "1e-5",
             "float32"),
            ("DDIMInverseScheduler", "encode", "1e-10", bits),
            ("EulerDiscreteScheduler", "DDIM() on x / α", "1e-6", single),
            ("DPMSolverMultistepScheduler", "DPMSolver2M()", "1e-6", single),
            ("FlowMatchEulerDiscreteScheduler", "DDIM() on the line", "1e-6",
             single),
        ],
    )  # fmt: skip


@pytest.mark.trained
def bench_steps_and_solvers(record):
    solvers = "DDIM", "DDIM with η = 1", "DPM-Solver++ 2M", "Euler in ln α"
    cases = [
        ("v", solver, "trailing", steps, draws.RATE)
        for solver in solvers
        for steps in (3, 5, 10, 20, 50)
    ]
    found = rows_of(draws.drawn, cases)
    rows = [(c[1], c[3], *quality_row(said)) for c, said in found.items()]
    every = contests.runs(draws.all_steps, [(seed,) for seed in SEEDS])
    rows.append(("DDPM", 1000, *quality_row(list(every.values()))))
    record(
        "steps",
        kind="trained",
        seeds=SEEDS,
        spread={"sampler": None, "steps": None, **QUALITY_SPREAD},
        example=NO_RANKING + "one model, sampled in several ways.",
        title="Digits of one model, v-prediction, by sampler and steps",
        prediction=(
            "Ten steps of DDIM or of DPM-Solver++ come within a tenth of the "
            "Fréchet distance of all thousand. With three steps the second "
            "order is best; η = 1 is behind with few steps and ahead with "
            "many. Euler needs ten times the steps."
        ),
        columns={"sampler": "", "steps": "", **QUALITY},
        labels=QUALITY_LABELS,
        rows=rows,
    )


@pytest.mark.trained
def bench_which_steps(record):
    spacings = "leading", "linspace", "trailing"
    counts = 5, 10, 50
    cases = [
        ("v", "DDIM", spacing, steps, draws.RATE)
        for spacing in spacings
        for steps in counts
    ]
    found = rows_of(draws.drawn, cases)
    rows = [(c[2], c[3], *quality_row(said)) for c, said in found.items()]
    wrong = rows_of(draws.mismatched, [(steps,) for steps in counts])
    rows += [
        ("linspace in diffusers", steps, *quality_row(said))
        for (steps,), said in wrong.items()
    ]
    record(
        "spacing",
        kind="trained",
        seeds=SEEDS,
        spread={"spacing": None, "steps": None, **QUALITY_SPREAD,
                "frechet": 8.0},
        example=NO_RANKING + "one model and one sampler, other steps.",
        title="The same model and DDIM, by which steps are visited",
        prediction=(
            "Leading is worst, and by more the fewer steps there are: it "
            "tells the network of a picture that is not there. diffusers' "
            "linspace steps to one level and asks at another, which leaves "
            "noise and should cost as much."
        ),
        columns={"spacing": "", "steps": "", **QUALITY},
        labels=QUALITY_LABELS,
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_whose_noise_after_clipping(record):
    ways = "DDIM", "clipped and ε kept", "not clipped"
    cases = [
        ("v", way, "trailing", steps, draws.RATE)
        for way in ways
        for steps in (5, 10, 20, 50, 100)
    ]
    found = rows_of(draws.drawn, cases)
    names = {"DDIM": "clipped and ε anew"}
    record(
        "clipping",
        kind="trained",
        seeds=SEEDS,
        spread={"way": None, "steps": None, **QUALITY_SPREAD,
                "frechet": 8.0},
        example=NO_RANKING + "one model and one sampler, clipped otherwise.",
        title="DDIM with the guess clipped to where pictures are, or not",
        prediction=(
            "GLIDE's way, ε anew from the clipped guess, and diffusers', ε "
            "kept, differ little: pictures are rarely out of bounds."
        ),
        columns={"way": "", "steps": "", **QUALITY},
        labels=QUALITY_LABELS,
        rows=[
            (names.get(c[1], c[1]), c[3], *quality_row(said))
            for c, said in found.items()
        ],
    )  # fmt: skip


@pytest.mark.trained
def bench_there_and_back(record):
    cases = [
        ("v", steps, rounds)
        for steps in (10, 20, 50, 100, 250)
        for rounds in (1, 2, 3)
    ]
    found = rows_of(draws.returned, cases)
    rows = []
    for (_, steps, rounds), said in found.items():
        off, deviation = zip(*said, strict=True)
        rows.append(
            (steps, rounds, steps * rounds, *spread_of(off),
             statistics.mean(deviation))
        )  # fmt: skip
    record(
        "inversion",
        kind="trained",
        seeds=SEEDS,
        spread={"steps": None, "rounds": None, "calls": None, "rmse": 0.05,
                "lowest": None, "highest": None, "deviation": 0.05},
        example=NO_RANKING + "one model, one way there and back.",
        title="Digits held out, into noise and back, in equal steps: RMSE "
        "of pixels from -1 to 1",
        prediction=(
            "Below 0.01 at 250 steps, and 0.14 at ten. A second round, which "
            "asks where the first one led, saves more than twice the steps."
        ),
        columns={"steps": "", "rounds": "", "calls": "", "rmse": "",
                 "lowest": "", "highest": "", "deviation": ""},
        labels={"calls": "calls on the way there", "rmse": "RMSE",
                "lowest": "best seed", "highest": "worst seed",
                "deviation": "deviation of the noise"},
        rows=rows,
    )  # fmt: skip


def best_rates():
    """{(model,): the rate that was best with other draws and another seed}."""
    return contests.tuned(
        draws.chosen, {(m,): [(m,)] for m in ("v", "flow")}, RATES, min
    )


@pytest.mark.trained
def bench_straight_ways_against_the_circle(record):
    best = best_rates()
    names = {"v": "v on the circle", "flow": "flow on the line"}
    grids = "even on the circle", "even on the line"
    cases = [
        (kind, "DDIM", spacing, steps, best[kind,])
        for kind in names
        for spacing in grids
        for steps in (1, 2, 3, 5, 10, 20, 50)
    ]
    found = rows_of(draws.drawn, cases)
    trained = rows_of(draws.seconds, [(k, best[k,]) for k in names])
    spent = {
        kind: statistics.mean(one[0] for one in said)
        for (kind, _), said in trained.items()
    }
    said = contests.race(
        RATES, {(names[k],): rate for (k,), rate in best.items()},
        dict.fromkeys(names.values(), "random weights, the same for both"),
        chosen_on="893 pictures drawn by a model of seed 100",
        reported_on="pictures drawn by models of seeds 0 to 2",
        baseline=names["v"], column="model",
    )  # fmt: skip
    record(
        "flow",
        kind="trained",
        seeds=SEEDS,
        spread={"model": None, "spacing": None, "steps": None,
                **QUALITY_SPREAD, "frechet": 6.0, "seconds": None},
        race=said,
        title="One network, one budget: v on DDPM's circle, and a flow on "
        "the straight line, each on steps that are even on either",
        prediction=(
            "The flow is ahead with few steps, as its ways are said to be "
            "straight, and even with many; steps even on the line suit it, "
            "and steps even on the circle suit v."
        ),
        columns={"model": "", "spacing": "", "steps": "", **QUALITY,
                 "seconds": "s"},
        labels={**QUALITY_LABELS, "seconds": "CPU time of training"},
        rows=[
            (names[c[0]], c[2], c[3], *quality_row(said), spent[c[0]])
            for c, said in found.items()
        ],
    )  # fmt: skip


@pytest.mark.trained
def bench_how_straight_ways_are(record):
    names = {"v": "v on the circle", "flow": "flow on the line",
             "reflow": "flow after a reflow"}  # fmt: skip
    steps = 1, 2, 3, 5, 10, 20
    cases = [
        (kind, "DDIM", "even on the line", n, draws.RATE)
        for kind in names
        for n in steps
    ]
    found = rows_of(draws.drawn, cases)
    bent = rows_of(draws.bent, [(kind,) for kind in names])
    rows = []
    for kind, name in names.items():
        crooked = [one[0] for one in bent[kind,]]
        for n in steps:
            said = found[kind, "DDIM", "even on the line", n, draws.RATE]
            rows.append((name, n, *quality_row(said), *spread_of(crooked)))
    record(
        "reflow",
        kind="trained",
        seeds=SEEDS,
        spread={"model": None, "steps": None, **QUALITY_SPREAD,
                "frechet": 8.0, "crookedness": 0.03,
                "straightest": None, "most_crooked": None},
        example=NO_RANKING + "reflow has trained a sixth longer.",
        title="How crooked paths are on the line, and what few steps make of "
        "them",
        prediction=(
            "v and flow are as crooked as each other, being the same ODE. "
            "One round of reflow leaves a tenth of it, and one step then "
            "draws what took the flow five."
        ),
        columns={"model": "", "steps": "", **QUALITY, "crookedness": "",
                 "straightest": "", "most_crooked": ""},
        labels={**QUALITY_LABELS, "straightest": "straightest seed",
                "most_crooked": "most crooked seed"},
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_one_noise_by_many_steps(record):
    jobs = [(eta, n, SEEDS[0]) for eta in (0.0, 1.0) for n in shown.COUNTS]
    found = contests.runs(shown.by_steps, jobs)
    record(
        "drawn",
        kind="trained",
        seeds=SEEDS[:1],
        spread={"eta": None, "steps": None, "class": None},
        example=NO_RANKING + "pictures to look at.",
        title="Digits out of the same noise, by steps: 64 grey levels from 0 "
        "to f, row by row",
        prediction=(
            "Without η it is the same digit from five steps on; with η = 1 "
            "each number of steps draws another."
        ),
        columns={"eta": "", "steps": "", "class": "", "picture": ""},
        labels={"eta": "η"},
        rows=[
            (eta, n, c, picture)
            for (eta, n, seed), pictures in found.items()
            for c, picture in zip(shown.CLASSES, pictures, strict=True)
        ],
    )


@pytest.mark.trained
def bench_digits_there_and_back(record):
    jobs = [(steps, SEEDS[0]) for steps in (10, 50, 250)]
    found = contests.runs(shown.there_and_back, jobs)
    record(
        "there",
        kind="trained",
        seeds=SEEDS[:1],
        spread={"steps": None, "class": None},
        example=NO_RANKING + "pictures to look at.",
        title="Held-out digits, the noise that they are encoded as (grey is "
        "0, black and white are -2 and 2), and what comes back",
        prediction="At 250 steps no difference can be seen, at ten it can.",
        columns={"steps": "", "class": "", "picture": "", "noise": "",
                 "again": ""},
        rows=[
            (steps, c, *three)
            for (steps, seed), pictures in found.items()
            for c, three in zip(shown.CLASSES, pictures, strict=True)
        ],
    )  # fmt: skip


@pytest.mark.trained
def bench_what_a_digit_costs(record):
    found = contests.runs(spent.by_sampler, [(seed,) for seed in SEEDS])
    columns = zip(*found.values(), strict=True)
    each = dict(zip(spent.SAMPLERS, columns, strict=True))
    whole = each["DDPM", 1000]
    rows = []
    for name, seconds in each.items():
        faster = [w / s for w, s in zip(whole, seconds, strict=True)]
        rows.append((*name, statistics.mean(seconds), *spread_of(faster)))
    record(
        "spent",
        kind="trained",
        seeds=SEEDS,
        spread={"sampler": None, "steps": None, "seconds": None,
                "faster": None, "lowest": None, "highest": None},
        example=NO_RANKING + "one model, sampled in several ways.",
        title="CPU time of a digit, a hundred at once, on one thread",
        prediction="In proportion to the steps: ten take a hundredth.",
        columns={"sampler": "", "steps": "", "seconds": "s", "faster": "",
                 "lowest": "", "highest": ""},
        labels={"seconds": "CPU time of a picture",
                "faster": "times as fast as DDPM"},
        rows=rows,
    )  # fmt: skip
