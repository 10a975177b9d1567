"""How well the checker reads: drawn pictures, other captions, noise."""

import numpy as np
import torch

from llmnotes.data import images
from llmnotes.scenes.batches import batch
from llmnotes.scenes.checking import read_all, share_right, verdicts
from llmnotes.scenes.drawing import HALF
from llmnotes.scenes.looking import look
from llmnotes.scenes.scene import canonical, same, scenes
from tests.scenes.pictures import circle, noisy, picture

SEED = 2024
COUNT = 2000
PAIRS = 4000  # of pictures and captions that have nothing in common
SIGMAS = (0.0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3)
NOISY = 1000
SHARES = ("number", "sizes", "colours", "shapes", "relation", "all")


def bench_one_digit_of_each_class(record):
    pixels, labels = images("digits")
    rows = []
    for digit in range(10):
        first = np.flatnonzero(labels == digit)[0]
        greys = np.rint(pixels[first] * 16).astype(int).tolist()
        rows += [(digit, i, *greys[i]) for i in range(8)]
    record(
        "digits_drawn",
        kind="exact",
        seed=None,
        title="The first digit of each class, row by row",
        prediction="Grey values from 0 to 16; one can read the digits.",
        columns={name: "" for name in ("digit", "row", *"abcdefgh")},
        rows=rows,
    )


def bench_digits_of_each_class(record):
    pixels, labels = images("digits")
    counts = np.bincount(labels).tolist()
    record(
        "digits",
        kind="exact",
        seed=None,
        title="How many digits of each class there are",
        prediction="About 180 of each of the ten classes.",
        columns={"digit": "", "count": ""},
        rows=[*enumerate(counts), ("all", sum(counts))],
    )


def counted(name, images, told):
    """How many pictures show what is told, attribute by attribute."""
    shares = share_right(images, told)
    return (name, len(told), *(round(shares[s] * len(told)) for s in SHARES))


def bench_what_was_drawn_is_read(record):
    rows = []
    for name, objects, split in (
        ("one thing", 1, "train"),
        ("one thing of a held-out pair", 1, "held_out"),
        ("two things", 2, "train"),
        ("two things with a held-out pair", 2, "held_out"),
    ):
        among = scenes(objects, split == "held_out")
        drawn = batch(SEED, objects, COUNT, among, split=split)
        rows.append(counted(name, drawn.images, drawn.captions))
    drawn = batch(SEED, 0, COUNT, scenes(2, None))
    rows.append(counted("things told swapped", *swapped(drawn)))
    rows.append(counted("caption of another picture", *shuffled(drawn)))
    record(
        "reading",
        kind="exact",
        seed=SEED,
        title="Drawn pictures that the checker reads as their caption says",
        prediction="All of the drawn ones, as in a first try. Swapped, only "
        "the relation is wrong; of captions of other pictures none is right "
        "in all.",
        columns={"shown": "", "pictures": ""} | {s: "" for s in SHARES},
        rows=rows,
    )


def swapped(drawn):
    """Captions that exchange both things, where that changes the meaning."""
    told = [(s.things[::-1], s.relation) for s in drawn.scenes]
    told = [type(drawn.scenes[0])(*words) for words in told]
    return different(drawn, told)


def shuffled(drawn):
    """Captions of the next picture, where they mean something else."""
    return different(drawn, drawn.scenes[1:] + drawn.scenes[:1])


def different(drawn, told):
    """Keep the pairs of picture and scene that do not belong together."""
    keep = [
        not same(one, other)
        for one, other in zip(told, drawn.scenes, strict=True)
    ]
    kept = [scene for scene, k in zip(told, keep, strict=True) if k]
    return drawn.images[torch.tensor(keep)], kept


def bench_noise(record):
    rows = []
    for objects, name in ((1, "one"), (2, "two")):
        drawn = batch(SEED + 1, objects, NOISY, scenes(objects, None))
        wanted = [canonical(scene) for scene in drawn.scenes]
        for sigma in SIGMAS:
            read = read_all(noisy(drawn.images, sigma, seed=SEED))
            pairs = list(zip(read, wanted, strict=True))
            right = sum(one == scene for one, scene in pairs)
            silent = sum(one is None for one, _ in pairs)
            wrong = NOISY - right - silent
            for said, count in (
                ("right", right),
                ("not clear", silent),
                ("something else", wrong),
            ):
                rows.append((name, sigma, said, count / NOISY))
    record(
        "noise",
        kind="tolerance",
        tolerance=0.02,
        seed=SEED + 1,
        title="What the checker reads in pictures under Gaussian noise",
        prediction="All right up to σ = 0.1, nothing right beyond 0.25. In "
        "between it should be silent, and wrong in less than 1 % at any σ.",
        columns={"things": "", "sigma": "", "said": "", "share": ""},
        labels={"sigma": "standard deviation of the noise, σ"},
        rows=rows,
    )


def bench_how_far_off_a_picture_may_be(record):
    halves = torch.arange(1.0, 5.0, 0.01)
    rows = []
    seen = look(torch.stack([picture((circle(h), "red")) for h in halves]))
    for i, size in enumerate(HALF):
        told = halves[(seen.size[:, 0] == i) & (seen.shape[:, 0] == 0)]
        rows.append(
            (f"half width of a {size} circle", HALF[size], *ends(told))
        )
        told = halves[(seen.size[:, 0] == i) & (seen.shape[:, 0] == 1)]
        rows.append(
            (f"circle read as a {size} square", HALF[size], *ends(told))
        )
    faint = torch.arange(0.3, 1.5, 0.005)
    drawn = [picture((f * circle(3.2), "red")) for f in faint]
    seen = look(torch.stack(drawn))
    rows.append(("strength of a thing", 1.0, *ends(faint[seen.number == 1])))
    told = faint[(seen.size[:, 0] == 1) & (seen.shape[:, 0] == 0)]
    rows.append(("strength of a circle", 1.0, *ends(told)))
    record(
        "limits",
        kind="tolerance",
        tolerance=0.02,
        seed=None,
        title="How far off a circle may be and still be read",
        prediction="Half a pixel of its half width; half its strength to be "
        "seen at all and two thirds to be known.",
        columns={"what": "", "drawn": "", "least": "", "most": ""},
        rows=rows,
    )


def ends(values):
    """The smallest and the largest, rounded as they were tried."""
    return round(values.min().item(), 3), round(values.max().item(), 3)


def bench_words_that_are_right_by_chance(record):
    drawn = batch(SEED + 2, 0, PAIRS, scenes(2))
    told = batch(SEED + 3, 0, PAIRS, scenes(2)).scenes
    said = verdicts(drawn.images, told)
    share = {
        name: sum(getattr(one, name) for one in said) / PAIRS
        for name in SHARES
    }
    record(
        "chance",
        kind="tolerance",
        tolerance=0.02,
        seed=SEED + 2,
        title="What is right if picture and caption have nothing in common",
        prediction="All of it in one of 648, since 1,296 captions have 648 "
        "meanings. Each word by itself more often than a guess would, "
        "because both ways to match the things are tried.",
        columns={"attribute": "", "right": ""},
        rows=list(share.items()),
    )
