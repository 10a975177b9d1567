"""An executor that runs kernels on the CPU and watches every access.

    loads, stores = elements read from and written to global memory
    epoch         = the stretch of a block's life between two barriers
    race          = two threads touch a cell in one epoch, one of them writes

The threads of a block run one after the other, each up to its next barrier,
so that a run is the same every time; shared and local memory start as NaN,
so that a value read before it is written shows. What this schedule happens
to forgive is found in the record of who touched which cell in which epoch: a
missing barrier is reported even where the numbers come out right. Classes
that act on every access stay free of run-time type checks.
"""

import collections
import dataclasses
import sys
import threading
import types
from typing import no_type_check

import numpy as np

from llmnotes.cuda.launch import as_numpy

Dim3 = collections.namedtuple("Dim3", "x y z", defaults=(1, 1))


@dataclasses.dataclass
class Trace:
    """Executor for `launch.using`; counts add up over its launches."""

    loads: int = 0
    stores: int = 0
    races: list[str] = dataclasses.field(default_factory=list)
    epoch: int = 0

    def __call__(self, kernel, grid, block, *arguments) -> None:
        """Run every block of the grid, changing arrays in place."""
        grid, block = dim3(grid), dim3(block)
        arguments = [
            Memory.of(a, GlobalLog(self, f"argument {i}"))
            if isinstance(a, np.ndarray)
            else a
            for i, a in enumerate(map(as_numpy, arguments))
        ]
        for place in points(grid):
            cuda = FakeCuda(self, grid, block)
            function = rebuild(kernel.py_func, cuda, {})
            workers = [
                Worker(function, arguments, place, thread, number)
                for number, thread in enumerate(points(block))
            ]
            run_block(workers, self)

    def report(self, name, cell, what) -> None:
        """Note a race, in words."""
        me = threading.current_thread()
        self.races.append(
            f"{name}, element {cell}: {what}, by thread "
            f"{tuple(me.threadIdx)} of block {tuple(me.blockIdx)}"
        )


def dim3(size) -> Dim3:
    """A launch size as three numbers."""
    return Dim3(*size) if isinstance(size, tuple) else Dim3(size)


def points(size: Dim3):
    """All indices within a launch size, x fastest as on the GPU."""
    for z, y, x in np.ndindex(size.z, size.y, size.x):
        yield Dim3(x, y, z)


@no_type_check
class Worker(threading.Thread):
    """One thread of a block; runs only while `step` waits for it."""

    def __init__(self, function, arguments, block, thread, number):
        super().__init__(daemon=True)
        self.work = function, arguments
        self.blockIdx, self.threadIdx, self.number = block, thread, number
        self.shared_arrays = 0
        self.finished, self.error = False, None
        self.turn = threading.Semaphore(0)
        self.pause = threading.Semaphore(0)
        self.start()

    def run(self) -> None:
        """Run the kernel; an error waits to be raised by `run_block`."""
        self.turn.acquire()
        function, arguments = self.work
        try:
            function(*arguments)
        except Exception as error:
            self.error = error
        self.finished = True
        self.pause.release()

    def step(self) -> None:
        """Let the thread run up to its next barrier, or to its end."""
        self.turn.release()
        self.pause.acquire()

    def barrier(self) -> None:
        """What `syncthreads` means here: hand over and wait."""
        self.pause.release()
        self.turn.acquire()


def run_block(workers: list[Worker], trace: Trace) -> None:
    """Run the threads of a block in rounds, from barrier to barrier."""
    while workers:
        trace.epoch += 1
        for worker in workers:
            worker.step()
            if worker.error:
                raise worker.error
        waiting = [w for w in workers if not w.finished]
        if waiting and len(waiting) < len(workers):
            trace.races.append("a barrier that not all threads reach")
        workers = waiting


@no_type_check
class FakeCuda:
    """The names of `numba.cuda` that kernels use, for one block."""

    def __init__(self, trace: Trace, grid: Dim3, block: Dim3):
        self.trace, self.gridDim, self.blockDim = trace, grid, block
        self.shared = types.SimpleNamespace(array=self.shared_array)
        self.local = types.SimpleNamespace(array=nan_array)
        self.arrays = []

    threadIdx = property(lambda self: threading.current_thread().threadIdx)
    blockIdx = property(lambda self: threading.current_thread().blockIdx)

    def syncthreads(self) -> None:
        """Wait until every thread of the block is here."""
        threading.current_thread().barrier()

    def grid(self, axes: int) -> tuple[int, ...]:
        """The thread's place in the whole grid."""
        me = threading.current_thread()
        place = (
            b * n + t
            for b, n, t in zip(
                me.blockIdx, self.blockDim, me.threadIdx, strict=True
            )
        )
        return tuple(place)[:axes]

    def shared_array(self, shape, dtype) -> "Memory":
        """The k-th call of every thread gets the block's k-th array."""
        me = threading.current_thread()
        k = me.shared_arrays
        me.shared_arrays += 1
        if k == len(self.arrays):
            log = Log(self.trace, f"shared array {k}")
            self.arrays.append(Memory.of(nan_array(shape, dtype), log))
        return self.arrays[k]


def nan_array(shape, dtype) -> np.ndarray:
    """Memory as a kernel finds it: nothing there to rely on."""
    return np.full(shape, np.nan, dtype)


def rebuild(function, cuda: FakeCuda, done: dict):
    """The same code with `cuda` for numba's, device functions included."""
    if function not in done:
        names = {}
        done[function] = types.FunctionType(
            function.__code__,
            names,
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        for name, thing in function.__globals__.items():
            if thing is sys.modules["numba.cuda"]:
                thing = cuda
            elif hasattr(thing, "py_func"):
                thing = rebuild(thing.py_func, cuda, done)
            names[name] = thing
    return done[function]


@no_type_check
class Memory:
    """An array that reports each access to a log.

    `cells` numbers the elements of the whole array, so that a slice or a
    transposed view still names the element it touches.
    """

    def __init__(self, values, cells, log):
        self.values, self.cells, self.log = values, cells, log
        self.shape = values.shape

    @classmethod
    def of(cls, values, log) -> "Memory":
        """The memory of a whole array."""
        cells = np.arange(values.size).reshape(values.shape)
        return cls(values, cells, log)

    T = property(lambda self: Memory(self.values.T, self.cells.T, self.log))

    def __getitem__(self, index):
        cell = self.cells[index]
        if isinstance(cell, np.ndarray):
            return Memory(self.values[index], cell, self.log)
        self.log.load(cell)
        return self.values[index]

    def __setitem__(self, index, value):
        self.log.store(self.cells[index])
        self.values[index] = value


@no_type_check
class Log:
    """Who touched which cell of an array in the present epoch."""

    def __init__(self, trace: Trace, name: str):
        self.trace, self.name = trace, name
        self.seen = {}

    def load(self, cell) -> None:
        """A read races with another thread's write of the same epoch."""
        me = threading.current_thread().number
        writer, readers = self.entry(cell)
        if writer not in (None, me):
            self.trace.report(self.name, cell, f"read, written by {writer}")
        readers.add(me)

    def store(self, cell) -> None:
        """A write races with any other thread's access of the epoch."""
        me = threading.current_thread().number
        writer, readers = self.entry(cell)
        others = (readers | {writer}) - {None, me}
        if others:
            self.trace.report(self.name, cell, f"written, used by {others}")
        self.seen[cell] = self.trace.epoch, me, readers

    def entry(self, cell):
        """Writer and readers of the cell, forgotten at every barrier."""
        epoch, writer, readers = self.seen.get(cell, (None, None, None))
        if epoch != self.trace.epoch:
            writer, readers = None, set()
            self.seen[cell] = self.trace.epoch, writer, readers
        return writer, readers


@no_type_check
class GlobalLog(Log):
    """Counts too; and blocks have no order among themselves at all."""

    def __init__(self, trace: Trace, name: str):
        super().__init__(trace, name)
        self.read_by, self.written_by = {}, {}

    def load(self, cell) -> None:
        """Count, and compare with what other blocks wrote."""
        self.trace.loads += 1
        block = threading.current_thread().blockIdx
        if self.written_by.get(cell, block) != block:
            self.trace.report(self.name, cell, "read, another block wrote it")
        if self.read_by.setdefault(cell, block) != block:
            self.read_by[cell] = "several blocks"
        super().load(cell)

    def store(self, cell) -> None:
        """Count, and compare with what other blocks read or wrote."""
        self.trace.stores += 1
        block = threading.current_thread().blockIdx
        for who in (self.read_by, self.written_by):
            if who.get(cell, block) != block:
                self.trace.report(self.name, cell, "written by two blocks")
        self.written_by[cell] = block
        super().store(cell)
