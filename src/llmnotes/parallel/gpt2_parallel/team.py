"""Fork and join: some threads share the items of one loop.

    item     = a piece of a loop that no other piece disturbs: 0 … items - 1
    queue    = [next item], one for each way to share
    schedule = where each thread's queue starts, its step, and where it ends
    scratch  = a thread's own memory
    worker   = compiled loop that takes items from a queue until none is left

A worker needs no GIL, so plain Python threads are enough. They are started
once and wait. A fork of numba's `prange` costs less,
but its threads belong to the process: after `os.fork` none of them is there.

Sources
- Blumofe and Leiserson 1999, "Scheduling Multithreaded Computations by Work
  Stealing", §1 (static schedules lose where items differ).
"""

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numba import njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from llmnotes.checks import check_sizes

# Sums may be taken apart; NaN stays NaN, which full fastmath would not keep.
# What such a loop calls inherits it, and `exp2` of tiles does not bear that.
FAST = {
    "nogil": True,
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
    "error_model": "numpy",
}


@intrinsic
def take(typing, queue, step):
    """The next item; the queue moves on by `step`, as one operation."""

    def emit(context, builder, signature, args):
        queue = make_array(signature.args[0])(context, builder, args[0])
        step = context.cast(builder, args[1], signature.args[1], types.int64)
        return builder.atomic_rmw("add", queue.data, step, "monotonic")

    return types.int64(queue, step), emit


@njit(nogil=True)
def taken(queue, step, end):
    """Items of a queue, as long as there are any."""
    item = take(queue, step)
    while item < end:
        yield item
        item = take(queue, step)


class Share(NamedTuple):
    """What one thread takes of a loop: first, first + step, … below end."""

    queue: np.ndarray
    step: int
    end: int


def queue(first: int) -> np.ndarray:
    """A queue in a cache line of its own: 8 numbers of which one is used."""
    return np.full(8, first, np.int64)


def dynamic(items: int, threads: int) -> list[Share]:
    """Whoever is free takes the next item: one queue for all."""
    return [Share(queue(0), 1, items)] * threads


def in_blocks(items: int, threads: int) -> list[Share]:
    """The first items to the first thread, and so on, as equal as can be."""
    edges = [items * i // threads for i in range(threads + 1)]
    return [
        Share(queue(first), 1, last)
        for first, last in zip(edges[:-1], edges[1:], strict=True)
    ]


def in_turns(items: int, threads: int) -> list[Share]:
    """Dealt like cards: thread i gets the items i, i + threads and so on."""
    return [Share(queue(i), threads, items) for i in range(threads)]


class Team:
    """The calling thread and threads - 1 others, which wait for work.

    Each has `scratch` float32 numbers of its own. `close` ends the others,
    and so does the end of the process. Raises `ValueError` for no threads.
    """

    def __init__(self, threads: int, scratch: int = 0, schedule=dynamic):
        check_sizes(threads=threads)
        self.threads, self.schedule = threads, schedule
        self.scratch = np.empty((threads, 0), np.float32)
        self.reserve(scratch)
        self.others = [Helper() for _ in range(threads - 1)]

    def reserve(self, scratch: int) -> None:
        """Make each thread's memory at least so large."""
        if scratch > self.scratch.shape[1]:
            # From torch, which aligns memory to a cache line.
            size = -(-scratch // 16) * 16
            self.scratch = torch.empty(self.threads, size).numpy()

    def run(self, worker: Callable, items: int, *args) -> None:
        """worker(*share, scratch, *args) in every thread; wait for all.

        Raises what a thread raised, and `RuntimeError` after `close`. Ctrl-C
        is heard when all threads have done their share.
        """
        if len(self.others) != self.threads - 1:
            raise RuntimeError("team: got work, expected none after close()")
        first, *shares = self.schedule(items, self.threads)
        # With nothing to do it compiles, which two must not do at once.
        worker(first.queue, first.step, -1, self.scratch[0], *args)
        first.queue[0] = 0
        started = []
        try:
            for other, share, own in zip(
                self.others, shares, self.scratch[1:], strict=True
            ):
                started.append(other)
                other.start(worker, *share, own, *args)
            worker(*first, self.scratch[0], *args)
        finally:
            errors = [other.wait() for other in started]
        for error in filter(None, errors):
            raise error

    def close(self) -> None:
        """End the other threads."""
        for other in self.others:
            other.start(None)
        self.others = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Helper:
    """A thread between two locks: one opens for work, one when it is done."""

    def __init__(self):
        self.work, self.done = threading.Lock(), threading.Lock()
        self.work.acquire()
        self.done.acquire()
        self.job = self.error = None
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def start(self, *job) -> None:
        """Hand over a function and its arguments; None ends the thread."""
        self.job, self.error = job, None
        self.work.release()

    def wait(self) -> BaseException | None:
        """Until the job is done; what it raised.

        Ctrl-C is heard afterwards: who went on before would share the memory
        with a thread that still writes.
        """
        stopped = None
        while True:
            try:
                self.done.acquire()
                break
            except KeyboardInterrupt as error:
                stopped = error
        return stopped or self.error

    def loop(self) -> None:
        """Job after job."""
        while True:
            self.work.acquire()
            function, *args = self.job
            if function is None:
                return
            try:
                function(*args)
            except BaseException as error:
                self.error = error
            self.done.release()
