"""What the chapter counts: bytes that are kept, FLOPs that are redone."""

import math

from llmnotes.parallel.gradient_checkpointing import (
    FLOAT32_ON_CPU,
    Full,
    Layer,
    Selective,
    activations,
    balanced,
    everything,
    forward_flops,
    forwards,
    full,
    overhead,
    peak,
    per_sbh,
    published_overhead,
    recomputed_flops,
    selective,
    sequence,
    step_flops,
    tapered,
    tensor,
)
from tests.parallel.gradient_checkpointing import test_flops, whole
from tests.parallel.gradient_checkpointing.test_formula import (
    ScaledOutside,
    counted,
)
from tests.parallel.gradient_checkpointing.test_stack import lived

SIZE = 2, 8, 12, 3  # b, s, h, a
# Length, hidden, heads, layers and batch; ranks of tensor parallelism are 8.
MODELS = {
    "22B": (2048, 6144, 64, 48, 4),
    "GPT-3 175B": (2048, 12288, 96, 96, 1),
    "MT-NLG 530B": (2048, 20480, 128, 105, 1),
    "1T": (2048, 25600, 160, 128, 1),
}
VOCAB, RANKS = 51200, 8
GIB, MIB = 2**30, 2**20


def bench_a_layer(record):
    ways = {
        "keep everything": (Layer, everything),
        "recompute the core": (Selective, selective),
        "the same, Q scaled outside": (ScaledOutside, selective),
        "recompute all": (Full, full),
    }
    rows = []
    for dropout in (0.1, 0.0):
        for way, (kind, keep) in ways.items():
            found = counted(kind(SIZE[2], SIZE[3], dropout), *SIZE[:3])
            formula = activations(
                *SIZE, keep=keep, width=FLOAT32_ON_CPU, dropout=dropout
            )
            unit = math.prod(SIZE[:3])
            rows.append((way, f"{dropout:g}", formula, found, found / unit))
    record(
        "layer",
        kind="exact",
        seed=None,
        title="What one layer keeps for backward (s 8, b 2, h 12, a 3)",
        prediction=(
            "The counted bytes are those of the formula: 72 + 12as/h + 16/h "
            "bytes for each of sbh with dropout, 64 + 4as/h + 16/h without; "
            "without the core 72 and 64, and 4 for the input alone."
        ),
        columns={
            "way": "",
            "dropout": "",
            "formula": "B",
            "counted": "B",
            "each": "",
        },
        labels={"each": "bytes / sbh"},
        rows=rows,
    )


def bench_published_models(record):
    rows = []
    for name, (length, hidden, heads, layers, batch) in MODELS.items():
        shape = length, hidden, heads
        how = [
            (everything, tensor),
            (everything, sequence),
            (selective, tensor),
            (selective, sequence),
            (full, tensor),
        ]
        cut = [
            per_sbh(*shape, ranks=RANKS, keep=keep, share=share)
            for keep, share in how
        ]
        alone = activations(batch, *shape)
        saves = 100 * (1 - per_sbh(*shape, keep=selective) / per_sbh(*shape))
        rows.append(
            (name, per_sbh(*shape) - 34, *cut, alone / 1e9,
             layers * alone / GIB, saves)
        )  # fmt: skip
    record(
        "published",
        kind="exact",
        seed=None,
        title="Bytes for each of sbh on each of 8 ranks, at 16 bits a number",
        prediction=(
            "GPT-3 as in table 2 of Korthikanti et al.: 23, 14.25, 13, 4.25 "
            "and 2; selective recompute saves 70 % of it and 65 % of the "
            "530B, as the paper says."
        ),
        columns={
            "model": "",
            "core": "",
            "tensor": "",
            "sequence": "",
            "selective": "",
            "both": "",
            "full": "",
            "layer": "GB",
            "stack": "GiB",
            "saves": "%",
        },
        labels={
            "core": "5as/h",
            "tensor": "tensor parallel",
            "sequence": "and sequence",
            "selective": "tensor, selective",
            "both": "all three",
            "full": "tensor, full",
            "layer": "one layer, uncut",
            "stack": "all layers, uncut",
            "saves": "selective saves",
        },
        rows=rows,
    )


def bench_flops(record):
    batch, length, hidden, _ = SIZE
    one = forward_flops(batch, length, hidden)
    record(
        "flops",
        kind="exact",
        seed=None,
        title="FLOPs of a step, in forward passes (s 8, b 2, h 12)",
        prediction=(
            "3 with nothing recomputed, 4 with all, 3.7 where the recompute "
            "stops as soon as backward has what it needs; the core adds "
            "4bs²h, or 2bs²h with that stop."
        ),
        columns={
            "way": "",
            "formula": "",
            "counted": "",
            "more": "",
            "step": "",
        },
        labels={
            "more": "recomputed",
            "step": "step / F",
        },
        rows=[
            (
                what,
                step_flops(batch, length, hidden, what),
                count(),
                recomputed_flops(batch, length, hidden, what),
                count() / one,
            )
            for what, count in test_flops.WAYS.items()
        ],
    )


def bench_overhead(record):
    rows = []
    for name in ("GPT-3 175B", "MT-NLG 530B"):
        length, hidden, _, layers, _ = MODELS[name]
        size = length, hidden, layers, VOCAB
        rows.append(
            (
                name,
                *(
                    100 * overhead(*size, what)
                    for what in ("full", "selective", "selective, early stop")
                ),
                100 * published_overhead(*size),
            )
        )
    record(
        "overhead",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="FLOPs that recomputing adds to a whole step",
        prediction=(
            "All again adds a third. The core adds 0.9 and 0.55 %, half of "
            "that with an early stop; the paper says 2.7 and 1.6 %."
        ),
        columns={
            "model": "",
            "full": "%",
            "selective": "%",
            "early": "%",
            "published": "%",
        },
        labels={
            "selective": "core, counted",
            "early": "core, early stop",
            "published": "core, as published",
        },
        rows=rows,
    )


def bench_square_roots(record):
    rows = []
    for layers in (16, 100, 1024):
        root = math.isqrt(layers)
        for way, sizes in (
            ("equal segments", balanced(layers, root)),
            ("each one shorter", tapered(layers)),
        ):
            rows.append(
                (layers, way, len(sizes), peak(sizes), int(lived(sizes, 8)),
                 forwards(sizes) / layers)
            )  # fmt: skip
    record(
        "roots",
        kind="exact",
        seed=None,
        title="Blocks that live at the peak of a stack of single operations",
        prediction=(
            "√n equal segments: 8, 20 and 64 blocks, 2√n. Segments that "
            "grow shorter by one each: about √(2n) + 1. Less than two "
            "forward passes in both."
        ),
        columns={
            "layers": "",
            "way": "",
            "segments": "",
            "formula": "",
            "counted": "",
            "forwards": "",
        },
        labels={
            "formula": "blocks, formula",
            "counted": "blocks, counted",
            "forwards": "forward passes",
        },
        rows=rows,
    )


def bench_segments(record):
    layers = 36
    record(
        "segments",
        kind="exact",
        seed=None,
        title="36 layers in k segments: blocks that live at the peak",
        prediction=(
            "k + 36/k, so least, 12, at k = 6; as many as with nothing "
            "recomputed for a single segment and for 36 of one layer."
        ),
        columns={"segments": "", "counted": ""},
        labels={"counted": "blocks at the peak"},
        rows=[
            (k, int(lived(balanced(layers, k), 8)))
            for k in range(1, layers + 1)
        ],
    )


def bench_whole_steps(record):
    rows, plain = [], whole.measured(whole.WAYS[0])
    for way in whole.WAYS:
        found = whole.measured(way)
        assert found["loss"] == plain["loss"]
        rows.append(
            (
                way.name,
                found["peak"] / MIB,
                found["saved"] / MIB,
                found["flops"] / plain["flops"],
            )
        )
    record(
        "gpt",
        kind="exact",
        seed=0,
        title="A training step of a GPT of 9 layers and 512 tokens",
        prediction=(
            "Least where every block is a region, because a block keeps 30 "
            "times its input: √n = 3 segments would be best only if it kept "
            "its input alone. That costs a third more FLOPs, and a disk none."
        ),
        columns={"way": "", "peak": "MiB", "kept": "MiB", "flops": ""},
        labels={
            "peak": "peak of the step",
            "kept": "saved for backward",
            "flops": "FLOPs",
        },
        rows=rows,
    )
