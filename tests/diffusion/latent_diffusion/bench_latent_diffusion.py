"""What the chapter measures: latents beside pixels, changes, parity."""

import copy
import statistics
import tempfile

import pytest
import torch

from llmnotes.diffusion.latent_diffusion import (
    SD1_AUTOENCODER,
    SD1_UNET,
    Autoencoder,
    UNet,
    from_pretrained,
    runs,
)
from tests import contests
from tests.diffusion.latent_diffusion import (
    exhibits,
    judging,
    pipelines,
    witness,
)

SEEDS = (0, 1, 2)
SCALES = (1.0, 2.0, 5.0)
BEST = 2.0  # the scale of all reports that do not sweep it
STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
NO_RANKING = "No ranking: "
ONE_RATE = NO_RANKING + "one learning rate, which was chosen for pixels."


def spread_of(values):
    """Mean, least and most of some seeds."""
    return statistics.mean(values), min(values), max(values)


def reports(function, jobs):
    """{job without seed: what its seeds said}."""
    every = [(*job, seed) for job in jobs for seed in SEEDS]
    found = contests.runs(function, every)
    return {job: [found[*job, seed] for seed in SEEDS] for job in jobs}


@pytest.mark.trained
def bench_there_and_back(record):
    said = reports(judging.rebuilt, [()])[()]
    record(
        "rebuilt",
        kind="trained",
        seeds=SEEDS,
        spread={"error": 0.01, "right": 0.02, "nothing": 0.05, "factor": 0.1,
                "nats": 50.0, "seconds": None},
        example=NO_RANKING + "one autoencoder, trained three times.",
        title=f"{judging.COUNT} pictures of two things, there and back "
        "through 128 numbers",
        prediction=(
            "An error of .045 of the range, .95 right: the ceiling of all "
            "that is drawn in these latents. Random latents are no picture: "
            "a third at most shows two things."
        ),
        columns={"seed": "", "error": "", "right": "", "nothing": "",
                 "factor": "", "nats": "", "seconds": "s"},
        labels={"right": "right in everything",
                "nothing": "random latents read as two things",
                "factor": "scaling factor", "nats": "KL of a picture, nats",
                "seconds": "CPU time of training"},
        rows=[(seed, *one) for seed, one in zip(SEEDS, said, strict=True)],
    )  # fmt: skip


ATTRIBUTES = judging.SAID[1:]


@pytest.mark.trained
def bench_latents_beside_pixels(record):
    """At equal CPU seconds, the autoencoder's included."""
    rows = []
    for space, function in (
        ("latents", judging.latents),
        ("pixels", judging.pixels),
        ("pixels without convolutions", judging.squares),
    ):
        jobs = [("data", BEST, held) for held in (False, True)]
        said, held = reports(function, jobs).values()
        rows.append(
            (space, *spread_of([one[0] for one in said]),
             *(statistics.mean(one[i + 1] for one in said)
               for i in range(len(ATTRIBUTES))),
             *spread_of([one[0] for one in held]),
             statistics.mean(one[-1] for one in said))
        )  # fmt: skip
    record(
        "spaces",
        kind="trained",
        seeds=SEEDS,
        spread={"right": 0.06, "lowest": None, "highest": None,
                **dict.fromkeys(ATTRIBUTES, 0.06), "held_out": 0.12,
                "held_lowest": None, "held_highest": None, "seconds": None},
        example=ONE_RATE,
        title=f"Of {judging.COUNT} captions of two things, the share drawn "
        f"right at scale {BEST:g}, by where noise is taken away",
        prediction=(
            "Latents .93, pixels .10 less after as many seconds; of held-out "
            "pairs .6 against .3."
        ),
        columns={"space": "", "right": "", "lowest": "", "highest": "",
                 **dict.fromkeys(ATTRIBUTES, ""), "held_out": "",
                 "held_lowest": "", "held_highest": "", "seconds": "s"},
        labels={"right": "right in everything", "lowest": "worst seed",
                "highest": "best seed",
                "held_out": "held-out pairs: right in everything",
                "held_lowest": "held-out pairs: worst seed",
                "held_highest": "held-out pairs: best seed",
                "seconds": "CPU time of training"},
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_scales(record):
    rows = []
    for function in (judging.latents, judging.pixels):
        jobs = [("data", scale, False) for scale in SCALES]
        rows += [
            (function.__name__, scale, *spread_of([one[0] for one in said]))
            for (_, scale, _), said in reports(function, jobs).items()
        ]
    record(
        "scales",
        kind="trained",
        seeds=SEEDS,
        spread={"right": 0.08, "lowest": None, "highest": None},
        example=ONE_RATE,
        title="The same by the scale of guidance",
        prediction=(
            "Latents, which are not clipped, lose less at 5 than pixels, "
            "whose guess is."
        ),
        columns={"space": "", "scale": "", "right": "", "lowest": "",
                 "highest": ""},
        labels={"scale": "guidance scale", "right": "right in everything",
                "lowest": "worst seed", "highest": "best seed"},
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_image_to_image(record):
    found = reports(judging.changed, [(s, BEST) for s in STRENGTHS])
    rows = [
        (strength, *spread_of([one[0] for one in said]),
         statistics.mean(one[1] for one in said),
         *spread_of([one[2] for one in said]))
        for (strength, _), said in found.items()
    ]  # fmt: skip
    record(
        "changed",
        kind="trained",
        seeds=SEEDS,
        spread={"new": 0.08, "lowest": None, "highest": None, "old": 0.08,
                "shift": 0.12, "least": None, "most": None},
        example=NO_RANKING + "one network at several strengths.",
        title=f"{judging.COUNT} pictures in which one thing is to get "
        "another colour, by strength; at 0 they go through the autoencoder",
        prediction=(
            "At .4 the new caption is right in .80 and things have moved by "
            ".4 pixels at most; at 1 they lie anywhere."
        ),
        columns={"strength": "", "new": "", "lowest": "", "highest": "",
                 "old": "", "shift": "px", "least": "px", "most": "px"},
        labels={"new": "new caption right", "lowest": "worst seed",
                "highest": "best seed", "old": "old caption right",
                "shift": "moved by", "least": "moved least",
                "most": "moved most"},
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_pictures(record):
    rows = exhibits.rebuilt(4) + exhibits.changed(3, STRENGTHS[1:], BEST)
    record(
        "exhibits",
        kind="trained",
        seeds=SEEDS[:1],
        spread={"verdict": None, "picture": None},
        example=NO_RANKING + "pictures to look at.",
        title="The first pictures of a report, there and back, beside random "
        "latents, and changed: 768 levels from 0 to f, red, green and blue, "
        "row by row",
        prediction=(
            "There and back all are right; random latents show nothing; at "
            ".4 colours have changed and things lie where they lay."
        ),
        columns={"figure": "", "what": "", "caption": "", "verdict": "",
                 "picture": ""},
        rows=rows,
    )  # fmt: skip


def bench_parameters(record):
    """Stable Diffusion in full, on the meta device: numbers only."""
    with torch.device("meta"):
        parts = UNet(SD1_UNET), Autoencoder(SD1_AUTOENCODER)
    small = runs.untrained_autoencoder()
    rows = [
        (name, sum(p.numel() for p in model.parameters()))
        for name, model in zip(
            ("U-Net", "autoencoder", "our autoencoder"),
            (*parts, small), strict=True,
        )
    ]  # fmt: skip
    record(
        "parameters",
        kind="exact",
        title="Parameters of Stable Diffusion 1, and of our autoencoder",
        prediction="859,520,964 and 83,653,863, as published.",
        columns={"network": "", "parameters": ""},
        rows=rows,
    )


def saved(pipeline):
    """Ours, read from the folder that theirs was written to."""
    with tempfile.TemporaryDirectory() as folder:
        pipeline.save_pretrained(folder)
        return from_pretrained(folder)


def bench_equal_to_diffusers(record):
    """Largest differences, relative to the largest number."""
    theirs = pipelines.theirs()
    ours, wide = (
        saved(theirs).double(),
        pipelines.in_float64(copy.deepcopy(theirs)),
    )
    noise = witness.draw(2, 3, 8, 4)
    rows = []
    for steps in (1, 5, 50):
        expected = wide(
            pipelines.PROMPTS, latents=noise, num_inference_steps=steps,
            height=16, width=8, output_type="latent",
        ).images  # fmt: skip
        found = ours.latents(noise, pipelines.PROMPTS, steps=steps)
        rows.append((steps, witness.apart(found, expected)))
    record(
        "parity",
        kind="tolerance",
        tolerance=1e-10,
        spread={"apart": 1e-12},
        title="Latents after so many steps, ours beside diffusers', float64",
        prediction="Below 1e-10, however many steps.",
        columns={"steps": "", "apart": ""},
        labels={"apart": "largest difference, relative"},
        rows=rows,
    )
