"""Tasks run by threads: each takes the first in the list that may begin.

    graph   = the tasks of a step and who waits for whom
    ready   = tasks whose needs are all done
    kernels = one set for each thread; what they call must release the GIL,
              or threads take turns
    done    = (task, thread, start, stop) of each task that ran, in seconds

Sources
- Blumofe and Leiserson 1999, "Scheduling Multithreaded Computations by Work
  Stealing", J. ACM 46 (greedy schedules).
"""

import heapq
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from llmnotes.parallel.gpt2_parallel.graph import Task, find, needs


class Graph:
    """Tasks in their serial order, and who waits for whom."""

    def __init__(self, tasks: Sequence[Task]):
        self.tasks, self.needs = list(tasks), needs(tasks)
        self.followers: list[list[int]] = [[] for _ in self.tasks]
        for number, waits in enumerate(self.needs):
            for other in waits:
                self.followers[other].append(number)


class Done(NamedTuple):
    """What ran, where and when; times are those of `perf_counter`."""

    task: int
    thread: int
    start: float
    stop: float


class Board:
    """What is ready, for threads that ask; nobody waits in vain."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.left = [len(waits) for waits in graph.needs]
        self.ready = [i for i, count in enumerate(self.left) if not count]
        self.open, self.failed = len(self.left), False
        self.change = threading.Condition()

    def take(self) -> int | None:
        """The first task that may begin; None when no other will."""
        with self.change:
            while self.open and not self.ready and not self.failed:
                self.change.wait()
            if self.failed or not self.ready:
                return None
            return heapq.heappop(self.ready)

    def finish(self, number: int) -> None:
        """A task is done: those that waited only for it are ready."""
        with self.change:
            self.open -= 1
            for other in self.graph.followers[number]:
                self.left[other] -= 1
                if not self.left[other]:
                    heapq.heappush(self.ready, other)
            self.change.notify_all()

    def stop(self) -> None:
        """A task failed: no other begins."""
        with self.change:
            self.failed = True
            self.change.notify_all()


def execute(
    graph: Graph, kernels: Sequence[Any], tensors: Mapping[str, Any]
) -> list[Done]:
    """Run all tasks on as many threads as there are sets of kernels.

    Raises what a task raised, after the others have ended.
    """
    board = Board(graph)
    with ThreadPoolExecutor(len(kernels)) as threads:
        futures = [
            threads.submit(work, board, number, one, tensors)
            for number, one in enumerate(kernels)
        ]
        return [done for future in futures for done in future.result()]


def work(
    board: Board, thread: int, kernels: Any, tensors: Mapping[str, Any]
) -> list[Done]:
    """Be one of the threads: task after task until none is left."""
    done = []
    while (number := board.take()) is not None:
        task = board.graph.tasks[number]
        start = time.perf_counter()
        try:
            arrays = [find(tensors, piece) for piece in task.arguments]
            getattr(kernels, task.name)(*arrays)
        except BaseException:
            board.stop()
            raise
        done.append(Done(number, thread, start, time.perf_counter()))
        board.finish(number)
    return done


def in_order(done: Sequence[Done]) -> list[float]:
    """Seconds of each task, in the order of the list."""
    found = sorted((one.task, one.stop - one.start) for one in done)
    return [seconds for _, seconds in found]
