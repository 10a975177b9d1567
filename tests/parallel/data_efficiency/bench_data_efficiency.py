"""What the chapter counts in its texts, and what its runs say."""

import math
import statistics
from itertools import pairwise

import pytest
import torch

from llmnotes.parallel.data_efficiency import (
    duplicates,
    fitting,
    mixing,
    runs,
    scaling,
)
from llmnotes.transformer.gpt.model import parameters
from tests import contests
from tests.parallel.data_efficiency import contest, counts, grid
from tests.parallel.data_efficiency.pairs import hits

SEEDS = grid.SEEDS
PUBLISHED = {"as printed": scaling.CHINCHILLA, "refitted": scaling.BESIROGLU}
FAMOUS = {  # bands, rows
    "20 bands of 5": (20, 5),
    "14 bands of 8": (14, 8),
    "450 bands of 20": (450, 20),
    "9 bands of 13": (9, 13),
}
NO_RANKING = "No ranking: "
DRAWS = 200


def bench_s_curves(record):
    rows = [
        (name, s / 20, duplicates.chance(s / 20, bands=b, rows=r))
        for name, (b, r) in FAMOUS.items()
        for s in range(21)
    ]
    record(
        "curves",
        kind="tolerance",
        tolerance=1e-9,
        title="Chance that two texts become a candidate, by their similarity",
        prediction="Each curve climbs near (1/b)^(1/r).",
        columns={"bands": "", "similarity": "", "chance": ""},
        labels={"similarity": "Jaccard similarity",
                "chance": "chance to be found"},
        rows=rows,
    )  # fmt: skip


def bench_pairs_that_are_found(record):
    count, rows = 2000, []
    for b, r in ((20, 5), (9, 13)):
        for s in (0.5, 0.8):
            p = duplicates.chance(s, bands=b, rows=r)
            found = hits(s, bands=b, rows=r, count=count)
            sigma = math.sqrt(p * (1 - p) / count)
            rows.append((f"{b} bands of {r}", s, p, found, 3 * sigma))
    record(
        "hits",
        kind="tolerance",
        tolerance=1e-9,
        seed=0,
        title=f"Of {count:,} pairs of one similarity, the share that was "
        "found",
        prediction="As the curve says, within three standard deviations.",
        columns={"bands": "", "similarity": "", "chance": "", "found": "",
                 "bound": ""},
        labels={"chance": "by the curve", "found": "measured",
                "bound": "three standard deviations"},
        rows=rows,
    )  # fmt: skip


def bench_duplicates_of_the_reference(record):
    record(
        "reference",
        kind="exact",
        seed=0,
        title="Paragraphs of the Python reference",
        prediction="A tenth are duplicates; a hundred more are similar.",
        columns={"step": "", "count": ""},
        rows=counts.deduplicated(),
    )


@pytest.mark.usefixtures("tiny_shakespeare")
def bench_packing(record):
    record(
        "packing",
        kind="tolerance",
        tolerance=1e-9,
        title="Speeches of tiny Shakespeare in rows of 256 and of 1,024 "
        "characters",
        prediction="Padding wastes half of all places; best fit wastes "
        "nearly none, and cuts only what is longer than a row.",
        columns={"block": "", "way": "", "rows": "", "filled": "",
                 "cut": ""},
        labels={"filled": "places with a character",
                "cut": "speeches that are cut"},
        rows=[(b, *row) for b in (256, 1024) for row in counts.packings(b)],
    )  # fmt: skip


def bench_mixing(record):
    sizes, weights, rows = (1000, 1000, 10), (0.7, 0.2, 0.1), []
    for rule in mixing.RULES:
        drawn = mixing.interleaved(sizes, mixing.drawn(weights, 0), rule)
        expected = mixing.epochs(weights, sizes, len(drawn))
        for source, size in enumerate(sizes):
            read = sum(one == source for one, _ in drawn)
            rows.append(
                (rule, source, size, weights[source], len(drawn),
                 read / size, expected[source])
            )  # fmt: skip
    record(
        "mixing",
        kind="tolerance",
        tolerance=1e-9,
        seed=0,
        title="Three sources with weights .7, .2 and .1, until a rule says "
        "stop",
        prediction="The first rule stops after a hundred draws; the other "
        "reads the source of ten rows fifty times.",
        columns={"rule": "", "source": "", "size": "", "weight": "",
                 "draws": "", "epochs": "", "expected": ""},
        labels={"epochs": "epochs, counted",
                "expected": "epochs, n·p/size"},
        rows=rows,
    )  # fmt: skip


def bench_published_laws(record):
    crossing = scaling.crossing(*PUBLISHED.values())
    rows = []
    for compute in (1e14, crossing, 5.76e23, 3.79e25):
        for name, law in PUBLISHED.items():
            n, d = scaling.optimum(compute, law)
            rows.append((name, compute, n, d, d / n, law(n, d)))
    record(
        "laws",
        kind="tolerance",
        tolerance=1e-9,
        title="The best model for a budget, by two fits of the same runs",
        prediction="40 billion parameters at Gopher's 5.76e23 FLOPs, as the "
        "paper prints.",
        columns={"fit": "", "compute": "FLOPs", "parameters": "",
                 "tokens": "", "ratio": "", "loss": "nat"},
        labels={"ratio": "tokens per parameter"},
        rows=rows,
    )  # fmt: skip


def bench_two_laws_over_compute(record):
    rows = [
        (name, 10.0**power, scaling.optimum(10.0**power, law)[0])
        for name, law in PUBLISHED.items()
        for power in range(14, 27)
    ]
    record(
        "recommended",
        kind="tolerance",
        tolerance=1e-9,
        title="Parameters that two fits recommend, by compute",
        prediction="They cross where the runs were, and part above.",
        columns={"fit": "", "compute": "FLOPs", "parameters": ""},
        rows=rows,
    )


@pytest.mark.usefixtures("tiny_shakespeare")
def bench_overlap(record):
    rows = [(n, *row) for n in (8, 13) for row in counts.overlaps(n)]
    record(
        "overlap",
        kind="tolerance",
        tolerance=1e-9,
        seed=0,
        title="Held-out tenths: what of them stands in the other nine",
        prediction="Nothing where a play is cut once; a tenth where "
        "paragraphs were shuffled with their duplicates.",
        columns={"n": "words", "division": "", "share": "", "spans": ""},
        labels={"n": "run", "division": "how it was divided",
                "share": "words inside known runs",
                "spans": "places"},
        rows=rows,
    )  # fmt: skip


def bench_scores_of_cuts(record):
    record(
        "cuts",
        kind="tolerance",
        tolerance=1e-9,
        title="Rank correlation of the scores of a beginning and of 1,000 "
        "characters",
        prediction="Below one half for 50 characters.",
        columns={"characters": "", "correlation": ""},
        rows=counts.agreements((50, 200, 500)),
    )


def spread_of(values):
    """Mean, least and most of some seeds."""
    return statistics.mean(values), min(values), max(values)


def sizes_of(width):
    """Parameters with and without tables of tokens and places."""
    model = runs.untrained(width, 65)
    tables = model.transformer.wte, model.transformer.wpe
    every = parameters(model)
    return every, every - sum(parameters(table) for table in tables)


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_grid(record):
    found = grid.fresh()
    rates = grid.rates()
    rows = []
    for (width, read, _), said in found.items():
        losses = [one[0] for one in said]
        tokens = read * runs.BLOCK
        n = sizes_of(width)[0]
        rows.append((width, n, tokens, rates[width,], *spread_of(losses)))
    record(
        "grid",
        kind="trained",
        seeds=SEEDS,
        spread={"rate": None, "loss": 0.05, "lowest": None, "highest": None},
        example=NO_RANKING + "one family of models, and a law through it.",
        title="Validation loss of GPTs on tiny Shakespeare, each character "
        "read once",
        prediction="More of either helps, and less each time.",
        columns={"width": "", "parameters": "", "tokens": "", "rate": "",
                 "loss": "nat", "lowest": "nat", "highest": "nat"},
        labels={"rate": "learning rate", "lowest": "best seed",
                "highest": "worst seed"},
        rows=rows,
    )  # fmt: skip


def points(found, which):
    """Parameters, tokens and loss of every run."""
    rows = [
        (sizes_of(width)[which], read * runs.BLOCK, one[0])
        for (width, read, _), said in found.items()
        for one in said
    ]
    return torch.tensor(rows, dtype=torch.float64).T


def numbers(law):
    """What is told of a law."""
    return {
        "E": law.floor,
        "A": law.a,
        "B": law.b,
        "alpha": law.alpha,
        "beta": law.beta,
        "a": law.exponent,
    }


def short(number):
    """Three digits of it; what is as good as nothing is nothing."""
    return float(f"{number:.3g}") if number > 1e-4 else 0.0


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_fit(record):
    found, rows = grid.fresh(), []
    for which, counted in enumerate(("all parameters", "without tables")):
        runs_ = points(found, which)
        law = fitting.fit(*runs_)
        laws = fitting.bootstrap(*runs_, law, draws=DRAWS)
        off = statistics.mean(
            abs(law(n, d) - loss) for n, d, loss in runs_.T.tolist()
        )
        for name, value in numbers(law).items():
            drawn = sorted(numbers(one)[name] for one in laws)
            told = value, drawn[DRAWS // 20], drawn[-DRAWS // 20]
            rows.append((counted, name, *map(short, told), off))
    record(
        "fit",
        kind="trained",
        seeds=SEEDS,
        spread=dict.fromkeys(("value", "low", "high", "off")),
        example=NO_RANKING + "one law, and how little its numbers are known.",
        title="A law fitted to 48 runs: its numbers, and nine of ten laws of "
        "resampled runs",
        prediction="Exponents around .3, known to a tenth at best.",
        columns={"counted": "", "number": "", "value": "", "low": "",
                 "high": "", "off": "nat"},
        labels={"low": "5 %", "high": "95 %", "off": "mean distance of runs"},
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_foretold(record):
    found, most = grid.fresh(), max(grid.READ)
    fewer = {job: said for job, said in found.items() if job[1] < most}
    law = fitting.fit(*points(fewer, 0))
    rows = []
    for width in grid.WIDTHS:
        losses = [one[0] for one in found[width, most, 1]]
        n = sizes_of(width)[0]
        said = law(n, most * runs.BLOCK)
        before = [one[0] for one in found[width, most // 2, 1]]
        rows.append((n, statistics.mean(before), said, *spread_of(losses)))
    record(
        "foretold",
        kind="trained",
        seeds=SEEDS,
        spread={"before": 0.05, "expected": None, "loss": 0.05,
                "lowest": None, "highest": None},
        example=NO_RANKING + "one law, and the runs it has not seen.",
        title="A law fitted to the 36 runs of fewer tokens, and the twelve "
        "of most",
        prediction="Off by two hundredths of a nat.",
        columns={"parameters": "", "before": "nat", "expected": "nat",
                 "loss": "nat", "lowest": "nat", "highest": "nat"},
        labels={"before": "loss at half of the tokens",
                "expected": "foretold", "loss": "measured",
                "lowest": "best seed", "highest": "worst seed"},
        rows=rows,
    )  # fmt: skip


def as_good_as(loss, fresh):
    """The multiple of the smallest text, read once, that ends at a loss.

    `fresh` is {multiple: loss}; between two, in a line over the logarithm.
    None outside.
    """
    for (m, high), (n, low) in pairwise(sorted(fresh.items())):
        if low <= loss <= high:
            way = (high - loss) / (high - low)
            return m * (n / m) ** way
    return None


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_repeated(record):
    said, every = grid.repeated(), grid.fresh()
    width, unique = grid.AGAIN, grid.UNIQUE
    fresh = {n // unique: every[width, n, 1] for n in grid.READ}
    rows = []
    for e in grid.EPOCHS:
        losses = [one[0] for one in said[width, unique, e]]
        alike = [
            as_good_as(loss, {m: each[i][0] for m, each in fresh.items()})
            for i, loss in enumerate(losses)
        ]
        known = spread_of(alike) if None not in alike else [None] * 3
        new = [one[0] for one in fresh[e]] if e in fresh else None
        rows.append(
            (e, e * unique * runs.BLOCK, *spread_of(losses),
             statistics.mean(new) if new else None, *known,
             scaling.worth(e))
        )  # fmt: skip
    record(
        "repeated",
        kind="trained",
        seeds=SEEDS,
        spread={"loss": 0.05, "lowest": None, "highest": None,
                "fresh": 0.05, "worth": None, "worth_lowest": None,
                "worth_highest": None},
        example=NO_RANKING + "one model, which reads a text again.",
        title=f"{unique * runs.BLOCK:,} characters, read again and again, "
        "beside as many new ones",
        prediction="Four epochs are as good as 3.7 times the text, sixteen "
        "as good as 10.6 times.",
        columns={"epochs": "", "tokens": "", "loss": "nat", "lowest": "nat",
                 "highest": "nat", "fresh": "nat", "worth": "",
                 "worth_lowest": "", "worth_highest": "", "law": ""},
        labels={"lowest": "best seed", "highest": "worst seed",
                "fresh": "as many new characters",
                "worth": "worth, in texts read once",
                "worth_lowest": "worth, worst seed",
                "worth_highest": "worth, best seed",
                "law": "by the published law"},
        rows=rows,
    )  # fmt: skip


def race_of(best, ways, baseline, chosen, reported):
    """What the result says about its race."""
    return contests.race(
        contest.RATES,
        best,
        dict.fromkeys(ways, "matrices from N(0, 0.02²), biases 0"),
        baseline=baseline,
        chosen_on=chosen,
        reported_on=reported,
        column="way",
    )


@pytest.mark.trained
def bench_filter(record):
    best, said = contest.filters()
    rows = [
        (way, best[way,], *spread_of([one[0] for one in each]),
         *spread_of([one[1] for one in each]))
        for way, each in said.items()
    ]  # fmt: skip
    record(
        "filter",
        kind="trained",
        seeds=SEEDS,
        spread={"rate": None, "whole": 0.04, "lowest": None,
                "highest": None, "alike": 0.04, "alike_lowest": None,
                "alike_highest": None},
        race=race_of(
            best, contest.FILTERS, "random",
            "a tenth of the paragraphs, held out, seed 100",
            "another tenth, held out, seeds 0 to 2",
        ),
        title="122,880 characters of the reference, chosen by a score or by "
        "lot: loss on paragraphs that were held out",
        prediction="The filter helps on paragraphs that it would keep, and "
        "costs on all.",
        columns={"way": "", "rate": "", "whole": "nat",
                 "lowest": "nat", "highest": "nat",
                 "alike": "nat", "alike_lowest": "nat",
                 "alike_highest": "nat"},
        labels={"way": "chosen", "rate": "best rate",
                "whole": "all paragraphs", "lowest": "best seed",
                "highest": "worst seed",
                "alike": "those that the filter keeps",
                "alike_lowest": "its best seed",
                "alike_highest": "its worst seed"},
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_orders(record):
    best, said = contest.orders()
    rows = [
        (way, best[way,], *spread_of([one[0] for one in each]))
        for way, each in said.items()
    ]
    record(
        "orders",
        kind="trained",
        seeds=SEEDS,
        spread={"rate": None, "loss": 0.04, "lowest": None, "highest": None},
        race=race_of(
            best, contest.ORDERS, "mixed",
            "the second half of the validation text, seed 100",
            "its first half, seeds 0 to 2",
        ),
        title="The same speeches by length, or mixed: validation loss",
        prediction="Mixed is best.",
        columns={"way": "", "rate": "", "loss": "nat", "lowest": "nat",
                 "highest": "nat"},
        labels={"way": "order", "rate": "best rate", "lowest": "best seed",
                "highest": "worst seed"},
        rows=rows,
    )  # fmt: skip
