"""What the CLIP chapter measures: floors, temperatures, what is learned."""

import math
import statistics

import pytest
import torch
from torch import nn

from llmnotes import scenes
from llmnotes.diffusion.clip import (
    CLIP,
    VIT_B_16,
    VIT_B_32,
    VIT_L_14,
    VIT_L_14_336,
    contrastive_loss,
    floor,
    multi_positive_loss,
)
from llmnotes.diffusion.clip.pairs import Exchanges
from llmnotes.diffusion.clip.task import meaning, swapped
from llmnotes.scenes.batches import generator_of
from tests import contests
from tests.diffusion.clip import models

SEEDS = 0, 1, 2
NO_RANKING = "No ranking: "
PUBLISHED = {
    "ViT-B/32": VIT_B_32,
    "ViT-B/16": VIT_B_16,
    "ViT-L/14": VIT_L_14,
    "ViT-L/14 at 336 px": VIT_L_14_336,
}


def parameters(module):
    """How many numbers a part has."""
    return sum(p.numel() for p in module.parameters())


def bench_parameters_of_published_models(record):
    rows = []
    for name, config in PUBLISHED.items():
        with torch.device("meta"):
            model = CLIP(config)
        rows.append(
            (name, config.vision_config.patches + 1,
             parameters(model.text_model), parameters(model.vision_model),
             parameters(model))
        )  # fmt: skip
    record(
        "parameters",
        kind="exact",
        title="Parameters of the published CLIPs whose images pass a ViT",
        prediction="Those of OpenAI's files: 151,277,313 for ViT-B/32.",
        columns={"model": "", "tokens": "", "text": "", "image": "",
                 "all": ""},
        labels={"tokens": "tokens of an image", "text": "text tower",
                "image": "image tower", "all": "with projections"},
        rows=rows,
    )  # fmt: skip


def bench_a_temperature_bounds_the_loss(record):
    size, rows = 64, []
    for temperature in (2.65, 1.0, 0.07, 0.01):
        pairs = torch.eye(size, dtype=torch.float64) / temperature
        apart = math.exp(-1 / temperature)
        rows.append(
            (temperature, 1 / temperature, contrastive_loss(pairs).item(),
             math.log1p((2 * size - 2) * apart))
        )  # fmt: skip
    record(
        "temperature",
        kind="tolerance",
        tolerance=1e-9,
        title="The loss of 64 pairs that are perfectly aligned, and "
        "orthogonal to all others",
        prediction=(
            "At 2.65, which is ln(1/0.07) taken for a temperature, hardly "
            "less than chance (ln 64 = 4.159; ln 127 = 4.844 among "
            "SimCLR's 127 candidates). At 0.07 nearly nothing."
        ),
        columns={"temperature": "", "scale": "", "loss": "nat",
                 "among_127": "nat"},
        labels={"temperature": "τ", "scale": "e^t = 1/τ",
                "among_127": "SimCLR's, among 127"},
        rows=rows,
    )  # fmt: skip


def drawn(captions, size=64, seed=0):
    """Which of some captions each image of a batch has."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(captions, (size,), generator=draw)


def bench_captions_that_come_twice_raise_the_floor(record):
    rows = []
    for captions in (10, 100, 648, 10_000):
        seeds = [drawn(captions, seed=seed) for seed in range(200)]
        floors = [floor(ids[:, None] == ids).item() for ids in seeds]
        rows.append((captions, sum(floors) / len(floors), max(floors)))
    record(
        "duplicates",
        kind="tolerance",
        tolerance=1e-9,
        title="The least loss that can be reached in a batch of 64 whose "
        "captions are drawn from a few, over 200 batches",
        prediction="About ln 6.4 = 1.86 for ten captions; none for many.",
        columns={"captions": "", "floor": "nat", "highest": "nat"},
        labels={"captions": "different meanings", "floor": "mean floor",
                "highest": "highest floor"},
        rows=rows,
    )  # fmt: skip


def told_apart(table, loss, images, ids):
    """A loss, and the gradients of image vectors and of the text table."""
    seen = images.clone().requires_grad_()
    texts = nn.Parameter(table.clone())
    value = loss(10 * seen @ texts[ids].T)
    value.backward()
    return value.item(), seen.grad


def bench_paraphrases_do_what_identical_captions_do_not(record):
    """Vectors of images and texts are noise; only the loss is looked at."""
    draw = torch.Generator().manual_seed(1)
    meaning = drawn(10)
    same = meaning[:, None] == meaning
    vectors = [
        nn.functional.normalize(
            torch.randn(64, 16, generator=draw, dtype=torch.float64), dim=1
        )
        for _ in range(2)
    ]
    images, table = vectors
    rows = []
    for name, ids in (
        ("identical", meaning),
        ("paraphrases", torch.arange(64)),
    ):
        one, gradient = told_apart(table, contrastive_loss, images, ids)
        all_, honest = told_apart(
            table, lambda x: multi_positive_loss(x, same), images, ids
        )
        apart = (gradient - honest).abs().max() / honest.abs().max()
        rows.append((name, one, all_, one - all_, round(apart.item(), 12)))
    record(
        "paraphrases",
        kind="tolerance",
        tolerance=1e-6,
        title="Ten meanings in a batch of 64: the loss in which only the "
        "own caption is right, and the one in which all alike are",
        prediction=(
            "Identical captions get identical vectors, so both losses and "
            "all their gradients are equal. Paraphrases have vectors of "
            "their own: there the losses differ, and the one-hot loss "
            "pushes an image away from what describes it."
        ),
        columns={"captions": "", "one": "nat", "all": "nat", "apart": "nat",
                 "gradient": ""},
        labels={"one": "only the own is right", "all": "all alike are right",
                "apart": "difference",
                "gradient": "largest difference of gradients, relative"},
        rows=rows,
    )  # fmt: skip


def blind_floor(found):
    """The floor, and that of a reader for whom order is nothing."""
    meant = meaning(found)
    other = meaning([*map(swapped, found)])
    bags = torch.minimum(meant, other)
    return [floor(ids[:, None] == ids).item() for ids in (meant, bags)]


def with_twins(step, size):
    """Half as many random scenes, each with its things exchanged."""
    half = scenes.batch(0, step, size // 2).scenes
    return [*half, *map(swapped, half)]


def families(step):
    """The scenes of a batch of exchanges."""
    return Exchanges(64).told(step, generator_of(0, step))


def bench_what_order_is_worth(record):
    rows = []
    for name, size, drawn in (
        ("random", 64, lambda i: scenes.batch(0, i, 64).scenes),
        ("random", 128, lambda i: scenes.batch(0, i, 128).scenes),
        ("random", 512, lambda i: scenes.batch(0, i, 512).scenes),
        ("with twins", 64, lambda i: with_twins(i, 64)),
        ("families", 64, families),
    ):
        found = [blind_floor(drawn(i)) for i in range(50)]
        seen, blind = map(statistics.mean, zip(*found, strict=True))
        rows.append((f"{name} · {size}", seen, blind, blind - seen))
    record(
        "order",
        kind="tolerance",
        tolerance=1e-9,
        title="The least loss of those who see the meaning, and of those "
        "who see all of it but the order, over 50 batches",
        prediction=(
            "A random batch of 64 hardly ever holds the same words in "
            "another order, so that being blind costs less than .1 nat; "
            "beside its twin every picture costs ln 2 = .69."
        ),
        columns={"batch": "", "floor": "nat", "blind": "nat",
                 "worth": "nat"},
        labels={"floor": "floor", "blind": "floor without order",
                "worth": "what order is worth"},
        rows=rows,
    )  # fmt: skip


def bench_the_bias_of_the_sigmoid_loss(record):
    """With a constant logit the loss is least where p = 1 / N."""
    rows = []
    for size in (64, 1024, 22_027, 32_768):
        best = -math.log(size - 1)

        def costs(z, size=size):
            right, wrong = math.log1p(math.exp(-z)), math.log1p(math.exp(z))
            return right + (size - 1) * wrong

        rows.append((size, best, costs(0.0), costs(-10.0), costs(best)))
    record(
        "bias",
        kind="tolerance",
        tolerance=1e-9,
        title="The sigmoid loss of those who know nothing, by what they say "
        "to every pair",
        prediction="N ln 2 at 0; -10 is best for N = 22,027.",
        columns={"size": "", "best": "", "nothing": "nat", "ten": "nat",
                 "least": "nat"},
        labels={"size": "batch", "best": "best constant logit",
                "nothing": "loss at 0", "ten": "loss at -10",
                "least": "least loss"},
        rows=rows,
    )  # fmt: skip


def spread_of(values):
    """Mean, least and most of some seeds."""
    return statistics.mean(values), min(values), max(values)


MEASURED = {
    "top1": "test top1", "swap": "test swap", "sizes": "test sizes",
    "colours": "test colours", "shapes": "test shapes",
    "relation": "test relation", "held": "held_out top1",
    "held_swap": "held_out swap", "held_sizes": "held_out sizes",
    "held_colours": "held_out colours", "held_shapes": "held_out shapes",
    "held_relation": "held_out relation", "alone": "test alone",
    "held_alone": "held_out alone", "loss": "loss", "scale": "scale",
    "seconds": "seconds",
}  # fmt: skip
RANGES = "top1", "swap", "held"
COLUMNS = {
    "model": "",
    **{
        column: {"loss": "nat", "seconds": "s"}.get(name, "")
        for name in MEASURED
        for column in (
            (name, f"{name}_lowest", f"{name}_highest")
            if name in RANGES
            else (name,)
        )
    },
}
LABELS = {
    "top1": "found among 2,304", "top1_lowest": "worst seed",
    "top1_highest": "best seed", "swap": "order", "swap_lowest":
    "order, worst seed", "swap_highest": "order, best seed",
    "held": "held-out pairs", "held_lowest": "held out, worst seed",
    "held_highest": "held out, best seed", "held_swap": "order, held out",
    "held_sizes": "sizes, held out", "held_colours": "colours, held out",
    "held_shapes": "shapes, held out", "held_relation":
    "relation, held out", "alone": "one thing alone", "held_alone":
    "one thing alone, held out", "scale": "e^t at the end",
    "seconds": "CPU time of training",
}  # fmt: skip
RECIPES = {  # name -> recipe and kind of model
    "exchanges": ("exchanges", "shapes"),
    "random pairs": ("pairs", "shapes"),
    "random pairs · large words": ("pairs", "drowned"),
}


def row(name, said):
    """One model's three seeds as a row of `COLUMNS`."""
    cells = [name]
    for column, key in MEASURED.items():
        values = [one[key] for one in said]
        cells += (
            spread_of(values)
            if column in RANGES
            else [statistics.mean(values)]
        )
    return tuple(cells)


def learned():
    """What the three seeds of each recipe said."""
    jobs = {
        name: [(*recipe, models.STEPS, seed) for seed in SEEDS]
        for name, recipe in RECIPES.items()
    }
    found = contests.runs(models.judged, sum(jobs.values(), []), 1)
    return [
        row(name, [found[job] for job in each]) for name, each in jobs.items()
    ]


def free():
    """No column has to come out again within a spread, but two."""
    columns = dict.fromkeys(COLUMNS, None) | {"top1": 0.1, "held": 0.1}
    return {name: v for name, v in columns.items() if name != "model"}


@pytest.mark.trained
def bench_what_is_learned(record):
    record(
        "learned",
        kind="trained",
        seeds=SEEDS,
        spread=free(),
        example=NO_RANKING + "all at the rate that suits one of them.",
        title="512 pictures each: is the best of 2,304 captions right?",
        prediction=(
            "Random pairs hardly ask for order, and are slower to learn it "
            "than scenes beside their exchanges. Where words begin fifty "
            "times as large as places, order is not learned at all. Held-out "
            "pairs above .40 with exchanges."
        ),
        columns=COLUMNS,
        labels=LABELS,
        rows=learned(),
    )


@pytest.mark.trained
def bench_eight_pictures_and_eight_captions(record):
    captions, cosines = models.eight(SEEDS[0])
    record(
        "matrix",
        kind="trained",
        seeds=SEEDS[:1],
        spread={"cosine": None, "caption": None},
        example=NO_RANKING + "something to look at.",
        title="Cosines of eight pictures and eight captions",
        prediction="The largest of each row stands on the diagonal.",
        columns={"image": "", "column": "", "caption": "", "cosine": ""},
        rows=[
            (i, j, captions[j], cosines[i, j].item())
            for i in range(len(captions))
            for j in range(len(captions))
        ],
    )
    _, found = models.nearest(SEEDS[0])
    record(
        "nearest",
        kind="trained",
        seeds=SEEDS[:1],
        spread={"logit": None, "chance": None},
        example=NO_RANKING + "something to look at.",
        title="The five captions that come nearest to one picture, of 1,152",
        prediction="The right one first; then those with one wrong word.",
        columns={"caption": "", "logit": "nat", "chance": ""},
        labels={"logit": "e^t · cosine", "chance": "softmax"},
        rows=found,
    )
