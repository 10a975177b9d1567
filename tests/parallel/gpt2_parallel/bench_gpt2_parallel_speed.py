"""Three ways to share a step of GPT-2 124M: who did what when, and gains."""

import statistics

import pytest
import torch

from llmnotes.parallel.data_parallel import run
from llmnotes.parallel.gpt2_parallel import metrics
from tests.conftest import wait_until_quiet
from tests.parallel.gpt2_parallel import beside_torch, golden, measured

pytestmark = pytest.mark.timing
median = statistics.median
WAYS = "fork-join", "tasks", "processes"


def bench_errors_of_six_ways(record, processes):
    """Not seconds; but the last digits are those of a machine."""
    ways = golden.all_ways(processes)
    names = [n for n in golden.exact() if n in ("losses", "probs")]
    names += golden.groups()["gradients"]
    record(
        "errors",
        kind="timing",
        seed=0,
        title="Largest difference from float64, of the largest number",
        prediction="Some millionths for each tensor and each way.",
        columns={
            "tensor": "",
            **{way.replace("-", "_").replace(" ", "_").lower(): ""
               for way in golden.WAYS},
        },
        labels={
            way.replace("-", "_").replace(" ", "_").lower(): way
            for way in golden.WAYS
        },
        rows=[
            (name, *(golden.error(ways[way], name) for way in golden.WAYS))
            for name in names
        ],
    )  # fmt: skip


def bench_timelines(record, processes):
    found = {
        "fork-join": measured.forked_on_a_clock(),
        "tasks": measured.in_tasks_on_a_clock(),
        "processes": [
            row
            for rank in run(measured.a_rank_on_a_clock, 2, processes=processes)
            for row in rank
        ],
    }
    record(
        "timeline",
        kind="timing",
        seed=0,
        title="One step of GPT-2 124M on two threads or ranks",
        prediction=(
            "Fork-join: gaps at small calls. Tasks: none but at the end. "
            "Processes: most messages travel while backward computes, the "
            "table of tokens after it."
        ),
        columns={
            "way": "",
            "lane": "",
            "call": "",
            "start": "s",
            "stop": "s",
            "critical": "",
        },
        rows=[
            (way, *row)
            for way, rows in found.items()
            for row in measured.thin(rows)
        ],
    )


def seconds(processes, batch, rounds=7):
    """{(way, threads): median seconds of a step}."""
    found = {}
    for threads in (1, 2):
        for way, make in zip(
            WAYS, (measured.forked, measured.in_tasks), strict=False
        ):
            step, spent = make(threads, batch), []
            step()
            for _ in range(rounds):
                spent += beside_torch.timed(step)
            found[way, threads] = median(spent)
        if batch >= threads:
            told = run(
                measured.seconds_of_ranks, threads, rounds, batch,
                processes=processes,
            )  # fmt: skip
            found["processes", threads] = median(told[0])
    return found


def bench_one_and_two(record, processes):
    wait_until_quiet()
    found = seconds(processes, measured.BATCH)
    torch.set_num_threads(1)
    go, count = beside_torch.peak()
    go()
    peak = count / min(beside_torch.timed(*[go] * 5))
    flops = metrics.step_flops(
        measured.CONFIG, measured.BATCH, measured.LENGTH
    )
    tokens = measured.BATCH * measured.LENGTH
    rows = []
    for (way, threads), s in found.items():
        gain = found[way, 1] / s
        rows.append(
            (way, threads, s, gain, gain / threads, tokens / s,
             flops / s / 1e9, flops / s / (threads * peak))
        )  # fmt: skip
    record(
        "speed",
        kind="timing",
        seed=0,
        title="GPT-2 124M, 4 texts of 64 tokens, on one thread and two",
        prediction="Two are at least 1.7 times as fast as one, each way.",
        columns={
            "way": "",
            "threads": "",
            "seconds": "s",
            "gain": "",
            "efficiency": "",
            "tokens": "1/s",
            "speed": "GFLOP/s",
            "mfu": "",
        },
        labels={
            "threads": "threads or ranks",
            "tokens": "tokens per second",
            "mfu": "of the peak (MFU)",
        },
        rows=rows,
    )


def bench_messages(record, processes):
    """What Shards ask of gloo, beside the calls that are made for it."""
    wait_until_quiet()
    found = run(measured.seconds_of_messages, 2, 7, processes=processes)[0]
    record(
        "messages",
        kind="timing",
        seed=0,
        title="124 million gradients summed, or weights sent back, between "
        "two ranks",
        prediction="Written after a first try, so none: there the all-to-all "
        "and the broadcasts were ahead.",
        columns={"way": "", "seconds": "s"},
        rows=[(way, median(seconds)) for way, seconds in found.items()],
    )


def bench_weak_and_strong(record, processes):
    wait_until_quiet()
    few, many = (seconds(processes, batch, rounds=5) for batch in (2, 4))
    rows = []
    for way in WAYS:
        one, two = few[way, 1], few[way, 2]
        rows.append((way, "strong", 2, 2, metrics.strong(one, two, 2)))
        rows.append(
            (
                way,
                "strong",
                4,
                4,
                metrics.strong(many[way, 1], many[way, 2], 2),
            )
        )
        rows.append((way, "weak", 2, 4, metrics.weak(one, many[way, 2])))
    record(
        "scaling",
        kind="timing",
        seed=0,
        title="Efficiency of two threads or ranks on GPT-2 124M, T = 64",
        prediction=(
            "Weak is above strong: what does not depend on the batch, the "
            "update and the messages, weighs less in a larger batch."
        ),
        columns={
            "way": "",
            "scaling": "",
            "one": "",
            "two": "",
            "efficiency": "",
        },
        labels={"one": "texts, one thread", "two": "texts, two threads"},
        rows=rows,
    )  # fmt: skip
