"""What the chapter counts, and what DiLoCo's silence costs."""

import math
import statistics

import pytest

from llmnotes.parallel.data_parallel import RankError, run
from tests.parallel.data_parallel import measured

SEEDS = (0, 1, 2)
EVERY = (1, 20, 100)


def bench_ring_and_tree(record, processes):
    rows = []
    for way in ("ring", "tree"):
        for ranks in (2, 4, 8):
            found = run(measured.collective, ranks, way, processes=processes)
            messages = max(m for m, _ in found)
            most = max(sent for _, sent in found)
            whole = sum(sent for _, sent in found)
            log = math.ceil(math.log2(ranks))
            rounds = 2 * (ranks - 1) if way == "ring" else 2 * log
            rows.append((way, ranks, rounds, messages, most, whole))
    record(
        "collectives",
        kind="exact",
        title=f"{measured.NUMBERS:,} numbers summed over all ranks",
        prediction="Along a ring every rank sends 2(N−1)/N of the tensor, "
        "less than twice its size however many ranks there are. Up and down "
        "a tree there are fewer rounds, and rank 0 sends log₂N whole "
        "tensors.",
        columns={"way": "", "ranks": "", "rounds": "", "messages": "",
                 "most": "", "all": ""},
        labels={"ranks": "ranks N", "rounds": "rounds, one after the other",
                "messages": "messages of the busiest rank",
                "most": "numbers that it sends",
                "all": "numbers that all send"},
        rows=rows,
    )  # fmt: skip


def bench_buckets(record, processes):
    rows = []
    for size in (1, 10_000, 30_000, 10**9):
        found = run(measured.in_buckets, 2, size, processes=processes)
        rows.append((size, *found[0]))
    record(
        "buckets",
        kind="exact",
        title="One step of a small GPT on two ranks, by size of bucket",
        prediction="What is sent is the same. With buckets of one tensor "
        "there are as many sums as tensors; with one bucket nothing has "
        "left before the first layer is reached.",
        columns={"size": "", "sums": "", "sent": "", "early": ""},
        labels={"size": "numbers in a bucket, at least", "sums":
                "all-reduces", "sent": "numbers that a rank sends",
                "early": "share sent before backward reaches the first "
                "layer"},
        rows=rows,
    )  # fmt: skip


def bench_what_ranks_say(record, processes):
    rows = []
    for how, words in (
        ("killed", "is killed with signal 9"),
        ("error", "raises ValueError"),
        ("early", "returns without taking part"),
        ("stopped", "is stopped, and is silent"),
        ("late", "lives and does something else"),
    ):
        with pytest.raises(RankError) as error:
            run(measured.says, 3, how, processes=processes, patience=3.0)
        first, *more = str(error.value).splitlines()
        rank_0 = [x for x in [first, *more] if x.startswith("rank 0")]
        rows.append((words, rank_0[0]))
    record(
        "failures",
        kind="exact",
        title="Three ranks sum a tensor; rank 1 does something else",
        prediction="In every case rank 0 names rank 1, or says that all live.",
        columns={"rank_1": "", "says": ""},
        labels={"rank_1": "rank 1 …", "says": "what rank 0 says"},
        rows=rows,
    )


@pytest.mark.trained
def bench_seldom_speaking(record, processes):
    rows = []
    for every in EVERY:
        losses, sent = [], 0.0
        for seed in SEEDS:
            found = run(measured.diloco, 2, every, seed, processes=processes)
            losses.append(found[0][0])
            sent = found[0][1]
        rows.append((every, sent, statistics.mean(losses), min(losses),
                     max(losses)))  # fmt: skip
    record(
        "diloco",
        kind="trained",
        seeds=SEEDS,
        spread={"sent": None, "loss": 0.03, "lowest": None,
                "highest": None},
        example="No ranking: one rate for all, that of the first row.",
        title=f"Two ranks, {measured.STEPS} steps of a small GPT on the "
        "language reference, by steps between two rounds",
        prediction="A round every 20 steps loses less than .05 and sends a "
        "twentieth; every 100 steps it loses more.",
        columns={"every": "", "sent": "", "loss": "nat", "lowest": "nat",
                 "highest": "nat"},
        labels={"every": "steps between two rounds",
                "sent": "numbers that a rank sends",
                "loss": "validation loss", "lowest": "best seed",
                "highest": "worst seed"},
        rows=rows,
    )  # fmt: skip
