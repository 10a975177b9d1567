"""What the GLIDE chapter measures: pictures that a program finds right."""

import statistics

import pytest
from torch import nn

from llmnotes.diffusion.clip import runs as clip_runs
from llmnotes.diffusion.glide import DiTConfig, runs
from tests import contests
from tests.diffusion.glide import exhibits, judging, witness

SEEDS = (0, 1, 2)
SCALES = (0.0, 1.0, 2.0, 3.0, 5.0)
BEST = 2.0  # the scale of all reports that do not sweep it
NO_RANKING = "No ranking: "
ONE, TWO = (1, "itself"), (2, "CLIP")  # how many things, who reads


def spread_of(values):
    """Mean, least and most of some seeds."""
    return statistics.mean(values), min(values), max(values)


def means(reports, names):
    """Means over seeds of some of SAID."""
    at = [judging.SAID.index(name) for name in names]
    return [statistics.mean(one[i] for one in reports) for i in at]


def reports(function, jobs):
    """{job without seed: what its seeds said}."""
    every = [(*job, seed) for job in jobs for seed in SEEDS]
    found = contests.runs(function, every)
    return {job: [found[*job, seed] for seed in SEEDS] for job in jobs}


PARTS = "number", "sizes", "colours", "shapes"
ATTRIBUTES = *PARTS, "relation"


COLUMNS = {"pair": "", "right": "", "lowest": "", "highest": "",
           **dict.fromkeys(ATTRIBUTES, ""), "seconds": "s"}  # fmt: skip
LABELS = {
    "pair": "pair of colour and shape",
    "right": "right in everything",
    "lowest": "worst seed",
    "highest": "best seed",
    "number": "number of things",
    "seconds": "CPU seconds of training, at most",
}
FREE = {"right": 0.12, "lowest": None, "highest": None,
        **dict.fromkeys(ATTRIBUTES, 0.12), "seconds": None}  # fmt: skip


def drawn_right(network):
    """Known pairs of colour and shape, and those that were held out."""
    found = reports(judging.drawn, [(*network, h, BEST) for h in (0, 1)])
    return [
        (words, *spread_of([one[0] for one in found[*network, held, BEST]]),
         *means(found[*network, held, BEST], ATTRIBUTES),
         max(one[-1] for one in found[*network, held, BEST]))
        for words, held in (("as in training", 0), ("held out", 1))
    ]  # fmt: skip


@pytest.mark.trained
def bench_what_is_drawn_right(record):
    record(
        "right",
        kind="trained",
        seeds=SEEDS,
        spread=FREE,
        example=NO_RANKING + "one network, asked for two kinds of things.",
        title=f"Of {judging.COUNT} captions of one thing, the share drawn "
        f"right at scale {BEST:g}, in {judging.STEPS} steps",
        prediction="One thing .80 after 90 CPU seconds, and half of that "
        "where the pair of colour and shape was held out.",
        columns=COLUMNS,
        labels=LABELS,
        rows=drawn_right(ONE),
    )


@pytest.mark.trained
def bench_two_things(record):
    record(
        "two",
        kind="trained",
        seeds=SEEDS,
        spread=FREE,
        example=NO_RANKING + "one network, asked for two kinds of things.",
        title=f"Of {judging.COUNT} captions of two things, the share drawn "
        f"right at scale {BEST:g}, in {judging.STEPS} steps; CLIP reads",
        prediction="Two things .85 after 5 CPU minutes, and .40 where a pair "
        "of colour and shape was held out.",
        columns=COLUMNS,
        labels=LABELS,
        rows=drawn_right(TWO),
    )


@pytest.mark.trained
def bench_two_things_by_a_reader_that_learns_along(record):
    rows, seed = [], SEEDS[0]
    jobs = {reads: (2, reads, 0, BEST, seed) for reads in ("CLIP", "itself")}
    found = contests.runs(judging.drawn, [*jobs.values()])
    for reads, job in jobs.items():
        all_, *parts, seconds = found[job]
        rows.append((reads, all_, *parts, seconds))
    record(
        "along",
        kind="trained",
        seeds=SEEDS[:1],
        spread={k: v for k, v in FREE.items() if "est" not in k},
        example=NO_RANKING + "one seed, and one rate for both.",
        title="The same, by who reads the captions; one seed",
        prediction="Words that are learned along draw half as many rightly, "
        "for they do not learn how two things stand.",
        columns={"reads": ""} | {k: v for k, v in COLUMNS.items()
                                 if k != "pair" and "est" not in k},
        labels={k: v for k, v in LABELS.items()
                if k != "pair" and "est" not in k}
        | {"reads": "who reads the captions"},
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_scales_of_guidance(record):
    jobs = [(*TWO, h, s) for s in SCALES for h in (0, 1)]
    found = reports(judging.drawn, jobs)
    rows = []
    for scale in SCALES:
        said, held = (found[*TWO, h, scale] for h in (0, 1))
        rows.append(
            (scale, *spread_of([one[0] for one in said]),
             *means(said, PARTS),
             *spread_of([one[0] for one in held]))
        )  # fmt: skip
    record(
        "scales",
        kind="trained",
        seeds=SEEDS,
        spread={"right": 0.08, "lowest": None, "highest": None,
                **dict.fromkeys(PARTS, 0.08),
                "held_out": 0.12, "held_lowest": None, "held_highest": None},
        example=NO_RANKING + "one network at several scales.",
        title="Captions of two things drawn right, by the scale of guidance; "
        "CLIP reads",
        prediction=(
            "Nothing at 0, most at 2, and at 5 the pictures lose their shapes."
        ),
        columns={"scale": "", "right": "", "lowest": "", "highest": "",
                 **dict.fromkeys(PARTS, ""), "held_out": "",
                 "held_lowest": "", "held_highest": ""},
        labels={"scale": "guidance scale", "right": "right in everything",
                "lowest": "worst seed", "highest": "best seed",
                "number": "number of things",
                "held_out": "held-out pairs: right in everything",
                "held_lowest": "held-out pairs: worst seed",
                "held_highest": "held-out pairs: best seed"},
        rows=rows,
    )  # fmt: skip


PULLS = (0.0, 1.0, 3.0, 10.0)  # scales of CLIP's guidance
WAYS = [
    *(("CLIP alone", s) for s in PULLS),
    *(("CLIP beside the caption", s) for s in PULLS[:-1]),
    ("classifier-free", BEST),
    ("real", 0.0),
]


@pytest.mark.trained
def bench_guided_by_clip(record):
    found = reports(judging.guided, WAYS)
    rows = [
        (way, scale, *spread_of([one[0] for one in said]),
         *means(said, ("number", "colours")),
         *spread_of([one[-1] for one in said]))
        for (way, scale), said in found.items()
    ]  # fmt: skip
    record(
        "clip_guidance",
        kind="trained",
        seeds=SEEDS,
        spread={"right": 0.1, "lowest": None, "highest": None,
                "number": 0.15, "colours": 0.12, "score": 0.08,
                "score_lowest": None, "score_highest": None},
        example=NO_RANKING + "CLIP's scales are few, and nobody tuned them.",
        title=f"{judging.FEW} captions of one thing, guided by a CLIP: what "
        "the checker and what that CLIP says",
        prediction=(
            "Alone, CLIP's own score climbs with the scale and the checker "
            "stays below .2. Beside the caption it helps less than "
            "classifier-free guidance."
        ),
        columns={"way": "", "scale": "", "right": "",
                 "lowest": "", "highest": "", "number": "", "colours": "",
                 "score": "", "score_lowest": "", "score_highest": ""},
        labels={"right": "right in everything", "lowest": "worst seed",
                "highest": "best seed", "number": "number of things",
                "score": "CLIP's cosine",
                "score_lowest": "cosine, lowest",
                "score_highest": "cosine, highest"},
        rows=rows,
    )  # fmt: skip


FILLS = {
    "known pixels put in": ("put", 1),
    "the same, each step 3 times": ("put", 3),
    "known pixels in the guess": ("guess", 1),
}


@pytest.mark.trained
def bench_inpainting(record):
    jobs = [(*fill, text) for fill in FILLS.values() for text in (True, False)]
    found = reports(judging.filled, jobs)
    rows = []
    for words, fill in FILLS.items():
        for text in (True, False):
            said = found[*fill, text]
            rows.append(
                (words, "read" if text else "none",
                 *spread_of([one[0] for one in said]),
                 *means(said, ("number", "shapes")),
                 max(one[-1] for one in said))
            )  # fmt: skip
    record(
        "inpainting",
        kind="trained",
        seeds=SEEDS,
        spread={"right": 0.1, "lowest": None, "highest": None,
                "number": 0.1, "shapes": 0.1, "changed": None},
        example=NO_RANKING + "one network, asked in several ways.",
        title=f"{judging.FEW} pictures of one thing, the left half of each "
        "known: the rest is drawn",
        prediction=(
            "With the caption as often as without anything known; without "
            "it a half, for in half of the pictures the known half shows "
            "what is asked for. Three rounds help where there is no caption. "
            "Known pixels never change."
        ),
        columns={"way": "", "caption": "", "right": "", "lowest": "",
                 "highest": "", "number": "", "shapes": "", "changed": ""},
        labels={"right": "right in everything", "lowest": "worst seed",
                "highest": "best seed", "number": "number of things",
                "changed": "largest change of a known pixel"},
        rows=rows,
    )  # fmt: skip


LOOK = NO_RANKING + "pictures to look at."
PICTURE = ": 768 levels from 0 to f, red, green and blue, row by row"


@pytest.mark.trained
def bench_pictures(record):
    rows = [
        (str(held), *row)
        for held, count in ((False, 6), (True, 2))
        for row in exhibits.drawn(count, held)
    ]
    record(
        "drawn",
        kind="trained",
        seeds=SEEDS[:1],
        spread={"verdict": None, "picture": None},
        example=LOOK,
        title="The first six captions of a report and the first two with a "
        "held-out pair, as drawn" + PICTURE,
        prediction="Six or seven of eight are right.",
        columns={"held_out": "", "caption": "", "verdict": "", "picture": ""},
        labels={"held_out": "a pair was held out"},
        rows=rows,
    )


SHOWN = [("CLIP alone", s) for s in PULLS] + [("classifier-free", BEST)]


@pytest.mark.trained
def bench_pictures_that_please_clip(record):
    record(
        "misled",
        kind="trained",
        seeds=SEEDS[:1],
        spread={"scale": None, "score": 0.3},
        example=LOOK,
        title="The first two captions of a report, guided by CLIP" + PICTURE,
        prediction="What pleases CLIP most shows nothing that was asked for.",
        columns={"way": "", "scale": "", "caption": "", "score": "",
                 "verdict": "", "picture": ""},
        labels={"score": "CLIP's cosine"},
        rows=exhibits.misled(SHOWN, 2),
    )  # fmt: skip


@pytest.mark.trained
def bench_pictures_that_were_filled(record):
    record(
        "filled",
        kind="trained",
        seeds=SEEDS[:1],
        spread={"verdict": None, "picture": None},
        example=LOOK,
        title="The first four captions of a report, one half known" + PICTURE,
        prediction="With the caption three of four are right, without none.",
        columns={"caption": "", "what": "", "verdict": "", "picture": ""},
        rows=exhibits.filled(4),
    )


def bench_parity(record):
    rows = []
    for width, heads, context in ((12, 3, 10), (16, 1, 4), (20, 5, 20)):
        shape = DiTConfig(width=width, heads=heads, context=context)
        rows.append((width, heads, context, *witness.apart(shape)))
    record(
        "parity",
        kind="tolerance",
        tolerance=1e-10,
        spread={"output": 1e-12, "gradient": 1e-12},
        seed=0,
        title="A block beside diffusers' BasicTransformerBlock in float64: "
        "the largest difference",
        prediction="Rounding, and nothing else.",
        columns={"width": "", "heads": "", "context": "", "output": "",
                 "gradient": ""},
        labels={"context": "width of the caption's vectors",
                "gradient": "gradients by all weights"},
        rows=rows,
    )  # fmt: skip


def count(module: nn.Module) -> int:
    """Weights of a module."""
    return sum(p.numel() for p in module.parameters())


def bench_parameters(record):
    rows = []
    for words, denoiser in (
        ("one thing", runs.untrained(runs.ONE)),
        ("two things, CLIP reads", runs.reading(clip_runs.untrained())),
    ):
        network = denoiser.network
        block = network.dit.h[0]
        rows.append(
            (words, len(network.dit.h), count(block), count(block.modulation),
             count(network.encoder), count(network))
        )  # fmt: skip
    record(
        "parameters",
        kind="exact",
        title="Weights of both networks",
        prediction="A third of a block only shifts, scales and gates.",
        columns={"network": "", "blocks": "", "block": "", "modulation": "",
                 "encoder": "", "all": ""},
        labels={"block": "in a block", "modulation": "of these, modulation",
                "encoder": "in the text encoder", "all": "in all"},
        rows=rows,
    )  # fmt: skip
