"""What the CLIP chapter measures: floors, temperatures, what is learned."""

import math

import torch
from torch import nn

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
