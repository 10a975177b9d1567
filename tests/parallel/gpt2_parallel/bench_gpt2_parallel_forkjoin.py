"""The fork-join step beside PyTorch's, and where its time goes."""

import functools
import os
import statistics
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from llmnotes.parallel.gpt2_parallel import (
    ForkJoin,
    Team,
    dynamic,
    in_blocks,
    in_turns,
)
from tests.conftest import wait_until_quiet
from tests.parallel.gpt2_parallel import beside_torch
from tests.parallel.gpt2_parallel.beside_torch import LINEAR, PHASES

pytestmark = pytest.mark.timing
median = statistics.median


def bench_a_step_beside_torchs(record):
    rows, ours = [], "ours, first writes set"
    for threads in (1, 2):
        wait_until_quiet()
        spent = beside_torch.steps(threads, rounds=9)
        seconds = {
            (name, phase): median(
                sum(one) if phase == "step" else one[PHASES.index(phase)]
                for one in found
            )
            for name, found in spent.items()
            for phase in (*PHASES, "step")
        }
        for (name, phase), s in seconds.items():
            share = s / seconds["PyTorch eager", phase]
            rows.append((threads, phase, name, s, share))
    alone = {row[1]: row[3] for row in rows if row[:3:2] == (1, ours)}
    rows = [
        (*row, alone[row[1]] / row[3] if row[2] == ours else None)
        for row in rows
    ]
    record(
        "step",
        kind="timing",
        title="One step of GPT-2 124M, 4 texts of 64 tokens, float32",
        prediction="With two threads: forward at most 1.0 of PyTorch's time, "
        "backward 1.1, the whole step 1.05; two threads 1.7 times as fast as "
        "one, but for the update, which memory bounds.",
        columns={
            "threads": "", "phase": "", "way": "", "seconds": "s",
            "share": "", "gain": "",
        },
        labels={
            "share": "of PyTorch's time", "gain": "times as fast as one thread"
        },
        rows=rows,
    )  # fmt: skip


def bench_the_products_share_of_the_peak(record, race):
    torch.set_num_threads(1)
    kernels, going, operations = ForkJoin(1), {}, {}
    going["peak"], operations["peak"] = beside_torch.peak()
    for layer in LINEAR:
        found = beside_torch.products(layer, kernels)
        for product, (ours, theirs, count) in found.items():
            for who, go in (("ours", ours), ("PyTorch", theirs)):
                going[layer, product, who] = go
                operations[layer, product, who] = count
    seconds = race(going, rounds=9)
    speed = {key: operations[key] / median(s) for key, s in seconds.items()}
    record(
        "products",
        kind="timing",
        title="Products of GPT-2's linear layers, one thread, 256 tokens",
        prediction="Ours reach 0.8 of the peak of fused multiply-adds.",
        columns={
            "layer": "", "product": "", "ours": "GFLOP/s",
            "torch": "GFLOP/s", "peak": "GFLOP/s", "share": "",
        },
        labels={"torch": "PyTorch", "share": "our share of the peak"},
        rows=[
            (
                layer, product, speed[layer, product, "ours"] / 1e9,
                speed[layer, product, "PyTorch"] / 1e9, speed["peak"] / 1e9,
                speed[layer, product, "ours"] / speed["peak"],
            )
            for layer in LINEAR
            for product in ("forward", "backward")
        ],
    )  # fmt: skip


def bench_the_update_beside_a_triad(record, race):
    """Bytes that must move: 3 read and 4 written numbers are 28, and 12."""
    size, kernels = 124_475_904, ForkJoin(2)
    p, g, m, v = np.ones((4, size), np.float32)
    numbers = 1e-4, 0.9, 0.999, 1e-8, 0.0, 3
    items = -(-size // 16384)
    half = np.float32(0.5)
    moved = {"AdamW": 28 * size, "triad": 12 * size}
    args = (beside_torch.triad, items, p, g, m, half)
    going = {
        "AdamW": functools.partial(kernels.adamw, p, g, m, v, *numbers),
        "triad": functools.partial(kernels.team.run, *args),
    }
    seconds = race(going, rounds=9)
    speed = {name: moved[name] / median(s) for name, s in seconds.items()}
    record(
        "update",
        kind="timing",
        title="Memory moved by the update of GPT-2 124M, two threads",
        prediction="At least 0.8 of a triad a = b + x·c.",
        columns={"loop": "", "seconds": "s", "speed": "GB/s", "share": ""},
        labels={"share": "of the triad's"},
        rows=[
            (name, median(seconds[name]), s / 1e9, s / speed["triad"])
            for name, s in speed.items()
        ],
    )


def bench_false_sharing(record, race):
    """Each of two threads writes to its own numbers, near or far."""
    teams = [Team(threads, schedule=in_turns) for threads in (1, 2)]
    rows, times = 200_000, 100_000
    x = np.ones((rows, 8), np.float32)
    # From torch, which begins them where a cache line begins.
    found = torch.zeros(64).numpy()
    counters = torch.zeros(64, dtype=torch.int64).numpy()
    going = {}
    for team in teams:
        for apart in (4, 32):
            going["sums of 4 columns", apart * 4, team.threads] = (
                functools.partial(
                    team.run, beside_torch.sums, 2, found, x, apart
                )
            )
        for apart in (1, 16):
            going["counters", apart * 8, team.threads] = functools.partial(
                team.run, beside_torch.counts, 2, counters, apart, times
            )
    seconds = race(going, rounds=15)
    record(
        "false_sharing",
        kind="timing",
        title="Two loops that write to different numbers",
        prediction="On two threads they take half the time, but several "
        "times as long where the numbers lie in one cache line of 64 bytes.",
        columns={"loop": "", "apart": "B", "threads": "", "seconds": "s"},
        labels={"apart": "bytes between their numbers"},
        rows=[(*key, median(s)) for key, s in seconds.items()],
    )


def bench_schedules_of_causal_attention(record, race):
    batch, heads, length, width = 1, 3, 1024, 64
    draw = np.random.default_rng(0)
    shape = batch, length, 3 * heads * width
    qkv = draw.standard_normal(shape).astype(np.float32)
    out = np.empty((batch, length, heads * width), np.float32)
    scores, weights = np.empty((2, batch, heads, length, length), np.float32)
    going, alone = {}, ForkJoin(1)
    going[1, "one thread"] = alone.attention_forward
    for schedule in (in_blocks, in_turns, dynamic):
        kernels = ForkJoin(2)
        kernels.team.schedule = schedule
        going[2, schedule.__name__] = kernels.attention_forward
    args = out, scores, weights, qkv
    seconds = race(
        {key: functools.partial(go, *args) for key, go in going.items()}, 15
    )
    one = median(seconds[1, "one thread"])
    record(
        "schedules",
        kind="timing",
        seed=0,
        title="Causal attention, 3 heads, 1024 tokens, 48 blocks of queries",
        prediction="In two blocks the second head is cut in the middle, and "
        "its second half has 2.8 times the work of the first: 1.73 times "
        "as fast as one thread at best. In turns and dynamic: near 2.",
        columns={"threads": "", "schedule": "", "seconds": "s", "gain": ""},
        labels={"gain": "times as fast as one thread"},
        rows=[
            (*key, median(s), one / median(s)) for key, s in seconds.items()
        ],
    )


def bench_compiling_is_paid_once(record, tmp_path):
    """A tiny step in a new process: without and with its loops on disk."""
    code = (
        "from tests.transformer.gpt2_by_hand import tiny; import numpy, time;"
        "from llmnotes.parallel.gpt2_parallel import ForkJoin;"
        "a = time.time(); ours = tiny.by_hand(kernels=ForkJoin(2), dtype="
        "numpy.float32); ours.step(*tiny.ids()); print(time.time() - a)"
    )
    wait_until_quiet()
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    rows = []
    for when in ("first", "second"):
        start = time.perf_counter()
        said = subprocess.run(
            [sys.executable, "-c", code], env=environment, check=True,
            capture_output=True, text=True,
        ).stdout  # fmt: skip
        rows.append((when, float(said), time.perf_counter() - start))
    record(
        "compiling",
        kind="timing",
        title="The first step of a process",
        prediction="Half a minute of compiling, once; then under a second.",
        columns={"run": "", "step": "s", "process": "s"},
        labels={"step": "its first step", "process": "the whole process"},
        rows=rows,
    )
