"""What the DALL·E 2 chapter measures: does a prior help, what is carried."""

import pytest
import torch

from llmnotes.diffusion.dalle2 import runs, scaled
from llmnotes.diffusion.dalle2.task import Known
from llmnotes.diffusion.ddpm import Schedule, cosine
from llmnotes.diffusion.ddpm.task import generator
from tests.diffusion.dalle2 import exhibits, judging
from tests.diffusion.dalle2.reporting import (
    ATTRIBUTES,
    NO_RANKING,
    SEEDS,
    mean,
    reports,
    spread_of,
)

WAYS = {
    "the caption's embedding": "direct",
    "moved by the mean gap": "mean gap",
    "regression": "regression",
    "autoregressive prior": "autoregressive",
    "diffusion prior": "diffusion",
    "a real picture's, coded": "coded",
    "a real picture's embedding": "real",
}
ASKED = {
    "as it was trained": "diffusion",
    "guided at scale 2": "scale 2",
    "the nearer one of 2": "best of 2",
    "the mean of 8": "mean of 8",
    "in one step": "one step",
    "guesses clipped to 1": "clipped to 1",
    "learned from unit vectors": "unit vectors",
}


COSINE, TEXT, APART, TOOK, DECODER = range(6, 11)
LABELS = {
    "way": "the decoder is told",
    "right": "right in everything",
    "lowest": "worst seed",
    "highest": "best seed",
    "number": "number of things",
    "cosine": "cosine to a real picture's",
    "text_cosine": "cosine to the caption's",
    "apart": "two pictures of one caption lie apart",
}


@pytest.mark.trained
def bench_does_a_prior_help(record):
    jobs = {
        (words, held): (way, held, False)
        for words, way in WAYS.items()
        for held in (False, True)
    }
    found = reports(judging.drawn, list(jobs.values()))
    rows = []
    for words in WAYS:
        said, held = (found[jobs[words, h]] for h in (False, True))
        rows.append(
            (words, *spread_of([one[0] for one in said]),
             *(mean(said, i) for i in range(1, 6)),
             *spread_of([one[0] for one in held]),
             mean(said, COSINE), mean(said, TEXT), mean(said, APART),
             max(one[TOOK] for one in said),
             max(one[DECODER] for one in said))
        )  # fmt: skip
    record(
        "priors",
        kind="trained",
        seeds=SEEDS,
        spread={"right": 0.1, "lowest": None, "highest": None,
                **dict.fromkeys(ATTRIBUTES, 0.1), "held_out": 0.1,
                "held_lowest": None, "held_highest": None, "cosine": 0.03,
                "text_cosine": 0.05, "apart": 0.4, "seconds": None,
                "decoder_seconds": None},
        example=NO_RANKING + "each prior has one rate, which nobody tuned.",
        title=f"{judging.COUNT} captions, two pictures each: where the "
        "embedding came from, and what was drawn right",
        prediction=(
            "A prior beats the caption's embedding by .15 and reaches three "
            "quarters of what real embeddings give; the mean gap alone "
            "helps by less than .05. A regression is as often right as the "
            "diffusion prior, but draws a caption at the same place twice; "
            "its cosine is higher, since a perfect draw has only the square "
            "of it. "
            "Held-out pairs: .1 at most, also from real embeddings. Coded "
            "in 16 numbers, real embeddings lose a tenth of what was right."
        ),
        columns={"way": "", "right": "", "lowest": "", "highest": "",
                 **dict.fromkeys(ATTRIBUTES, ""), "held_out": "",
                 "held_lowest": "", "held_highest": "", "cosine": "",
                 "text_cosine": "", "apart": "px", "seconds": "s",
                 "decoder_seconds": "s"},
        labels={**LABELS, "held_out": "held-out pairs: right in everything",
                "held_lowest": "held-out pairs: worst seed",
                "held_highest": "held-out pairs: best seed",
                "seconds": "CPU seconds of the prior's training, at most",
                "decoder_seconds": "of the decoder's"},
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_clouds_that_stay_apart(record):
    jobs = {
        words: (way, False, True)
        for words, way in WAYS.items()
        if way not in ("autoregressive", "coded")
    }
    found = reports(judging.drawn, list(jobs.values()))
    rows = []
    for words, job in jobs.items():
        said = found[job]
        rows.append(
            (words, *spread_of([one[0] for one in said]),
             *(mean(said, i) for i in range(1, 6)), mean(said, COSINE),
             mean(said, TEXT), mean(said, APART))
        )  # fmt: skip
    record(
        "apart",
        kind="trained",
        seeds=SEEDS,
        spread={"right": 0.12, "lowest": None, "highest": None,
                **dict.fromkeys(ATTRIBUTES, 0.12), "cosine": 0.05,
                "text_cosine": 0.06, "apart": 0.4},
        example=NO_RANKING + "each prior has one rate, which nobody tuned.",
        title="The same with a CLIP whose scale was held at 100 from its "
        "first step on",
        prediction=(
            "The caption's embedding now draws .15 less rightly than a prior "
            "does, and the mean gap brings back half of that. Regression and "
            "diffusion prior draw as well as with the other CLIP."
        ),
        columns={"way": "", "right": "", "lowest": "", "highest": "",
                 **dict.fromkeys(ATTRIBUTES, ""), "cosine": "",
                 "text_cosine": "", "apart": "px"},
        labels=LABELS,
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_ways_to_ask_a_diffusion_prior(record):
    jobs = {w: (way, False, False) for w, way in ASKED.items()}
    found = reports(judging.drawn, list(jobs.values()))
    rows = []
    for words, job in jobs.items():
        said = found[job]
        rows.append(
            (words, *spread_of([one[0] for one in said]), mean(said, COSINE),
             mean(said, TEXT), mean(said, APART))
        )  # fmt: skip
    record(
        "asked",
        kind="trained",
        seeds=SEEDS,
        spread={"right": 0.1, "lowest": None, "highest": None,
                "cosine": 0.03, "text_cosine": 0.05, "apart": 0.4},
        example=NO_RANKING + "one prior asked in several ways; the last row "
        "alone was trained anew, with the same rate.",
        title="One diffusion prior, asked in several ways",
        prediction=(
            "Guidance helps by .05, the nearer one of two by nothing. The "
            "mean of 8 and one step say what a regression says: nearer to "
            "the true embedding, and twice at the same place. Clipped to 1 "
            "a third of all numbers is cut, and half of what was right is "
            "lost; from unit vectors as much."
        ),
        columns={"way": "", "right": "", "lowest": "", "highest": "",
                 "cosine": "", "text_cosine": "", "apart": "px"},
        labels={**LABELS, "way": "the diffusion prior"},
        rows=rows,
    )  # fmt: skip


CLIPS = "scale learned", "scale held at 100"
GUESSES = (
    "say the mean of all pictures",
    "say the mean of each caption's pictures",
    "say another picture of the scene",
    "say the caption's embedding",
    "say a picture of another scene",
)


@pytest.mark.trained
def bench_what_the_loss_of_a_prior_means(record):
    found = reports(judging.floors, [(False,), (True,)])
    rows = []
    for words, said in zip(CLIPS, found.values(), strict=True):
        for i, guess in enumerate(GUESSES):
            cosines = [
                (1 - one[i]) ** 0.5 if i < 2 else one[i] for one in said
            ]
            losses = [one[i] if i < 2 else 2 * (1 - one[i]) for one in said]
            rows.append(
                (words, guess, *spread_of(losses), *spread_of(cosines))
            )
    record(
        "floors",
        kind="trained",
        seeds=SEEDS,
        spread={"loss": 0.1, "lowest": None, "highest": None, "cosine": 0.06,
                "cosine_lowest": None, "cosine_highest": None},
        example=NO_RANKING + "nothing is trained but CLIP.",
        title="Squared error of what one could say of a picture's embedding",
        prediction=(
            "Two pictures of one scene have a cosine of .95 at most, so no "
            "prior needs more, and a loss of .05 is as far as one gets: "
            "the mean of a caption's pictures errs half as much as another "
            "picture of it."
        ),
        columns={"clip": "", "guess": "", "loss": "", "lowest": "",
                 "highest": "", "cosine": "", "cosine_lowest": "",
                 "cosine_highest": ""},
        labels={"clip": "CLIP", "loss": "squared error, scaled embeddings",
                "lowest": "lowest", "highest": "highest",
                "cosine": "cosine to the picture's",
                "cosine_lowest": "cosine, lowest",
                "cosine_highest": "cosine, highest"},
        rows=rows,
    )  # fmt: skip


SHOWN = {"direct": 1, "mean gap": 1, "regression": 1, "diffusion": 2,
         "real": 1}  # fmt: skip


@pytest.mark.trained
def bench_pictures(record):
    record(
        "drawn",
        kind="trained",
        seeds=SEEDS[:1],
        spread={"draw": None},
        example=NO_RANKING + "pictures to look at.",
        title="The first three captions of a report, drawn from six "
        "embeddings each, CLIP's scale held at 100: 768 levels from 0 to f, "
        "red, green and blue, row by row",
        prediction=(
            "The caption's own embedding is drawn wrongly, the others "
            "rightly."
        ),
        columns={"way": "", "draw": "", "caption": "", "verdict": "",
                 "picture": ""},
        rows=exhibits.ways(SHOWN.items(), 3),
    )  # fmt: skip


WIDTHS = (64, 512, 768, 1024)


def drowned(width):
    """The first t at which noise is as strong as numbers of some size."""
    schedule = Schedule(cosine())
    bar = schedule.alphas_bar
    return int(((1 - bar) >= bar / width).nonzero()[0])


def bench_where_noise_takes_over(record):
    record(
        "scale",
        kind="exact",
        title="The step of 1,000 of a cosine schedule at which noise is as "
        "strong as the embedding",
        prediction=(
            "About half of all steps for scaled embeddings, whatever their "
            "width; of a unit vector of 512 numbers it is hidden from the "
            "thirtieth step on."
        ),
        columns={"width": "", "scaled": "", "unit": ""},
        labels={
            "width": "numbers of an embedding",
            "scaled": "length √width",
            "unit": "length 1",
        },
        rows=[(width, drowned(1), drowned(width)) for width in WIDTHS],
    )


def bench_parameters(record):
    vectors = torch.randn(100, 64, generator=generator(0))
    learned = Known(scaled(vectors), scaled(vectors.flip(0)), [])
    rows = []
    for name in runs.PRIORS:
        found = runs.untrained(name, learned)
        rows.append((name, sum(p.numel() for p in found.parameters())))
    decoder = runs.untrained_decoder()
    rows.append(("decoder", sum(p.numel() for p in decoder.parameters())))
    record(
        "parameters",
        kind="exact",
        title="Numbers that are learned",
        prediction="None in two of the priors; the decoder has the most.",
        columns={"model": "", "parameters": ""},
        rows=rows,
    )
