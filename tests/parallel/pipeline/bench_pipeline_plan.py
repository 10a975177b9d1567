"""What the page on the choice counts: a plan, and three kinds at once."""

from llmnotes import plan
from llmnotes.parallel import pipeline, tensor_parallel, zero
from llmnotes.parallel.data_parallel import run
from tests.parallel.pipeline import three_ranks

MODEL, GPUS, BATCH, LENGTH = "llama-3-8b", 8, 64, 8192
GB = 1e9
LAYOUTS = {
    "data": (8, 1, 1, 0),
    "data with ZeRO-1": (8, 1, 1, 1),
    "data with ZeRO-3": (8, 1, 1, 3),
    "tensor": (1, 8, 1, 0),
    "stages": (1, 1, 8, 0),
    "4 data · 2 tensor with ZeRO-1": (4, 2, 1, 1),
    "2 · 2 · 2 with ZeRO-1": (2, 2, 2, 1),
}


def bench_layouts(record):
    rows = []
    for words, layout in LAYOUTS.items():
        for again in (False, True):
            made = plan.plan(
                plan.SHAPES[MODEL], plan.Layout(*layout, again), BATCH, LENGTH
            )
            rows.append(
                (words, "yes" if again else "no",
                 (made.states + made.gathered) / GB, made.activations / GB,
                 made.logits / GB, made.memory / GB, float(made.bubble),
                 sum(made.traffic.values()) / GB, made.tokens_per_day / 1e9)
            )  # fmt: skip
    record(
        "layouts",
        kind="exact",
        title=f"{MODEL} on {GPUS} GPUs, {BATCH} sequences of {LENGTH:,} "
        "tokens a step; by formula, nothing of it was run",
        prediction="Plain data parallelism does not fit into 80 GB. Tensor "
        "parallelism holds least and sends most; stages send least and wait "
        "an eighth.",
        columns={"way": "", "again": "", "states": "GB",
                 "activations": "GB", "logits": "GB", "memory": "GB",
                 "bubble": "", "sent": "GB", "day": ""},
        labels={"way": "cut", "again": "again",
                "memory": "all",
                "bubble": "waits",
                "sent": "sent",
                "day": "10⁹ tokens a day"},
        rows=rows,
    )  # fmt: skip


def bench_what_fits(record):
    made = plan.plans(plan.SHAPES[MODEL], GPUS, BATCH, LENGTH)
    rows = [
        (room, len(made), sum(one.memory <= room * 1e9 for one in made))
        for room in (24, 40, 80, 141)
    ]
    record(
        "fitting",
        kind="exact",
        title=f"Of all ways to train {MODEL} on {GPUS} GPUs, those that fit",
        prediction="Half of them fit into 80 GB.",
        columns={"room": "GB", "layouts": "", "fits": ""},
        labels={"room": "memory of a GPU", "layouts": "ways to use them",
                "fits": "that fit"},
        rows=rows,
    )  # fmt: skip


def bench_three_at_once(record, processes):
    sizes, rows, pieces = (3, 2, 2), 8, 4
    found = run(three_ranks.sent, 12, sizes, rows, pieces, processes=processes)
    one = next(x for x in found if x["place"]["stages"] == 1)
    size = rows // 2 // pieces, three_ranks.LENGTH, three_ranks.SHAPE.n_embd
    by_formula = {
        "tensor": tensor_parallel.traffic(*size, 2, one["layers"]) * pieces,
        "stages": pipeline.traffic(*size) * pieces,
        "data": zero.traffic(one["numbers"], 2, 0),
    }
    record(
        "three",
        kind="exact",
        title="A tiny GPT on 12 ranks, 3 stages of 2 data and 2 tensor ranks: "
        "numbers that a rank of the middle stage sends in a step",
        prediction="As the formulas say.",
        columns={"kind": "", "counted": "", "formula": ""},
        labels={"kind": "between ranks that share",
                "formula": "by formula"},
        rows=[
            ({"tensor": "a layer", "stages": "the row of layers",
              "data": "the batch"}[kind], float(one[kind]), float(value))
            for kind, value in by_formula.items()
        ],
    )  # fmt: skip
