"""Time and memory of eight attentions, and how far each is from the roof."""

import functools
import itertools
import resource
import statistics

import pytest
import torch

from llmnotes.kernels.attention_speed import (
    CONTESTANTS,
    forward,
    forward_backward,
    same_answers,
)
from tests.kernels.attention_speed.ground import (
    DTYPES,
    HEAD_DIM,
    HEADS,
    SEED,
    WHOLE,
    able,
    both_work,
    capacity,
    entries,
    fair_ground,
    forward_work,
    probes,
    roofline_rows,
    spread,
)
from tests.kernels.attention_speed.small import (
    decode_calls,
    of_the_cache,
    rows_of,
    short_calls,
)

__all__ = ["fair_ground"]
SIZES = (512, 1024, 2048, 4096, 8192)
LABELS = {
    "n": "sequence length N",
    "seconds": "time per call",
    "spread": "interquartile range",
    "per_sdpa": "times SDPA",
    "bytes": "peak memory above the inputs",
    "intensity": "useful flops per byte of unavoidable traffic",
    "gflops": "useful flops per second",
    "share": "share of the roof",
    "faults": "fresh pages asked of the kernel",
    "in_kernel": "share of CPU time in the kernel",
    "run": "what is timed",
    "cache": "keys in the cache",
    "read": "of the cache, read per second",
}

pytestmark = pytest.mark.timing


@functools.cache
def inputs(n):
    """Numbers that both dtypes can hold, so that both get the same."""
    torch.manual_seed(SEED)
    return [
        torch.randn(1, HEADS, n, HEAD_DIM).bfloat16().float() for _ in range(3)
    ]


def entered(run, n, dtype):
    """Everybody, the baselines in float32.

    Who forms the matrix is slow at 8192 and runs there in float32 and
    forward only.
    """
    found = CONTESTANTS | (able(run) if dtype == "float32" else {})
    slow = n >= 8192 and (run, dtype) != (forward, "float32")
    return {m: f for m, f in found.items() if not (slow and m in WHOLE)}


def calls(run):
    """One call per size, dtype and contestant; first the answers."""
    found = {}
    for n in SIZES:
        expected = run(CONTESTANTS["naive"], *inputs(n))
        for dtype in DTYPES:
            qkv = [x.to(DTYPES[dtype]) for x in inputs(n)]
            contestants = entered(run, n, dtype)
            same_answers(contestants, *qkv, run=run, expected=expected)
            for method, function in contestants.items():
                call = functools.partial(run, function, *qkv)
                found[n, dtype, method] = call
    return found


def time_rows(times):
    """Yield medians; ratios are taken within a round, then their median."""
    for n, dtype, method in entries(times):
        own, sdpa = times[n, dtype, method], times[n, dtype, "sdpa"]
        ratios = [a / b for a, b in zip(own, sdpa, strict=True)]
        yield (
            *(method, dtype, n, statistics.median(own), spread(own)),
            statistics.median(ratios),
        )


def record_race(record, name, times, work, prediction, roofline_prediction):
    """Record the times under `name`, the points under `name`_roofline."""
    words = name.replace("_", " + ")
    record(
        name,
        kind="timing",
        title=f"Seconds per causal attention, {words}, B=1, H=8, D=64",
        prediction=prediction,
        seed=SEED,
        columns={"method": "", "dtype": "", "n": "tokens"}
        | {"seconds": "s", "spread": "s", "per_sdpa": ""},
        labels=LABELS,
        rows=time_rows(times),
    )
    record(
        f"{name}_roofline",
        kind="timing",
        title=f"Useful flops per second, {words}, and the machine's roof",
        prediction=roofline_prediction,
        seed=SEED,
        columns={"method": "", "dtype": "", "n": "tokens"}
        | {"intensity": "flop/B", "gflops": "Gflop/s", "share": ""},
        labels=LABELS,
        rows=roofline_rows(times, work),
    )


def record_machine(record, times):
    """Record what the probes measured, before any roof is made of it."""
    rates = {d: 2 * 2048**3 / min(times[d]) / 1e9 for d in DTYPES}
    triad = capacity(times)[1] / 1e9
    record(
        "machine",
        kind="timing",
        title="What this machine can do: a 2,048² product, a 128 MB triad",
        prediction="A core that starts two AVX-512 multiply-adds per cycle "
        "does 64 flops in it: 2 cores at 2.5 GHz make 320 Gflop/s in "
        "float32. In bfloat16 several times that with AMX, and less than in "
        "float32 without, since every number is converted first. Memory: "
        "20 to 35 GB/s.",
        seed=SEED,
        columns={"probe": "", "dtype": ""}
        | {"gflops": "Gflop/s", "bandwidth": "GB/s"},
        labels={"gflops": "flops per second", "bandwidth": "bytes moved"},
        rows=[("matrix product", d, rate, None) for d, rate in rates.items()]
        + [("triad", "float32", None, triad)],
    )


def bench_forward(race, record):
    times = race(calls(forward) | probes(), rounds=5)
    record_machine(record, times)
    record_race(
        record,
        "forward",
        times,
        forward_work,
        "At N = 8192 in float32 the answer needs 69 Gflop: 0.2 s at 320 "
        "Gflop/s, so about 0.35 s for SDPA at 60 % of the peak. Naive does "
        "137 Gflop (0.4 s), passes about 13 times over its 2.1 GB of scores "
        "(0.9 s at 32 GB/s), and gets six such matrices as fresh pages that "
        "the kernel zeroes first (2 s): 8 to 10 times SDPA from N = 2048 "
        "on, 4 times at 512, where the scores fit the cache. "
        "Memory-efficient passes as often over 4 MB that stay in cache: "
        "about twice SDPA. Our numba kernel: 0.8 to 1.2 times SDPA. Five "
        "lines of torch make 7 passes where naive makes 13: 6 to 8 times "
        "SDPA; in place there are no fresh pages: 4 to 6; compiled, mask and "
        "softmax are two walks: 3 to 4; FlexAttention, which skips the "
        "blocks of the future as SDPA does: 1.2 to 2. In "
        "bfloat16 SDPA gains where the CPU has matrix units for it (AMX) "
        "and nobody gains elsewhere: at 100 flops and more per byte, half "
        "the bytes do not matter.",
        "SDPA and ours reach 50 to 70 % of their roof in float32: exp, "
        "maximum and rescaling cost time and count as no flops. Naive's "
        "own roof is lower (8 flops per byte against a ridge near 10) and "
        "it stays below a tenth of it, since it makes 13 passes where 4 "
        "are unavoidable, computes the masked half, and waits for pages.",
    )


def bench_forward_backward(race, record):
    times = race(calls(forward_backward) | probes(), rounds=3)
    record_race(
        record,
        "forward_backward",
        times,
        both_work,
        "Forward is 4 flops per pair and column, the gradient 8, the "
        "scores again 2: 3.5 times the forward time for SDPA and ours, 3 "
        "times for naive, which keeps its scores, and at least 4 times for "
        "memory-efficient, which runs each chunk's forward pass again. So "
        "naive's distance shrinks a little, to 6 to 9 times SDPA, and "
        "memory-efficient's grows to about 2.5; ours stays within 1.5. "
        "The plain baselines keep their places before naive; compiled, they "
        "fuse the softmax's gradient as well: 3 times SDPA.",
        "The backward pass hardly raises the intensity of naive (384 flops "
        "per score over 11 passes, before 128 over 4) and that of the others "
        "not at all (three times the flops on three times the bytes): the "
        "picture of the forward pass, with SDPA and ours a little lower "
        "because the recomputed scores do not count as useful.",
    )


def cost(go, peak_memory):
    """Return peak memory, page faults, and the kernel's share of the time."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    peak = peak_memory(go)
    after = resource.getrusage(resource.RUSAGE_SELF)
    kernel = after.ru_stime - before.ru_stime
    total = kernel + after.ru_utime - before.ru_utime
    return peak, after.ru_minflt - before.ru_minflt, kernel / max(total, 1e-9)


def memory_rows(peak_memory):
    runs = {"forward": forward, "forward + backward": forward_backward}
    for name, n, dtype in itertools.product(runs, SIZES, DTYPES):
        qkv = [x.to(DTYPES[dtype]) for x in inputs(n)]
        for method, function in entered(forward, n, dtype).items():
            if method == "flex" and runs[name] is not forward:
                continue
            go = functools.partial(runs[name], function, *qkv)
            if n == SIZES[0] or method in ("compiled", "flex"):
                go()  # compiles and starts threads, which is not its memory
            yield name, method, dtype, n, *cost(go, peak_memory)


def bench_memory(record, peak_memory):
    record(
        "memory",
        kind="timing",
        title="Peak memory above the inputs, results included",
        prediction="In float32 at N = 8192 the output is 17 MB. Naive holds "
        "three score matrices of 2.1 GB at its worst moment: 6.4 GB, four "
        "times as much for every doubling of N. The others grow in step "
        "with N: SDPA and ours hold the output and a few tiles, 17 to 25 "
        "MB; memory-efficient the output twice (its chunks, then the whole) "
        "and about 4 chunks of 4 MB, 50 MB. With gradients there are four "
        "results instead of one, 67 MB, plus copies: below 150 MB each, "
        "while naive keeps what it needs for the backward pass: 7 GB.",
        seed=SEED,
        columns={"run": "", "method": "", "dtype": "", "n": "tokens"}
        | {"bytes": "B", "faults": "", "in_kernel": ""},
        labels=LABELS,
        rows=memory_rows(peak_memory),
    )


def bench_short(race, record):
    record(
        "short",
        kind="timing",
        title="Seconds per causal attention of short texts, B=1, H=8, D=64",
        prediction="At 16 tokens an attention is 0.3 Mflop, a microsecond or "
        "two of arithmetic, so the number of calls decides, at some "
        "microseconds each: SDPA is one call and wins, five lines are eight "
        "calls (3 to 6 times SDPA), compiled they are three and a look at "
        "the guards (3 to 6 times as well). FlexAttention looks at more "
        "guards, and at blocks of 128: 5 to 10 times. Ours starts a pool of "
        "threads for each call, 100 microseconds: 10 times. From 256 on the "
        "order is that of the long texts.",
        seed=SEED,
        columns={"run": "", "n": "tokens", "method": ""}
        | {"seconds": "s", "spread": "s", "per_sdpa": ""},
        labels=LABELS,
        rows=rows_of(race(short_calls(), rounds=7)),
    )


def bench_decode(race, record):
    record(
        "decode",
        kind="timing",
        title="Seconds per attention of one query to a cache, H=8, D=64",
        prediction="A query needs 4 flops for each 8 bytes of the cache that "
        "it reads: everybody waits for memory, at 20 to 35 GB/s once the "
        "cache is larger than the chip's. So five lines are level with SDPA "
        "from 8192 keys on, naive takes 3 times as long, since it copies "
        "keys and values, and ours, whose tiles hold 64 queries, does 64 "
        "times the arithmetic for the one: 3 to 6 times SDPA.",
        seed=SEED,
        columns={"batch": "", "cache": "tokens", "method": ""}
        | {"seconds": "s", "spread": "s", "per_sdpa": "", "read": "B/s"},
        labels=LABELS,
        rows=of_the_cache(race(decode_calls(), rounds=5)),
    )
