"""What the chapter counts (terms, reach, FLOPs) and what it trains."""

import statistics
from itertools import product

import pytest
import torch

from llmnotes.models.transformer_xl import (
    TransformerXLConfig,
    earliest,
    four_terms,
    segment_flops,
    sliding_flops,
)
from tests import contests
from tests.models.transformer_xl.hearing import ROUNDING, moved
from tests.models.transformer_xl.memory_runs import (
    CONTESTANTS,
    READ_WITH,
    SEGMENT,
    STEPS,
    TUNED_AT,
    chosen,
    reported,
)
from tests.models.transformer_xl.tiny import tiny, tokens

SEEDS = (0, 1, 2)
RATES = (2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)
NAMES = (
    "a: content and content",
    "b: content and place",
    "c: any content",
    "d: any place",
)


def bench_the_four_terms(record):
    torch.manual_seed(0)
    length, width = 8, 4
    query, key, places = torch.randn(3, 1, 1, length, width).double()
    u, v = torch.randn(2, 1, width).double()
    terms = four_terms(query, key, places[0], u, v)[:, 0, 0]
    shade = (terms / terms.std((1, 2), keepdim=True)).sigmoid()
    record(
        "terms",
        kind="tolerance",
        tolerance=1e-9,
        seed=0,
        title="The four terms of one head, from random numbers",
        prediction=(
            "(a) and (b) differ everywhere. (c) asks every key the same, so "
            "its columns are constant; (d) asks every place the same, so its "
            "diagonals are."
        ),
        columns={"term": "", "query": "", "key": "", "shade": ""},
        labels={"shade": "score, squeezed into 0 to 1"},
        rows=[
            (name, i, j, shade[n, i, j].item() if j <= i else 0.0)
            for (n, name), i, j in product(
                enumerate(NAMES), range(length), range(length)
            )
        ],
    )


def bench_who_hears_of_a_change(record):
    rows, length, segment = [], 16, 4
    for mem_len in (0, 4):
        model = tiny(TransformerXLConfig(11, 12, 3, 20, n_layer=2))
        heard = moved(model, tokens(1, length), segment, mem_len) > ROUNDING
        name = f"memory of {mem_len}" if mem_len else "no memory"
        rows += [
            (name, token, at, int(heard[token, at]))
            for token, at in product(range(length), range(length))
        ]
    record(
        "heard",
        kind="exact",
        seed=0,
        title="Two layers, segments of 4: whose logits move when a token "
        "is changed",
        prediction=(
            "Without memory nobody outside the segment. With a memory of 4 "
            "two segments further hear of it, all of their tokens, and the "
            "third hears nothing: two layers, two steps of four."
        ),
        columns={"memory": "", "token": "", "position": "", "heard": ""},
        labels={
            "token": "token that is changed",
            "position": "position whose logits move",
        },
        rows=rows,
    )


def bench_how_far_back_is_heard(record):
    start, segment = 4096, 32
    record(
        "reach",
        kind="exact",
        seed=None,
        title="How far back the first token of a segment of 32 is told of",
        prediction=(
            "Layers times memory where the memory holds whole segments. Of "
            "a shorter memory we expect less in proportion; but its states "
            "have seen their own segments whole, so even a memory of one "
            "state reaches a segment for every further layer."
        ),
        columns={"layers": "", "mem_len": "tokens", "back": "tokens"},
        labels={"mem_len": "memory", "back": "tokens back"},
        rows=[
            (
                f"{layers}",
                mem_len,
                start - earliest(start, layers, segment, mem_len),
            )
            for layers in (1, 2, 4, 8)
            for mem_len in (0, 1, 8, 16, 31, 32, 48, 64, 96, 128)
        ],
    )


ENWIK8 = TransformerXLConfig(
    vocab_size=204, d_model=512, n_head=8, d_inner=2048, n_layer=12
)


def bench_flops_of_a_new_token(record):
    rows = []
    for context in (128, 512, 1024, 2048, 3800):
        slide = sliding_flops(ENWIK8, context)
        one, many, whole = (
            segment_flops(ENWIK8, context, n) for n in (1, 128, context)
        )
        rows.append(
            (
                context,
                slide / 1e9,
                round(slide / one, 1),
                round(slide / many, 1),
                round(slide / whole, 1),
            )
        )
    record(
        "flops",
        kind="exact",
        seed=None,
        title="FLOPs of a new token: a window computed anew, and a memory",
        prediction=(
            "A window of C tokens is computed C times, a memory once; so "
            "we expect about C times fewer FLOPs."
        ),
        columns={
            "context": "tokens",
            "sliding": "GFLOP",
            "one": "",
            "many": "",
            "whole": "",
        },
        labels={
            "context": "context",
            "sliding": "window, anew for each token",
            "one": "fewer with memory, token by token",
            "many": "in segments of 128",
            "whole": "in segments as long as the context",
        },
        rows=rows,
    )


@pytest.fixture(scope="module")
def runs():
    """{contestant: its best rate}, and what its runs of three seeds said."""
    contestants = {(name,): [(name,)] for name in CONTESTANTS}
    best = contests.tuned(chosen, contestants, RATES, min)
    jobs = {n: [(n, best[n,], seed) for seed in SEEDS] for n in CONTESTANTS}
    said = contests.runs(reported, sum(jobs.values(), []))
    return best, {n: [said[job] for job in jobs[n]] for n in CONTESTANTS}


def race(best):
    """What both results say of the race."""
    return contests.race(
        RATES,
        best,
        {name: "normal, 0.02; norms 1, biases 0" for name in CONTESTANTS},
        baseline="without memory",
        chosen_on=f"the last 5 % of the training text, {TUNED_AT} steps, "
        "seed 100",
        reported_on="the beginning of the validation text, seeds 0 to 2",
        column="trained",
    )


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_loss_against_memory(record, runs):
    best, said = runs
    rows = []
    for name in CONTESTANTS:
        for i, mem_len in enumerate(READ_WITH):
            losses = [means[i][1] for means, _ in said[name]]
            rows.append(
                (
                    *(name, mem_len, best[name,], statistics.mean(losses)),
                    *(min(losses), max(losses)),
                )
            )
    record(
        "beyond",
        kind="trained",
        seeds=SEEDS,
        spread={"rate": None, "loss": 0.05, "lowest": None, "highest": None},
        race=race(best),
        title=f"Loss by the memory a model is read with, segments of "
        f"{SEGMENT}, {STEPS:,} steps",
        prediction=(
            "A first race, of two layers and 600 steps, was a tie. In this "
            "one, twice as long and of three layers, we expect: read with "
            "what each was trained with, memory wins by some hundredths, as "
            "the beginnings of segments are better. The "
            "model trained without gains from a memory when it is read, "
            "too, as relative places know no segments, but less; the one "
            "trained with loses much without. Beyond 32 little is gained: "
            "far lags were never trained."
        ),
        columns={
            "trained": "", "mem_len": "tokens", "rate": "", "loss": "nat",
            "lowest": "nat", "highest": "nat",
        },
        labels={
            "mem_len": "memory when read",
            "rate": "best rate",
            "loss": "validation loss, mean of 3 seeds",
            "lowest": "best seed",
            "highest": "worst seed",
        },
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_loss_by_position(record, runs):
    best, said = runs
    rows = []
    for name in CONTESTANTS:
        each = zip(*(places for _, places in said[name]), strict=True)
        for position, losses in enumerate(each):
            rows.append(
                (
                    *(name, position, statistics.mean(losses)),
                    *(min(losses), max(losses)),
                )
            )
    record(
        "places",
        kind="trained",
        seeds=SEEDS,
        spread={"loss": 0.1, "lowest": None, "highest": None},
        race=race(best),
        title="Loss at each place of a segment, each read as it was trained",
        prediction=(
            "Without memory the first character is guessed from itself "
            "alone, so near 2.5, and the loss falls along the segment. With "
            "memory the line is flat; at the end both are alike within the "
            "spread."
        ),
        columns={
            "trained": "", "position": "", "loss": "nat", "lowest": "nat",
            "highest": "nat",
        },
        labels={
            "position": "place in the segment",
            "loss": "validation loss, mean of 3 seeds",
            "lowest": "best seed",
            "highest": "worst seed",
        },
        rows=rows,
    )  # fmt: skip
