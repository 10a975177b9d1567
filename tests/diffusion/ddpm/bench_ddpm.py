"""What the DDPM chapter measures: schedules, loops, targets and samples."""

import statistics

import pytest
import torch

from llmnotes.diffusion.ddpm import (
    EMA,
    Schedule,
    cosine,
    linear,
    quality,
    runs,
    sample,
    scaled_linear,
)
from llmnotes.diffusion.ddpm.gaussian import Exact, Gaussian
from llmnotes.diffusion.ddpm.task import digits, generator
from tests import contests
from tests.diffusion.ddpm import exhibits, quality_runs, raw_runs

SEEDS = (0, 1, 2)
NO_RANKING = "No ranking: "
TIMES = (0, 1, 10, 100, 250, 500, 750, 900, 1000)
CHAIN = (0, 50, 100, 200, 300, 400, 600, 800, 1000)  # t that are shown
NOISED = 480  # the digit whose way into noise is shown
EVERY = 600  # steps between two looks at a run
MODELS = {
    "v": ("velocity", "cosine", "l2", 1.0),
    "ε": ("noise", "cosine", "l2", 1.0),
    "x_0": ("data", "cosine", "l2", 1.0),
    "ε · absolute error": ("noise", "cosine", "l1", 1.0),
    "ε · linear schedule": ("noise", "linear", "l2", 1.0),
}
CLIPPING = {
    f"{name} · {words}": (*MODELS[name][:3], clip)
    for name in ("v", "ε")
    for words, clip in (("guess clipped", 1.0), ("end clipped", None))
}


def bench_schedules(record):
    names = {"linear": linear, "scaled": scaled_linear, "cosine": cosine}
    bars = {name: Schedule(made()).alphas_bar for name, made in names.items()}
    record(
        "schedules",
        kind="tolerance",
        tolerance=1e-9,
        title="ᾱ_t, the share of the picture in the variance of x_t, T = "
        "1,000",
        prediction=(
            "Half of linear's steps are spent where less than a tenth of "
            "the picture is left; cosine has half of it left at T / 2."
        ),
        columns={"t": "", "linear": "", "scaled": "", "cosine": ""},
        labels={"scaled": "scaled linear"},
        rows=[(t, *(bars[name][t].item() for name in names)) for t in TIMES],
    )


def bench_a_digit_on_its_way_into_noise(record):
    (pictures, _), _ = digits()
    schedule, x0 = Schedule(cosine()), pictures[NOISED, None]
    rows = []
    for t in CHAIN:
        noise = torch.randn(x0.shape, generator=generator(t))
        x = schedule.noisy(x0, torch.tensor([t]), noise)
        rows.append((t, quality_runs.spelled(x)))
    record(
        "noised",
        kind="exact",
        seed=0,
        title="A digit with more and more noise, each in one draw: 64 grey "
        "levels from 0 to f, row by row",
        prediction="It can be read up to t = 300 or so.",
        columns={"t": "", "picture": ""},
        rows=rows,
    )


def bench_what_one_guess_would_draw(record):
    """The best answer to squared error where only the class is known."""
    (pictures, classes), _ = digits()
    means = [pictures[classes == digit].mean(0) for digit in range(10)]
    extreme = [(mean.abs() > 0.95).float().mean().item() for mean in means]
    drawn = [
        (pictures[classes == digit].abs() > 0.95).float().mean().item()
        for digit in range(10)
    ]
    record(
        "means",
        kind="tolerance",
        tolerance=1e-6,
        title="The mean of all digits of a class, 64 grey levels from 0 to "
        "f, row by row; and how many of its pixels are black or white",
        prediction="Grey soup: fewer black and white pixels than a digit.",
        columns={"digit": "", "picture": "", "extreme": "", "real": ""},
        labels={"extreme": "black or white in the mean",
                "real": "in a digit"},
        rows=[
            (digit, quality_runs.spelled(mean), one, each)
            for digit, (mean, one, each) in enumerate(
                zip(means, extreme, drawn, strict=True)
            )
        ],
    )  # fmt: skip


def bench_loops(record):
    """The exact denoiser in loops that people wrote."""
    data, shape = Gaussian(0.3, 0.16), (20_000, 1)
    model = Exact(data, Schedule(cosine(200)))
    loops = {
        "as in the paper": lambda draw: sample(
            model, shape, generator=draw, clip=None
        ),
        "the guess of x_0 clipped": lambda draw: sample(
            model, shape, generator=draw
        ),
        "no noise added": lambda draw: exhibits.silent(model, shape, draw),
        "x_t clamped in each step": lambda draw: exhibits.clamped(
            model, shape, draw
        ),
        "x_t clamped and moved to 0 … 1": lambda draw: (
            exhibits.clamped_and_scaled(model, shape, draw)
        ),
    }
    found = {name: loop(generator(0)) for name, loop in loops.items()}
    rows = [("the data", data.mean, data.variance**0.5)]
    rows += [(n, x.mean().item(), x.std().item()) for n, x in found.items()]
    record(
        "loops",
        kind="tolerance",
        tolerance=1e-3,
        title="20,000 samples of numbers that are N(.3, .4²), by the exact "
        "denoiser in 200 steps",
        prediction=(
            "The paper's loop ends at .3 and, since β̃ is a little small, "
            ".39. Clipping the guess loses the tails. Without new noise all "
            "end at .3. What touches x_t ends elsewhere."
        ),
        columns={"loop": "", "mean": "", "std": ""},
        labels={"std": "standard deviation"},
        rows=rows,
    )


def bench_what_an_average_remembers(record):
    """The share of the random start in the average."""
    steps, rows = (10, 100, 300, 1000, 3000, 10_000), []
    warm = EMA(torch.nn.Linear(1, 1), 0.9999)
    left, at = 1.0, 0
    for step in steps:
        while at < step:
            warm.updates.fill_(at)
            left, at = left * warm.decay_now(), at + 1
        rows.append((step, 0.99**step, 0.9999**step, left))
    record(
        "average",
        kind="tolerance",
        tolerance=1e-9,
        title="How much of the average of the weights is still the random "
        "start",
        prediction=(
            "With the paper's .9999 from the first step on, .97 after 300 "
            "steps and .37 after 10,000; with a decay that grows, nothing."
        ),
        columns={"steps": "", "short": "", "long": "", "growing": ""},
        labels={"short": "decay .99", "long": "decay .9999",
                "growing": "decay growing to .9999"},
        rows=rows,
    )  # fmt: skip


def spread_of(values):
    """Mean, least and most of some seeds."""
    return statistics.mean(values), min(values), max(values)


def reports(models):
    """{name: what its three seeds drew}."""
    jobs = {n: [(*model, s) for s in SEEDS] for n, model in models.items()}
    found = contests.runs(quality_runs.judged, sum(jobs.values(), []), 1)
    return {name: [found[job] for job in each] for name, each in jobs.items()}


COLUMNS = {
    "model": "", "accuracy": "", "worst": "", "frechet": "", "lowest": "",
    "highest": "", "precision": "", "recall": "", "nearest": "",
    "copies": "", "seconds": "s",
}  # fmt: skip
LABELS = {
    "accuracy": "read as the class", "worst": "worst seed",
    "frechet": "Fréchet distance", "lowest": "best seed",
    "highest": "worst seed, distance", "nearest": "nearest picture learned "
    "from", "copies": "near copies", "seconds": "CPU time of training",
}  # fmt: skip
SPREAD = {
    "accuracy": 0.02, "worst": None, "frechet": 2.0, "lowest": None,
    "highest": None, "precision": 0.05, "recall": 0.1, "nearest": 0.1,
    "copies": 0.02, "seconds": None,
}  # fmt: skip


def row(name, said):
    """One model's three seeds as a row of `COLUMNS`."""
    mean = {key: statistics.mean(one[key] for one in said) for key in said[0]}
    distances = spread_of([one["frechet"] for one in said])
    return (
        name, mean["accuracy"], min(one["accuracy"] for one in said),
        *distances, mean["precision"], mean["recall"], mean["nearest"],
        mean["copies"], mean["seconds"],
    )  # fmt: skip


def held_out():
    """The same measures of the pictures held out: the floor."""
    found = quality.floor()
    return row("held-out digits", [found | {"seconds": 0.0}])


@pytest.mark.trained
def bench_targets(record):
    found = reports(MODELS)
    record(
        "targets",
        kind="trained",
        seeds=SEEDS,
        spread=SPREAD,
        example=NO_RANKING + "all at the rate that suits v.",
        title="297 digits drawn in 1,000 steps, against those held out",
        prediction=(
            "v: read right in 99 % and at most half again as far as the "
            "floor, without copies. x_0 has the smallest distance, and it is "
            "smallest because it copies. The absolute error learns medians, "
            "which draw sharper and fewer kinds of digits."
        ),
        columns=COLUMNS,
        labels=LABELS,
        rows=[held_out(), *(row(n, said) for n, said in found.items())],
    )


def never_clipped(name):
    """What the three seeds of a model draw, measured as it comes."""
    jobs = [(*MODELS[name][:3], seed) for seed in SEEDS]
    found = contests.runs(raw_runs.judged, jobs, 1)
    return [found[job] for job in jobs]


@pytest.mark.trained
def bench_clipping(record):
    found = reports(CLIPPING) | {"v · never clipped": never_clipped("v")}
    record(
        "clipping",
        kind="trained",
        seeds=SEEDS,
        spread=SPREAD | {"frechet": None, "nearest": None},
        example=NO_RANKING + "the same weights, drawn from in several ways.",
        title="Samples with and without a bound on the guess of x_0",
        prediction=(
            "v can do without. ε cannot: at t = T a mistake of .01 in ε is "
            "one of 200 in x_0. Measured without any clip, as in a first run, "
            "v's samples look nearer than they are: they overshoot."
        ),
        columns=COLUMNS,
        labels=LABELS,
        rows=[row(n, said) for n, said in found.items()],
    )


@pytest.mark.trained
def bench_a_run(record):
    jobs = [(EVERY, s) for s in SEEDS]
    found = contests.runs(quality_runs.watched, jobs, 1)
    rows = []
    for i, looks in enumerate(zip(*(found[j] for j in jobs), strict=True)):
        loss, accuracy, frechet, nearest = zip(*looks, strict=True)
        rows.append(
            ((i + 1) * EVERY, *spread_of(loss), statistics.mean(accuracy),
             *spread_of(frechet), statistics.mean(nearest))
        )  # fmt: skip
    assert rows[-1][0] == runs.STEPS
    record(
        "run",
        kind="trained",
        seeds=SEEDS,
        spread={"loss": 0.01, "loss_lowest": None, "loss_highest": None,
                "accuracy": 0.03, "frechet": 4.0, "lowest": None,
                "highest": None, "nearest": 0.2},
        example=NO_RANKING + "one recipe, looked at while it runs.",
        title="A v model while it learns: loss on held-out digits, and what "
        "it draws",
        prediction=(
            "The loss begins at .6, has lost most of what it ever loses after "
            "600 steps and falls by less than a tenth from then on; the "
            "distance of the samples falls to a fifth meanwhile."
        ),
        columns={"step": "", "loss": "", "loss_lowest": "",
                 "loss_highest": "", "accuracy": "", "frechet": "",
                 "lowest": "", "highest": "", "nearest": ""},
        labels={"loss_lowest": "lowest loss", "loss_highest": "highest loss",
                "accuracy": "read as the class",
                "frechet": "Fréchet distance", "lowest": "best seed",
                "highest": "worst seed",
                "nearest": "nearest picture learned from"},
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_digits_that_were_drawn(record):
    states, classes = quality_runs.exhibit(SEEDS[0])
    record(
        "drawn",
        kind="trained",
        seeds=SEEDS[:1],
        spread={"class": None},
        example=NO_RANKING + "pictures to look at.",
        title="Digits that a v model drew, the first three of each class: "
        "64 grey levels from 0 to f, row by row",
        prediction="Each can be read.",
        columns={"class": "", "picture": ""},
        rows=[
            (int(c), quality_runs.spelled(x))
            for c, x in zip(classes, states[-1], strict=True)
        ],
    )
    schedule = Schedule(cosine())
    rows = []
    for t in CHAIN:
        here = states[schedule.steps - t][quality_runs.SHOWN]
        rows.append((t, quality_runs.spelled(here)))
    record(
        "way",
        kind="trained",
        seeds=SEEDS[:1],
        spread={"t": None},
        example=NO_RANKING + "pictures to look at.",
        title="The way of one of these from noise to a picture",
        prediction="The digit can be guessed from t = 400 on.",
        columns={"t": "", "picture": ""},
        rows=rows,
    )
