"""What benchmarks measure with; tests/recording.py holds `record`.

race         time several functions fairly
peak_memory  bytes a call needs above what was there before
"""

import ctypes
import itertools
import signal
import time
from pathlib import Path

import psutil
import pytest
import torch  # first: a numba kernel launched before it slows SDPA 4-6x
from hypothesis import settings

# How long an example takes depends on who else uses the machine.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

QUIET = 20  # percent of the CPU that others may use before a race starts


def pytest_configure(config):
    """Leave each process of `make test` one core, and everyone Ctrl-C.

    A shell starts background programs with Ctrl-C ignored; then what it
    does could not be tested.
    """
    if hasattr(config, "workerinput"):
        torch.set_num_threads(1)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def race(benchmark):
    """Time functions interleaved: {key: function} -> {key: [seconds, ...]}.

    Every round runs each function for about `slice_s` seconds, in an order
    that alternates, after two calls each as warm-up; a value is the mean
    seconds per call of one round. All sizes of a benchmark go into one race.
    """

    def run(contestants, rounds=7, slice_s=0.05):
        counts = {}
        for key, go in contestants.items():
            go()
            start = time.perf_counter()
            go()
            spent = time.perf_counter() - start
            counts[key] = max(1, round(slice_s / spent))
        seconds = {key: [] for key in contestants}
        orders = itertools.cycle([list(contestants), list(contestants)[::-1]])

        def one_round():
            for key in next(orders):
                start = time.perf_counter()
                for _ in range(counts[key]):
                    contestants[key]()
                spent = time.perf_counter() - start
                seconds[key].append(spent / counts[key])

        wait_until_quiet()
        benchmark.pedantic(one_round, rounds=rounds)
        return seconds

    return run


def wait_until_quiet(patience_s=120):
    """Wait for other programs to leave the CPU alone."""
    deadline = time.monotonic() + patience_s
    while psutil.cpu_percent(interval=1.0) > QUIET:
        if time.monotonic() > deadline:
            pytest.fail(f"the CPU stayed busier than {QUIET} % for 2 minutes")


@pytest.fixture
def peak_memory():
    """Bytes of memory a call needs at its peak, its result included.

    Linux only: the kernel's own high-water mark of this process, reset
    before the call, so that every allocator counts.
    """

    def measure(go):
        ctypes.CDLL(None).malloc_trim(0)  # freed pages would hide new ones
        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        result = go()
        peak = _status("VmHWM")
        del result
        return max(0, peak - before)

    return measure


def _status(field):
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0]) * 1024
