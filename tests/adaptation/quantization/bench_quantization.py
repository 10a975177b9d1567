"""What a bit costs, in every format and by every method of the chapter."""

import re
import statistics

import pytest

from tests import contests
from tests.adaptation.quantization.bit_runs import (
    ALL,
    BUT,
    CALIBRATED,
    EIGHT,
    FINE,
    LARGE,
    MIXED,
    NORMS,
    OTHERS,
    PLAIN,
    ROUGH,
    ROUNDED,
    calibrated_on,
    cost,
    in_eight,
)

SEEDS = (0, 1, 2)  # of the calibration text
FULL = "float32"
NONE = "no SmoothQuant"
OF_BOTH = "int4 and zero, 64, GPTQ", "int3"


SHOWN = {
    ROUGH: "one scale for all",
    FINE: "one for each token and row",
    MIXED: "LLM.int8()",
}


def shown(form):
    """A format's name without commas, which separate conditions on pages."""
    return re.sub(r"int(\d) and zero", r"uint\1", form).replace(", ", " · ")


def family(form):
    """What draws a line of its own in the chart."""
    if form in CALIBRATED:
        return form.split(", ")[-1]
    if form.startswith("int"):
        return "whole numbers"
    if form.startswith("NF4"):
        return "NF4"
    return "K blocks" if form.endswith("_K") else "blocks"


def costs(name, forms):
    """{format: [bits, mean, lowest, highest, …] of what the judge says}."""
    jobs = {
        form: [
            (name, form, seed)
            for seed in (SEEDS if form in CALIBRATED else SEEDS[:1])
        ]
        for form in (FULL, *forms)
    }
    found = contests.runs(cost, sum(jobs.values(), []))
    return {
        form: list(zip(*(found[job] for job in some), strict=True))
        for form, some in jobs.items()
    }


@pytest.mark.trained
def bench_gpt_in_every_format(record):
    said = costs("GPT", [*ROUNDED, *CALIBRATED])
    plain = said[FULL][1][0]
    rows = [
        (
            shown(form), family(form), bits[0],
            (mean := statistics.mean(loss)), min(loss), max(loss),
            mean - plain, statistics.mean(apart),
        )
        for form, (bits, loss, apart) in said.items()
        if form != FULL
    ]  # fmt: skip
    record(
        "gpt",
        kind="trained",
        seeds=SEEDS,
        spread={
            "bits": 1e-6, "loss": 0.03, "lowest": None, "highest": None,
            "cost": 0.03, "kl": None,
        },
        example="one model in many formats; what is calibrated is calibrated "
        "on three draws of text, and nothing has a rate to tune",
        title="The GPT that has read Python's reference "
        f"({plain:.4f} nat in float32), all its matrices in fewer bits",
        prediction=(
            "A bit less doubles the step and quadruples the squared error, "
            "so each bit should cost four times as much: nothing that can be "
            "seen at 8 bits, about 0.01 nat at 4 in groups of 64, more than "
            "0.04 at 3. NF4 beats whole numbers of equal size, the K formats "
            "beat the plain ones of 4 bits. GPTQ takes away four fifths of "
            "what 3 bits cost, AWQ half, for these inputs are even."
        ),
        columns={
            "format": "", "family": "", "bits": "", "loss": "nat",
            "lowest": "nat", "highest": "nat", "cost": "nat", "kl": "nat",
        },
        labels={
            "bits": "bits per weight",
            "loss": "validation loss",
            "lowest": "best seed",
            "highest": "worst seed",
            "cost": "more than float32",
            "kl": "KL from float32",
        },
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_minilm_in_every_format(record):
    some = [form for form in CALIBRATED if form.startswith(OF_BOTH)]
    said = costs("MiniLM", [*ROUNDED, *some])
    rows = [
        (
            shown(form), family(form), bits[0],
            (mean := statistics.mean(cosine)), min(cosine), max(cosine),
            1 - mean,
        )
        for form, (bits, cosine) in said.items()
        if form != FULL
    ]  # fmt: skip
    record(
        "minilm",
        kind="trained",
        seeds=SEEDS,
        spread={
            "bits": 1e-6, "cosine": 0.03, "lowest": None, "highest": None,
            "lost": 0.03,
        },
        example="one model in many formats; what is calibrated is calibrated "
        "on three draws of text, and nothing has a rate to tune",
        title="MiniLM's real weights in fewer bits: cosine of sentences' "
        "vectors with those in float32",
        prediction=(
            "As the GPT, with one exception: a matrix of MiniLM has one "
            "weight of 175 times the spread, so one scale for a whole matrix "
            "ruins 4 bits, and groups help more."
        ),
        columns={
            "format": "", "family": "", "bits": "", "cosine": "",
            "lowest": "", "highest": "", "lost": "",
        },
        labels={
            "bits": "bits per weight",
            "lowest": "worst seed",
            "highest": "best seed",
            "lost": "1 − cosine",
        },
        rows=rows,
    )  # fmt: skip


WINDOWS = (16, 64, 256)


@pytest.mark.trained
def bench_calibrated_on_what(record):
    own, *others = OTHERS
    pairs = [(own, n) for n in WINDOWS] + [(name, 256) for name in others]
    jobs = {pair: [(*pair, seed) for seed in SEEDS] for pair in pairs}
    found = contests.runs(calibrated_on, sum(jobs.values(), []))
    rows = []
    for pair, some in jobs.items():
        losses = [found[job][0] for job in some]
        mean = statistics.mean(losses)
        rows.append((*pair, mean, min(losses), max(losses)))
    record(
        "calibration",
        kind="trained",
        seeds=SEEDS,
        spread={"loss": 0.03, "lowest": None, "highest": None},
        example="one method and what it is shown; nothing is tuned",
        title="GPTQ to 3 bits with zeros in groups of 64, calibrated on "
        "windows of 64 letters",
        prediction=(
            "More text helps until there are some tens of letters for each "
            "input. Another English text is a little worse, random letters "
            "are much worse and still better than rounding. The text that it "
            "is judged on is hardly better than another part of it, for "
            "GPTQ sees sums over tokens and no answers."
        ),
        columns={
            "text": "", "windows": "", "loss": "nat", "lowest": "nat",
            "highest": "nat",
        },
        labels={
            "text": "calibrated on",
            "loss": "validation loss",
            "lowest": "best seed",
            "highest": "worst seed",
        },
        rows=rows,
    )  # fmt: skip


def in_eights(name, cells):
    """Runs of products in int8: {cell: the judge's first numbers}."""
    jobs = {
        cell: [
            (name, *cell, seed)
            for seed in (SEEDS if cell[0] == LARGE or cell[2] else SEEDS[:1])
        ]
        for cell in cells
    }
    found = contests.runs(in_eight, sum(jobs.values(), []))
    return {
        cell: [found[job][0] for job in some] for cell, some in jobs.items()
    }


@pytest.mark.trained
def bench_outliers_that_a_scale_can_undo(record):
    cells = [
        (weights, scales, smooth)
        for weights in (PLAIN, LARGE)
        for scales, smooth in (*((s, "") for s in EIGHT), (FINE, NORMS))
    ]
    said = in_eights("GPT", cells)
    rows = [
        (
            weights, "SmoothQuant" if smooth else SHOWN[scales],
            statistics.mean(loss), min(loss), max(loss),
        )
        for (weights, scales, smooth), loss in said.items()
    ]  # fmt: skip
    record(
        "outliers",
        kind="trained",
        seeds=SEEDS,
        spread={"loss": 0.3, "lowest": None, "highest": None},
        example="one model before and after a change that leaves its "
        "answers alone; nothing is tuned",
        title="Weights and activations of the GPT in int8, as trained and "
        "with two channels of every norm made 100 times as large, their "
        "weights so much smaller",
        prediction=(
            "As trained nothing is lost. With outliers one scale for all "
            "costs more than a nat, a scale for each token hardly less, "
            "since the outlier is in every token. LLM.int8() and SmoothQuant "
            "bring all of it back, SmoothQuant because it undoes exactly "
            "what was done."
        ),
        columns={
            "weights": "", "way": "", "loss": "nat", "lowest": "nat",
            "highest": "nat",
        },
        labels={
            "way": "scales",
            "loss": "validation loss",
            "lowest": "best seed",
            "highest": "worst seed",
        },
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_an_outlier_among_the_weights(record):
    cells = [
        *((PLAIN, ROUGH, smooth) for smooth in ("", ALL, BUT, NORMS)),
        *((PLAIN, FINE, smooth) for smooth in ("", ALL)),
        (PLAIN, MIXED, ""),
    ]
    said = in_eights("MiniLM", cells)
    rows = [
        (
            SHOWN[scales], smooth or NONE, statistics.mean(cosine),
            min(cosine), max(cosine),
        )
        for (_, scales, smooth), cosine in said.items()
    ]  # fmt: skip
    record(
        "weights",
        kind="trained",
        seeds=SEEDS,
        spread={"cosine": 0.03, "lowest": None, "highest": None},
        example="one model and where its difficulty is moved; nothing is "
        "tuned",
        title="MiniLM's weights and activations in int8: cosine of "
        "sentences' vectors with those in float32",
        prediction=(
            "With one scale for all SmoothQuant makes it worse, because it "
            "moves difficulty into weights of which one has 175 times the "
            "spread; without that matrix it helps. A scale for each row "
            "leaves the large weight in a row of its own, and SmoothQuant "
            "helps."
        ),
        columns={
            "scales": "", "smooth": "", "cosine": "", "lowest": "",
            "highest": "",
        },
        labels={
            "smooth": "inputs divided",
            "lowest": "worst seed",
            "highest": "best seed",
        },
        rows=rows,
    )  # fmt: skip
