"""What is in a picture's embedding, and what in the noise beside it."""

import pytest

from tests.diffusion.dalle2 import judging
from tests.diffusion.dalle2.reporting import (
    ATTRIBUTES,
    NO_RANKING,
    SEEDS,
    mean,
    reports,
    spread_of,
)

VARIATIONS = {
    "the same halves": ("halves", 0.0, 1.0),
    "the same halves · guided": ("halves", 0.0, 2.0),
    "half of the noise drawn anew": ("halves", 0.5, 1.0),
    "all noise drawn on the way": ("halves", 1.0, 1.0),
    "other noise to begin with": ("other noise", 0.0, 2.0),
    "another picture of the scene": ("another picture", 0.0, 0.0),
}


@pytest.mark.trained
def bench_variations(record):
    found = reports(judging.variations, list(VARIATIONS.values()))
    rows = []
    for words, job in VARIATIONS.items():
        said = found[job]
        rows.append(
            (words, *spread_of([one[0] for one in said]),
             *(mean(said, i) for i in (3, 4, 5)), mean(said, 6),
             *spread_of([one[7] for one in said]))
        )  # fmt: skip
    record(
        "variations",
        kind="trained",
        seeds=SEEDS,
        spread={"right": 0.12, "lowest": None, "highest": None,
                "colours": 0.12, "shapes": 0.12, "relation": 0.12,
                "error": 0.05, "moved": 0.3, "moved_lowest": None,
                "moved_highest": None},
        example=NO_RANKING + "one decoder, asked in several ways.",
        title=f"{judging.FEW} pictures and their variations",
        prediction=(
            "Both halves give the picture back (error .03); guidance spoils "
            "that. The more is drawn the more changes, and yet things move "
            "by a third of a pixel where another picture of the scene has "
            "them 3 pixels away: CLIP's embedding tells where they are."
        ),
        columns={"way": "", "right": "", "lowest": "", "highest": "",
                 "colours": "", "shapes": "", "relation": "", "error": "",
                 "moved": "px", "moved_lowest": "px", "moved_highest": "px"},
        labels={"way": "variation", "right": "scene kept in everything",
                "lowest": "worst seed", "highest": "best seed",
                "error": "root mean square error, of 1",
                "moved": "things moved", "moved_lowest": "least",
                "moved_highest": "most"},
        rows=rows,
    )  # fmt: skip


KEPT = (1, 2, 4, 8, 16, 32, 64)


@pytest.mark.trained
def bench_what_the_first_axes_carry(record):
    found = reports(judging.components, [(kept,) for kept in KEPT])
    rows = []
    for (kept,), said in found.items():
        rows.append(
            (kept, *spread_of([one[0] for one in said]),
             *(mean(said, i) for i in range(1, 7)))
        )  # fmt: skip
    record(
        "components",
        kind="trained",
        seeds=SEEDS,
        spread={"right": 0.15, "lowest": None, "highest": None,
                **dict.fromkeys(ATTRIBUTES, 0.2), "variance": 0.05},
        example=NO_RANKING + "one decoder.",
        title="Real embeddings of which only the first principal axes are "
        "told",
        prediction=(
            "Relation and colours come first, sizes next, shapes last, and "
            "32 of 64 axes give all that there is."
        ),
        columns={"axes": "", "right": "", "lowest": "", "highest": "",
                 **dict.fromkeys(ATTRIBUTES, ""), "variance": ""},
        labels={"axes": "principal axes", "right": "right in everything",
                "lowest": "worst seed", "highest": "best seed",
                "number": "number of things",
                "variance": "share of the variance"},
        rows=rows,
    )  # fmt: skip
