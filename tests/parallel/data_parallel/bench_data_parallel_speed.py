"""What two ranks gain, beside one and beside PyTorch's DDP."""

import statistics
import time

import pytest
import torch

from llmnotes.parallel.data_parallel import run
from tests.conftest import wait_until_quiet
from tests.parallel.data_parallel import measured, ranked

pytestmark = pytest.mark.timing
ROUNDS, ROWS = 15, 16


def bench_steps(record, processes):
    wait_until_quiet()
    job = ("ours", "DDP"), ROUNDS, ROWS
    two = run(measured.interleaved, 2, *job, processes=processes)[0]
    one = run(measured.interleaved, 1, ("ours",), ROUNDS, ROWS,
              processes=processes)[0]  # fmt: skip
    again = run(measured.interleaved, 2, *job, processes=processes)[0]
    alone = statistics.median(one["ours"])
    rows = [("one rank", alone, 1.0)]
    for way, words in (("ours", "two ranks"), ("DDP", "two ranks, DDP")):
        seconds = statistics.median(two[way] + again[way])
        rows.append((words, seconds, alone / seconds))
    record(
        "steps",
        kind="timing",
        seed=0,
        title=f"A step of a GPT of 3.3M parameters on {ROWS} rows of 128, "
        "one thread a rank",
        prediction="Two ranks are 1.6 times as fast as one; ours takes at "
        "most 1.1 times DDP's time.",
        columns={"way": "", "seconds": "s", "gain": ""},
        labels={"seconds": "seconds a step", "gain": "times one rank"},
        rows=rows,
    )


def bench_overlap(record, processes):
    wait_until_quiet()
    found = run(measured.timeline, 2, ROWS, processes=processes)[0]
    record(
        "overlap",
        kind="timing",
        seed=0,
        title="One backward pass of rank 0 of two, and the sums of buckets",
        prediction="All sums but the last begin before backward ends.",
        columns={"what": "", "start": "s", "end": "s"},
        rows=found,
    )


def bench_starting(record, processes):
    wait_until_quiet()
    run(ranked.number, 1, processes=processes)  # the server imports torch
    rows = []
    for ranks in (1, 2, 4, 8):
        spent = []
        for _ in range(7):
            start = time.perf_counter()
            run(ranked.number, ranks, processes=processes)
            spent.append(time.perf_counter() - start)
        rows.append((ranks, statistics.median(spent)))
    assert torch.get_num_threads()
    record(
        "starting",
        kind="timing",
        seed=None,
        title="Ranks started, joined, asked for a number and ended",
        prediction="Four in less than a second.",
        columns={"ranks": "", "seconds": "s"},
        rows=rows,
    )
