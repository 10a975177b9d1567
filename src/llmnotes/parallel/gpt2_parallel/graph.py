"""Who must wait for whom: a graph read off what tasks read and write.

    task   = a call of a kernel on a piece of the work
    piece  = rows start to stop of one layer of a tensor; None: all of it
    needs  = the tasks that a task waits for, by their place in the list
    work   = seconds of all tasks together: one thread needs so long
    span   = seconds of the longest way through the graph: no number of
             threads is faster

The list has an order, that of the serial step. A task waits for an earlier
one if both touch the same rows and one of them writes there. So two tasks
that add to one gradient add in the order of the list, whoever runs them.

Sources
- Graham 1969, "Bounds on Multiprocessing Timing Anomalies", SIAM J. Applied
  Mathematics 17 (a greedy schedule needs at most work/p + span).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Piece(NamedTuple):
    """Rows of a tensor, or of one of its layers."""

    name: str
    layer: int | None = None
    start: int | None = None
    stop: int | None = None

    @property
    def rows(self) -> tuple[float, float]:
        """First and last row, the whole as 0 to ∞."""
        if self.start is None:
            return 0, math.inf
        return self.start, self.stop


class Task(NamedTuple):
    """A kernel by its name; its arguments are pieces and plain numbers."""

    name: str
    layer: int | None
    block: int
    arguments: tuple[Piece | int | None, ...]
    reads: tuple[Piece, ...]
    writes: tuple[Piece, ...]


class Touch(NamedTuple):
    """That a task has been at some rows."""

    rows: tuple[float, float]
    task: int
    wrote: bool


def needs(tasks: Sequence[Task]) -> list[set[int]]:
    """For each task those before it that it has to wait for."""
    touched: dict[tuple, list[Touch]] = {}
    found = []
    for number, task in enumerate(tasks):
        mine = [(p, False) for p in task.reads]
        mine += [(p, True) for p in task.writes]
        waits = set()
        for piece, writes in mine:
            for touch in touched.get(piece[:2], ()):
                if (writes or touch.wrote) and meet(piece.rows, touch.rows):
                    waits.add(touch.task)
        for piece, writes in mine:
            note(touched.setdefault(piece[:2], []), piece, number, writes)
        found.append(waits - {number})
    return found


def meet(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Whether two stretches of rows have one in common."""
    return a[0] < b[1] and b[0] < a[1]


def note(touches: list[Touch], piece: Piece, task: int, wrote: bool) -> None:
    """Remember a touch; a write stands for all that it covers."""
    low, high = piece.rows
    if wrote:
        touches[:] = [
            t for t in touches if t.rows[0] < low or t.rows[1] > high
        ]
    touches.append(Touch(piece.rows, task, wrote))


def ends(waits: Sequence[set[int]], seconds: Sequence[float]) -> list[float]:
    """When each task ends if nobody ever lacks a thread."""
    found: list[float] = []
    for mine, spent in zip(waits, seconds, strict=True):
        found.append(spent + max((found[i] for i in mine), default=0.0))
    return found


def critical_path(
    waits: Sequence[set[int]], seconds: Sequence[float]
) -> list[int]:
    """The tasks of the longest way, first to last."""
    found = ends(waits, seconds)
    path = [max(range(len(found)), key=found.__getitem__)]
    while waits[path[-1]]:
        path.append(max(waits[path[-1]], key=found.__getitem__))
    return path[::-1]


class Bound(NamedTuple):
    """What a graph allows on some threads, in seconds."""

    work: float
    span: float
    least: float  # no schedule is faster
    most: float  # no greedy schedule is slower


def bound(
    waits: Sequence[set[int]], seconds: Sequence[float], threads: int
) -> Bound:
    """Work, span, and between what the time must lie."""
    work, span = math.fsum(seconds), max(ends(waits, seconds))
    least = max(work / threads, span)
    return Bound(work, span, least, (work - span) / threads + span)


def find(tensors: Mapping[str, Any], piece: Piece | int | None) -> Any:
    """The array at a piece: a view; a number or None is itself."""
    if not isinstance(piece, Piece):
        return piece
    found = tensors[piece.name]
    if piece.layer is not None:
        found = found[piece.layer]
    return found if piece.start is None else found[piece.start : piece.stop]
