"""What the chapter counts: bytes kept, numbers sent, padding, what crosses."""

from llmnotes.parallel.data_parallel import run
from llmnotes.parallel.zero import FLOAT32, fitting, memory, traffic
from tests.parallel.zero import ranks, thousand
from tests.parallel.zero.test_formulas import TABLE_1

GB = 1e9
NAMES = ("nothing", "states", "states, gradients", "everything")
PRINTED = (120, 31.4, 16.6, 1.9)  # figure 1
PRINTED_2 = (2, 7.6, 14.4, 128)  # table 2
SIZE = ranks.LAYERS * (ranks.SIDE + 1) * ranks.SIDE
NOTHING = {"weights": 0, "gradients": 0, "states": 0}
COUNTS = (1, 2, 4)
SIZES = {7.5e9: "7.5 billion", 128e9: "128 billion", 1e12: "1 trillion"}


def bench_figure_1(record):
    size, count = 7_500_000_000, 64
    rows = []
    for stage, name in enumerate(NAMES):
        parts = [
            memory(size, count, stage, **NOTHING | one) / GB
            for one in ({"weights": 2}, {"gradients": 2}, {"states": 12})
        ]
        rows.append((stage, name, *parts, sum(parts), PRINTED[stage]))
    record(
        "figure_1",
        kind="tolerance",
        tolerance=1e-9,
        title="What each of 64 ranks holds of a model of 7.5 billion numbers",
        prediction=(
            "The paper's figure 1: 120, 31.4, 16.6 and 1.9 GB, each to its "
            "last digit."
        ),
        columns={
            "stage": "", "cut": "", "weights": "GB", "gradients": "GB",
            "states": "GB", "total": "GB", "paper": "GB",
        },
        rows=rows,
    )  # fmt: skip
    record(
        "ranks",
        kind="tolerance",
        tolerance=1e-9,
        title="Memory of a rank by the number of ranks, 7.5 billion numbers",
        prediction=(
            "Stage 1 and 2 level off at what stays whole, 30 and 15 GB. "
            "Stage 3 halves with every doubling, without an end."
        ),
        columns={"stage": "", "ranks": "", "bytes": "GB"},
        labels={"bytes": "memory of a rank"},
        rows=[
            (str(stage), 2**i, memory(size, 2**i, stage) / GB)
            for stage in range(4)
            for i in range(11)
        ],
    )


def bench_tables_1_and_2(record):
    record(
        "table_1",
        kind="tolerance",
        tolerance=1e-9,
        title="The paper's table 1, computed and as printed",
        prediction=(
            "All 54 cells, each to less than one unit of its last digit: "
            "where the digits do not suffice, the paper cuts them off "
            "(4187.5 is printed as 4187)."
        ),
        columns={
            "model": "", "ranks": "", "one": "GB", "two": "GB",
            "three": "GB", "printed": "GB",
        },
        labels={"one": "stage 1", "two": "stage 2", "three": "stage 3"},
        rows=[
            (SIZES[size], count,
             *(memory(int(size), count, stage) / GB for stage in (1, 2, 3)),
             " / ".join(map(str, row)))
            for size, table in TABLE_1.items()
            for count, row in table.items()
        ],
    )  # fmt: skip
    record(
        "table_2",
        kind="tolerance",
        tolerance=1e-9,
        title="The largest model whose states fit on 64 ranks of 32 GB",
        prediction="The paper's table 2: 2, 7.6, 14.4 and 128 billion.",
        columns={"stage": "", "cut": "", "largest": "10⁹", "paper": "10⁹"},
        labels={"largest": "numbers that fit"},
        rows=[
            (stage, NAMES[stage], fitting(32 * 10**9, 64, stage) / GB,
             PRINTED_2[stage])
            for stage in range(4)
        ],
    )  # fmt: skip


def bench_what_is_kept_and_sent(record, processes):
    found = {
        n: run(ranks.all_counted, n, processes=processes)[0] for n in COUNTS
    }
    rows = []
    for dtype, name, bytes_ in (
        ("", "float32", FLOAT32), ("bfloat16", "mixed", {}),
    ):  # fmt: skip
        for count in COUNTS:
            for stage in (1, 2, 3) if dtype else range(4):
                key = (dtype, stage) if dtype else (stage, 1)
                kept = found[count][key]["kept"]
                formula = memory(SIZE, count, stage, **bytes_)
                total = sum(kept.values())
                rows.append(
                    (name, count, stage, *kept.values(), total, int(formula))
                )
    record(
        "kept",
        kind="exact",
        title=f"Bytes that a rank keeps of a model of {SIZE:,} numbers",
        prediction="The formula, to the byte.",
        columns={
            "bits": "", "ranks": "", "stage": "", "weights": "B",
            "gradients": "B", "states": "B", "measured": "B", "formula": "B",
        },
        rows=rows,
    )  # fmt: skip
    sent(record, found)
    peak(record, found[4])


def sent(record, found):
    """Numbers that leave a rank."""
    record(
        "sent",
        kind="exact",
        title=f"Numbers that leave a rank in a step, Ψ = {SIZE:,}",
        prediction=(
            "2Ψ at stage 1 and 2 and 3Ψ at stage 3, times (N − 1)/N. With "
            "3 micro-batches 2Ψ, 4Ψ and 9Ψ."
        ),
        columns={
            "stage": "", "micro": "", "ranks": "", "sent": "", "formula": "",
        },
        labels={"micro": "micro-batches"},
        rows=[
            (stage, k, count, int(found[count][stage, k]["sent"]),
             int(traffic(SIZE, count, stage, k)))
            for stage in range(4)
            for k in (1, 3)
            for count in COUNTS[1:]
        ],
    )  # fmt: skip


def peak(record, found):
    """The most that lives while backward runs."""
    ways = {
        "stage 1": (1, 1), "stage 2, a unit for each layer": (2, 1),
        "stage 3, a unit for each layer": (3, 1),
        "stage 3, one unit": "whole",
    }  # fmt: skip
    record(
        "peak",
        kind="exact",
        title="Between two steps, and when backward holds most; 4 ranks",
        prediction=(
            "Stage 3 with one unit keeps as little as with many, but at the "
            "peak it holds all weights and all gradients, and gains nothing "
            "over stage 2."
        ),
        columns={"way": "", "kept": "B", "peak": "B"},
        labels={"kept": "between steps", "peak": "peak of backward"},
        rows=[
            (way, sum(found[key]["kept"].values()), found[key]["peak"])
            for way, key in ways.items()
        ],
    )


def bench_a_thousand_ranks(record):
    ours, theirs = thousand.all_ways()
    whole = thousand.LAYER
    rows = [
        ("weights of a layer", whole, 1.0),
        *(
            (name, n, n / whole)
            for name, seen in (
                ("our flat layer", ours[3][1]),
                ("FSDP2's rows", theirs),
            )
            for n in {c.numbers for c in seen.calls if c.kind == "all-gather"}
        ),
    ]
    record(
        "thousand",
        kind="tolerance",
        tolerance=1e-9,
        title="Numbers gathered for a layer of 64 × 64 and 64 on 1,024 ranks",
        prediction=(
            "FSDP2 cuts along rows, and there are 64 of them: most ranks "
            "hold nothing but padding, and all pad to a whole row. A flat "
            "vector is padded by less than one number a rank."
        ),
        columns={"way": "", "numbers": "", "ratio": ""},
        labels={"ratio": "of the weights"},
        rows=rows,
    )


def bench_offload(record, processes):
    found = run(ranks.offloaded, 2, processes=processes)[0]
    names = {
        "here": "states near", "Offloaded": "states far, step there",
        "Fetched": "states far, step near",
    }  # fmt: skip
    shard = SIZE // 2
    record(
        "offload",
        kind="exact",
        title="Stage 2 on 2 ranks: where the bytes of a shard lie, and cross",
        prediction=(
            "Stepping far away: 8 bytes a number cross in float32 and 4 in "
            "mixed precision. Fetching Adam's moments: 16, whatever the "
            "weights' bits."
        ),
        columns={
            "bits": "", "way": "", "near": "B", "far": "B", "down": "B",
            "up": "B", "each": "B",
        },
        labels={"each": "a number of the shard"},
        rows=[
            ("float32" if dtype == "float32" else "mixed", names[way],
             f["kept"] - f["far"], f["far"], f["down"], f["up"],
             (f["down"] + f["up"]) // shard)
            for (dtype, way), f in found.items()
        ],
    )  # fmt: skip
