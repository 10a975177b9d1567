"""What QLoRA's chapter measures: bytes, what a base costs, how to merge."""

import statistics

import pytest
import torch

from llmnotes.adaptation.lora.attach import linear_layers
from llmnotes.adaptation.qlora import NF4Linear, PagedAdamW, bits_per_weight
from llmnotes.adaptation.qlora.paged import BYTES
from llmnotes.transformer.gpt import GPT, NANOGPT_CPU
from tests import contests
from tests.adaptation.qlora import training_runs
from tests.adaptation.qlora.limited import run

SEEDS = (0, 1, 2)


def bench_bytes_of_a_model_in_nf4(record):
    torch.manual_seed(0)
    layers = list(linear_layers(GPT(NANOGPT_CPU)).values())
    found = [NF4Linear(layer) for layer in layers]
    count = sum(layer.weight.numel() for layer in layers)
    parts = {
        "codes of weights": [x.packed for x in found],
        "codes of scales": [x.scale_codes for x in found],
        "scales of scales": [x.largest for x in found],
        "means": [x.mean for x in found],
    }
    rows = [(name, sum(p.nbytes for p in some)) for name, some in
            parts.items()]  # fmt: skip
    whole = sum(size for _, size in rows)
    formula = count * bits_per_weight() / 8 + 4 * len(layers)
    rows = [(name, size, 8 * size / count) for name, size in rows]
    rows.append(("together", whole, 8 * whole / count))
    rows.append(("by formula", int(formula), 8 * formula / count))
    record(
        "bytes",
        kind="exact",
        seed=0,
        title=f"{count:,} weights of {len(layers)} matrices in NF4 with "
        "double quantization",
        prediction=(
            "4 + 8/64 + 32/(64·256) bits each, and a float32 for the mean of "
            "each matrix: 405,760 bytes."
        ),
        columns={"part": "", "bytes": "B", "bits": ""},
        labels={"bits": "bits a weight"},
        rows=rows,
    )


def bench_pages_that_had_to_be_fetched(record):
    steps, rows = 5, []
    for share in (1.0, 0.9, 0.5, 0.25, 0.1):
        torch.manual_seed(0)
        model = torch.nn.Linear(512, 512)
        pages = -(-512 * 512 // 4096) + 1
        room = max(1, int(share * pages))
        optimizer = PagedAdamW(model.parameters(), room=room * BYTES)
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(4, 512)).square().mean().backward()
            optimizer.step()
        rows.append((room * BYTES, room, optimizer.pages.faults / steps))
    record(
        "pages",
        kind="exact",
        seed=0,
        title=f"Pages of moments fetched in a step, of {pages} that there are",
        prediction=(
            "With room for all, each is fetched once in five steps. With a "
            "page too few all of them are fetched in every step, since the "
            "one that was used last is needed last: less room is no worse."
        ),
        columns={"room": "B", "held": "pages", "fetched": "pages"},
        labels={"held": "room for", "fetched": "fetched in a step"},
        rows=rows,
    )


@pytest.mark.timing
def bench_memory_of_a_fine_tuning(record):
    limit, layers = 120, 12
    rows = []
    for bits in (16, 4):
        free = run(bits, layers=layers)
        fits = run(bits, limit, layers=layers)["fits"]
        rows.append(
            (bits, free["weights"], free["peak"], "yes" if fits else "no")
        )
    record(
        "limit",
        kind="timing",
        seed=0,
        title=f"Two steps of an adapter beside {layers} layers of width 768, "
        f"and whether they fit into {limit} MiB more than before",
        prediction=(
            "The base takes 170 MB in 16 bits and 44 in 4. With what a step "
            "needs besides, the one does not fit and the other does."
        ),
        columns={"bits": "", "weights": "B", "peak": "B", "fits": ""},
        labels={
            "weights": "model with adapter", "peak": "peak of the process",
            "fits": f"fits into {limit} MiB",
        },
        rows=rows,
    )  # fmt: skip


def mean(values):
    return statistics.mean(values)


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_what_a_base_in_few_bits_costs(record):
    rows = []
    for name in training_runs.BASES:
        jobs = [(name, seed) for seed in SEEDS]
        found = contests.runs(training_runs.adapted, jobs)
        before, new, old = zip(*(found[job] for job in jobs), strict=True)
        rows.append((name, before[0], mean(new), min(new), max(new),
                     mean(old)))  # fmt: skip
    record(
        "bases",
        kind="trained",
        seeds=SEEDS,
        spread={"before": 0.005, "new": 0.02, "lowest": None,
                "highest": None, "old": 0.15},
        example="No ranking of methods: one adapter at one rate, the best "
        "beside float32, and a base that gets worse.",
        title="An adapter of rank 4 beside a base in fewer bits: losses "
        "before and after it has read Shakespeare",
        prediction=(
            "Beside NF4 the adapter ends within 0.003 nat of float32, with "
            "double quantization as well. Three bits cost 0.008, two 0.06; "
            "before, they cost the base itself more."
        ),
        columns={"base": "", "before": "nat", "new": "nat", "lowest": "nat",
                 "highest": "nat", "old": "nat"},
        labels={
            "before": "Python's reference, before",
            "new": f"Shakespeare, mean of {len(SEEDS)} seeds",
            "lowest": "best seed", "highest": "worst seed",
            "old": "Python's reference, after",
        },
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_four_ways_to_merge(record):
    names = ("not merged", "D(Q(W)) + Δ", "W + Δ", "Q(D(Q(W)) + Δ)",
             "Q(W + Δ)")  # fmt: skip
    found = contests.runs(training_runs.merged, [(s,) for s in SEEDS])
    columns = zip(*(found[s,] for s in SEEDS), strict=True)
    rows = [
        (name, mean(new), min(new), max(new))
        for name, new in zip(names, columns, strict=True)
    ]
    record(
        "merges",
        kind="trained",
        seeds=SEEDS,
        spread={"new": 0.02, "lowest": None, "highest": None},
        example="No ranking: the same adapters, merged in four ways.",
        title="The loss on Shakespeare of an adapter that was trained beside "
        "NF4, merged in four ways",
        prediction=(
            "Into what it was trained beside: the same to 1e-4. Into the "
            "weights before quantization: 0.005 worse, for it never saw "
            "them. In four bits again: 0.01 worse, by either way."
        ),
        columns={"way": "", "new": "nat", "lowest": "nat", "highest": "nat"},
        labels={"way": "merged into", "new": "mean of 3 seeds",
                "lowest": "best seed", "highest": "worst seed"},
        rows=rows,
    )  # fmt: skip
