"""What the guidance chapter measures: scales, classifiers, and what breaks."""

import hashlib
import statistics
from datetime import date

import pytest
import torch

from llmnotes.diffusion.ddim import DPMSolver2M, solve
from llmnotes.diffusion.ddim.spacing import visited
from llmnotes.diffusion.ddpm import Schedule, cosine, quality
from llmnotes.diffusion.guidance import (
    ClassifierFree,
    GaussianDenoiser,
    Normal,
    drawn,
    drawn_with_noise,
    tilted,
)
from tests import contests
from tests.diffusion.ddpm import denoisers
from tests.diffusion.guidance import demo, draws

SEEDS = (0, 1, 2)
SCALES = (0.0, 0.5, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0)
RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
LEARNED = (1e-4, 1e-3, 3e-3)  # rates of classifiers, from little to much
NO_RANKING = "No ranking: "
U, C = Normal(0.0, 1.0), Normal(1.0, 0.5)
MEASURES = {
    "accuracy": "", "accuracy_lowest": "", "frechet": "",
    "frechet_lowest": "", "frechet_highest": "", "precision": "",
    "recall": "",
}  # fmt: skip
LABELS = {
    "scale": "guidance scale s",
    "accuracy": "digits as asked for", "accuracy_lowest": "worst seed",
    "frechet": "Fréchet distance", "frechet_lowest": "lowest",
    "frechet_highest": "highest", "precision": "precision",
    "recall": "recall", "extreme": "pixels at an end",
}  # fmt: skip
SPREAD = {
    "accuracy": 0.05, "accuracy_lowest": None, "frechet": None,
    "frechet_lowest": None, "frechet_highest": None, "precision": 0.1,
    "recall": 0.1,
}  # fmt: skip

RANGE = {
    "accuracy": 0.05, "lowest": None, "highest": None, "frechet": None,
    "precision": 0.1, "recall": 0.1,
}  # fmt: skip
ENDS = {"lowest": "worst seed", "highest": "best seed"}


def over(seeds):
    """The cells of `MEASURES`, out of what each seed was judged."""
    accuracy, frechet, precision, recall = list(zip(*seeds, strict=True))[:4]
    mean = statistics.mean
    return (
        mean(accuracy), min(accuracy), mean(frechet), min(frechet),
        max(frechet), mean(precision), mean(recall),
    )  # fmt: skip


def ranged(seeds):
    """The cells of a ranking: accuracy with its ends, and the others."""
    mean, least, frechet, _, _, *rest = over(seeds)
    return mean, least, max(one[0] for one in seeds), frechet, *rest


def swept(train, begins):
    """{beginning: what each seed was judged} of jobs (…, seed)."""
    found = contests.runs(train, [(*b, s) for b in begins for s in SEEDS])
    return {b: [found[*b, s] for s in SEEDS] for b in begins}


@pytest.mark.trained
def bench_the_null_branch_first(record):
    """Whoever guides without looking at u guides by something unknown."""
    recipes = [("velocity", 0.1), ("data", 0.3), ("data", 0.0)]
    scales = 0.0, 1.0, 2.0, 4.0
    begins = [(*recipe, scale) for recipe in recipes for scale in scales]
    found = swept(draws.free, begins)
    record(
        "null_branch",
        kind="trained",
        seeds=SEEDS,
        spread={"drop": None, "scale": None, **SPREAD},
        example=NO_RANKING + "one rate for all; the recipes differ in what "
        "the network is asked for and in how often it is told no class.",
        title="The branch without a class (s = 0), the one with it (s = 1) "
        "and what guidance makes of both",
        prediction=(
            "With v and 10 % dropped, u is far worse than c: its distance "
            "is ten times the floor or more, and guidance does not help as "
            "it should. x_0 as target and more drop mend most of it. "
            "Where no label was ever dropped, u is noise to the network, "
            "and guidance breaks the digits."
        ),
        columns={"target": "", "drop": "", "scale": "", **MEASURES},
        labels={"drop": "labels dropped", **LABELS},
        rows=[(*begin, *over(said)) for begin, said in found.items()],
    )  # fmt: skip


@pytest.mark.trained
def bench_the_scale(record):
    begins = [("data", 0.3, scale) for scale in SCALES]
    found = swept(draws.free, begins)
    seconds = [one[5] for one in found[begins[0]]]
    floor = quality.floor()
    record(
        "scale",
        kind="trained",
        seeds=SEEDS,
        spread={"scale": None, **SPREAD, "floor": None, "seconds": None,
                "slowest": None},
        example=NO_RANKING + "one network, followed at nine scales.",
        title="Following a class: 25 steps of DDIM at nine scales",
        prediction=(
            "Ten in a hundred digits are right at s = 0, all at 1.5. The "
            "distance is lowest at 1, and grows from there; recall falls. "
            "At 8 precision is gone, and recall has risen again."
        ),
        columns={"scale": "", **MEASURES, "floor": "", "seconds": "s",
                 "slowest": "s"},
        labels={**LABELS, "floor": "of real digits held out",
                "seconds": "CPU time of training", "slowest": "longest"},
        rows=[
            (begin[2], *over(said), floor["frechet"],
             statistics.mean(seconds), max(seconds))
            for begin, said in found.items()
        ],
    )  # fmt: skip


@pytest.mark.trained
def bench_classifiers(record):
    best = contests.tuned(
        draws.pulled, {(kind,): [(kind,)] for kind in draws.TASKS}, RATES
    )
    begins = [
        (scale, kind, best[kind,])
        for kind in draws.TASKS
        for scale in (1.0, 2.0, 4.0, 8.0)
    ]
    found = swept(draws.pulled_at, begins)
    said = contests.race(
        RATES, best, dict.fromkeys(draws.TASKS, "PyTorch's own"),
        baseline="clean", column="classifier",
        chosen_on="digits drawn at scale 2, seed 100",
        reported_on="other classifiers and draws, seeds 0 to 2",
    )  # fmt: skip
    record(
        "classifiers",
        kind="trained",
        seeds=SEEDS,
        spread={"scale": None, "rate": None, **RANGE},
        race=said,
        title="A classifier pulls a denoiser that hears no class",
        prediction=(
            "The one that has learned on noisy digits reaches .97 at scale "
            "2; the same network, trained on clean ones, stays below .5, "
            "and no scale makes up for it: its gradient is about nothing "
            "for as long as there is noise."
        ),
        columns={"classifier": "", "scale": "", "rate": "",
                 **dict.fromkeys(RANGE, "")},
        labels={**LABELS, "rate": "best rate", **ENDS},
        rows=[
            (kind, scale, rate, *ranged(said))
            for (scale, kind, rate), said in found.items()
        ],
    )  # fmt: skip


@pytest.mark.trained
def bench_clean_classifiers_that_have_learned_more(record):
    begins = [(2.0, "clean", rate) for rate in LEARNED]
    found = swept(draws.pulled_at, begins)
    task = draws.TASKS["clean"](Schedule(cosine()))
    torch.set_num_threads(1)
    losses = [
        statistics.mean(
            task.evaluate(draws.learned("clean", rate, seed)) for seed in SEEDS
        )
        for rate in LEARNED
    ]
    record(
        "learned",
        kind="trained",
        seeds=SEEDS,
        spread={"rate": None, "loss": 0.05, **RANGE},
        example=NO_RANKING + "one classifier, by its rate of learning.",
        title="A classifier of clean digits pulls at scale 2, by how well it "
        "knows them",
        prediction=(
            "Seen while tuning, on one seed: the one that has learned least "
            "guides best by far. Three seeds will say the same."
        ),
        columns={"rate": "", "loss": "nats", **dict.fromkeys(RANGE, "")},
        labels={**LABELS, "rate": "rate of learning", **ENDS,
                "loss": "loss on clean digits held out"},
        rows=[
            (rate, loss, *ranged(said))
            for ((_, _, rate), said), loss in zip(
                found.items(), losses, strict=True
            )
        ],
    )  # fmt: skip


@pytest.mark.trained
def bench_within_bounds(record):
    ways = (
        "nothing", "static", "dynamic at .995", "dynamic at .9", "rescaled",
        "noisier half only", "cleaner half only",
    )  # fmt: skip
    begins = [(way, scale) for scale in (8.0,) for way in ways]
    found = swept(draws.limited, begins)
    record(
        "bounds",
        kind="trained",
        seeds=SEEDS,
        spread={"scale": None, **SPREAD, "extreme": 0.1},
        example=NO_RANKING + "one network; nothing else is trained.",
        title="Strong guidance, and ways to keep it within bounds",
        prediction=(
            "Without bounds the digits break first. Cutting mends most of "
            "it; dynamic thresholding at .995 does the same for 64 pixels, "
            "of which .995 is the largest; at .9 fewer pixels end at an end, "
            "and the distance falls at 8. Guidance in the cleaner half "
            "alone keeps recall."
        ),
        columns={"way": "", "scale": "", **MEASURES, "extreme": ""},
        labels=LABELS,
        rows=[
            (*begin, *over(said), statistics.mean(one[4] for one in said))
            for begin, said in found.items()
        ],
    )  # fmt: skip


def solved(scale, steps=400, levels=4000):
    """Mean and spread where the sampler without noise ends.

    What it does is a line in where it begins, so two beginnings tell all.
    """
    schedule = Schedule(cosine(levels))
    guided = ClassifierFree(GaussianDenoiser(schedule, U), scale)
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    pair = tuple(torch.full_like(x, value) for value in C)
    low, high = solve(
        guided, x, visited(levels, steps), pair, solver=DPMSolver2M(),
        clip=None,
    ).flatten().tolist()  # fmt: skip
    return Normal(low, high - low)


def wandered(scale, levels=1000):
    """The same of DDPM's chain: a line at each step, and its variance."""
    schedule = Schedule(cosine(levels))
    guided = ClassifierFree(GaussianDenoiser(schedule, U), scale)
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    pair = tuple(torch.full_like(x, value) for value in C)
    mean, variance = 0.0, 1.0
    for step in range(levels, 0, -1):
        t = torch.full((2,), step)
        means, added = schedule.posterior(guided.data(x, t, pair), x, t)
        low, high = means.flatten().tolist()
        mean = low + (high - low) * mean
        variance = (high - low) ** 2 * variance + added[0].item()
    return Normal(mean, variance**0.5)


def bench_what_guidance_does_to_gaussians(record):
    rows = []
    for scale in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0):
        laws = (
            drawn(U, C, scale), solved(scale),
            drawn_with_noise(U, C, scale), wandered(scale),
            tilted(U, C, scale),
        )  # fmt: skip
        rows.append((scale, *(value for law in laws for value in law)))
    kinds = "drawn", "solved", "noise", "wandered", "tilted"
    words = (
        "the law of DDIM", "DPM-Solver++, 400 steps", "the law of DDPM",
        "DDPM, 1000 steps", "the tilted density",
    )  # fmt: skip
    columns = {f"{k}_{of}": "" for k in kinds for of in ("mean", "std")}
    labels = {
        f"{kind}_{of}": f"{of} of {said}" if said[0] == "t" else
        f"{said}, {of}"
        for kind, said in zip(kinds, words, strict=True)
        for of in ("mean", "std")
    }  # fmt: skip
    record(
        "gaussian",
        kind="tolerance",
        tolerance=1e-4,
        title="N(0, 1) without the condition, N(1, ½²) with it: what is "
        "drawn with exact scores, and the density that is promised",
        prediction=(
            "Without noise the spread is ½^s, with DDPM's it is between "
            "that and the tilted one, 1/√(1 + 3 s); the samplers meet their "
            "laws to 1 %, and neither meets the tilted density."
        ),
        columns={"scale": "", **columns},
        labels={"scale": "scale s", **labels},
        rows=rows,
    )


@pytest.mark.trained
def bench_what_the_browser_draws(record, request):
    """Trains the small network, and writes its file with the result."""
    recipe = "data", "cosine", "l2", 0, 0.3
    denoiser, seconds = denoisers.with_seconds(
        *recipe, steps=demo.LEARN, rate=demo.RATE, shape=demo.SHAPE
    )
    denoiser.network = denoiser.network.average
    if request.config.option.results == "write":
        about = {"bench": "bench_what_the_browser_draws", "seed": 0}
        demo.write(denoiser, demo.FILE, **about, date=date.today())
    small, _ = demo.read()
    rows = []
    for scale in (demo.SCALE, *demo.OTHERS):
        pictures = demo.greys(demo.drawn(small, scale))
        for digit, greys in enumerate(pictures):
            rows.append((scale, digit, demo.STEPS, demo.SEED, greys))
    record(
        "strip",
        kind="trained",
        seeds=(0,),
        spread={"scale": None, "digit": None, "steps": None, "seed": None,
                "greys": None},
        example=NO_RANKING + "digits to look at.",
        title="Digits of the small network, at six scales from the same "
        "noise",
        prediction="At s = 0 they ignore what is asked for, at 8 they break.",
        columns={"scale": "", "digit": "", "steps": "", "seed": "",
                 "greys": ""},
        labels={"greys": "grey of each pixel, row by row, 0 to f"},
        rows=rows,
    )  # fmt: skip
    count = sum(w.numel() for w in small.network.parameters())
    kept = demo.FILE.read_bytes()
    found = []
    for scale in (*demo.OTHERS, 1.5, demo.SCALE):
        guided = ClassifierFree(small, scale)
        judged = draws.judged(guided, steps=demo.STEPS)
        found.append(
            (scale, demo.STEPS, *judged[:4], count, len(kept), seconds,
             hashlib.sha256(kept).hexdigest())
        )  # fmt: skip
    record(
        "browser",
        kind="trained",
        seeds=(0,),
        spread={"scale": None, "steps": None, "accuracy": 0.05,
                "frechet": None, "precision": 0.1, "recall": 0.1,
                "weights": None, "bytes": None, "seconds": None,
                "sha256": None},
        example=NO_RANKING + "the one network that the page brings.",
        title="The small network in the browser: ten steps, weights of 16 "
        "bits",
        prediction="From s = 1.5 on, nearly all digits are as asked for.",
        columns={"scale": "", "steps": "", "accuracy": "", "frechet": "",
                 "precision": "", "recall": "", "weights": "", "bytes": "B",
                 "seconds": "s", "sha256": ""},
        labels={**LABELS, "bytes": "size of the file",
                "seconds": "CPU time of training"},
        rows=sorted(found),
    )  # fmt: skip
