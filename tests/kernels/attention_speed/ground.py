"""What the races of this chapter share: sizes, threads, who can run."""

import functools
import statistics
import warnings

import jaxtyping
import pytest
import torch

from llmnotes.kernels.attention_speed import (
    BASELINES,
    backward_flops,
    compiler_missing,
    forward_backward,
    forward_flops,
    fused_backward_traffic,
    fused_forward_traffic,
    roof,
    unfused_backward_traffic,
    unfused_forward_traffic,
)

HEADS, HEAD_DIM, THREADS, SEED = 8, 64, 2, 0
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
WHOLE = ("naive", "five_lines", "in_place", "compiled")  # form the matrix


@pytest.fixture(autouse=True)
def fair_ground():
    """Two threads for everybody, and no shape checks inside the timings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(threads)


@functools.cache
def able(run):
    """The baselines that run here; a warning says which do not, and why."""
    found = dict(BASELINES)
    if run is forward_backward:
        del found["flex"]  # has no gradient on a CPU
    if compiler_missing():
        warnings.warn(
            f"nothing is compiled: {compiler_missing()}", stacklevel=2
        )
        found = {
            m: f for m, f in found.items() if m not in ("compiled", "flex")
        }
    return found


def spread(values):
    """The interquartile range."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return high - low


def probes():
    """What the machine can do: a large matrix product, a long triad."""
    a, b, c = (torch.zeros(2**25) for _ in range(3))  # 128 MB each
    found = {"triad": lambda: torch.add(b, c, alpha=3.0, out=a)}
    for dtype in DTYPES:
        x, y = (torch.randn(2048, 2048).to(DTYPES[dtype]) for _ in range(2))
        found[dtype] = functools.partial(torch.mm, x, y)
    return found


def capacity(times):
    """Return flops/s per dtype and bytes/s: the best round of each probe.

    A program may compute in float32 whatever its inputs are, so where the
    CPU has no matrix units for bfloat16 float32's peak is bfloat16's too.
    """
    flops = 2 * 2048**3
    single, half = (flops / min(times[dtype]) for dtype in DTYPES)
    peak = {"float32": single, "bfloat16": max(single, half)}
    return peak, 3 * 4 * 2**25 / min(times["triad"])


def entries(times):
    """Return the keys of the contestants, without those of the probes."""
    return [key for key in times if isinstance(key, tuple)]


def forward_work(n, method):
    """Return useful flops and unavoidable numbers moved, one head."""
    unfused = method in WHOLE
    traffic = unfused_forward_traffic if unfused else fused_forward_traffic
    return forward_flops(n, n, HEAD_DIM, True), traffic(n, n, HEAD_DIM)


def both_work(n, method):
    unfused = method in WHOLE
    traffic = unfused_backward_traffic if unfused else fused_backward_traffic
    flops, moved = forward_work(n, method)
    flops += backward_flops(n, n, HEAD_DIM, True)
    return flops, moved + traffic(n, n, HEAD_DIM)


def roofline_rows(times, work):
    """Yield every contestant's point, then the roof itself, per dtype."""
    peak, bandwidth = capacity(times)
    for n, dtype, method in entries(times):
        flops, moved = work(n, method)
        intensity = flops / moved / DTYPES[dtype].itemsize
        speed = HEADS * flops / statistics.median(times[n, dtype, method])
        share = speed / roof(intensity, peak[dtype], bandwidth)
        yield method, dtype, n, intensity, speed / 1e9, share
    for dtype in DTYPES:
        for intensity in (1.0, peak[dtype] / bandwidth, 8192.0):
            best = roof(intensity, peak[dtype], bandwidth)
            yield "roof", dtype, None, intensity, best / 1e9, 1.0
