"""A training step: what is handed out in it, and two processes that share it.

recorded = operations of which autograd keeps a backward
asked    = operations that PyTorch is asked for in one step, sorted
"""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, QUERY

SORTS = "transformer/training_step_drawn:sorts"
FUSED = "transformer.training_step.fused"
CORES = "parallel.data_parallel.cores"
SORTED = {
    "products": f"{KEY} solid bare",
    "others": f"{KEY} flow",
    "views": "soft flow",
}
CELL, COLUMNS = 7.9, 41  # px of an operation, operations in a row
ROWS = 12  # of them; the last is not full
LONG, HIGH, GAP = 322, 22, 6  # px of autograd's chain, between its blocks
FRONT = 3  # operations before the blocks: two embeddings and their sum


def operations(page) -> Drawing:
    """Above, what autograd records; below, what PyTorch is asked for."""
    plain, fused = rows(page, SORTS)
    wide, narrow = Pen(680, 244), Pen(343, 504)
    for pen, x, y in ((wide, 354, 0), (narrow, 8, 260)):
        left = 1 if pen is wide else 8
        _panel(pen, page, left, 0, plain, inside(plain, fused))
        _panel(pen, page, x, y, fused, 1)
    return Drawing(wide, narrow, reads=(SORTS,))


def inside(row, other) -> int:
    """Return how many operations a block is, where in `other` it is one.

    Raises `ValueError` where blocks are not all that differs.
    """
    more, left = divmod(row["recorded"] - other["recorded"], row["layers"])
    if left:
        raise ValueError(f"{left} operations more than the blocks'")
    return more + 1


def _panel(pen, page, x, y, row, block) -> None:
    """One way to take the step; each block is so many operations."""
    symbol = f"{FUSED}:BlockFunction" if block == 1 else ""
    with signs.linked(pen, page, symbol):
        name = "each block fused" if symbol else row["model"]
        pen.text(x, y + 10, name, "bold go" if symbol else "bold", "start")
    words = f"autograd records {row['recorded']} operations, {block} a block"
    pen.text(x, y + 34, words, "small", "start")
    _chain(pen, x, y + 46, row, block)
    asked = sum(row[sort] for sort in SORTED)
    words = f"PyTorch is asked for {asked}, one by one"
    pen.text(x, y + 92, words, "small", "start")
    _asked(pen, x, y + 104, row)


def _chain(pen, x, y, row, block) -> None:
    """What autograd records: a cell for each, a frame for each block."""
    layers = row["layers"]
    outside = row["recorded"] - layers * block
    cell = 4.2
    size = (LONG - outside * cell - (layers + 1) * GAP) / layers
    pen.line(x, y + HIGH / 2, x + LONG, y + HIGH / 2, "soft")
    _ticks(pen, x, y + HIGH / 4, FRONT, cell)
    at = x + FRONT * cell + GAP
    for _ in range(layers):
        pen.put(
            "rect", f"{QUERY} flow", x=at, y=y, width=size, height=HIGH, rx=2
        )
        _cuts(pen, at, y, size, block)
        at += size + GAP
    _ticks(pen, at, y + HIGH / 4, outside - FRONT, cell)


def _ticks(pen, x, y, count, cell) -> None:
    """Operations outside of the blocks."""
    wide, high = count * cell, HIGH / 2
    pen.put("rect", "box bare", x=x, y=y, width=wide, height=high)
    pen.put("rect", f"{QUERY} flow", x=x, y=y, width=wide, height=high)
    cuts = "".join(f"M{x + i * cell:.1f} {y:g}v{high:g}" for i in range(count))
    pen.path(cuts, "cell")


def _cuts(pen, x, y, size, block) -> None:
    """Cut a block into its operations, in two rows."""
    if block == 1:
        return
    across = -(-block // 2)
    cell = size / across
    cuts = f"M{x:.1f} {y + HIGH / 2:g}h{size:.1f}"
    for i in range(1, across):
        odd = i == across - 1 and block % 2
        high = HIGH / 2 if odd else HIGH
        cuts += f"M{x + i * cell:.1f} {y:g}v{high:g}"
    pen.path(cuts, "cell")


def _asked(pen, x, y, row) -> None:
    """A cell for each operation, of one colour with those of its sort."""
    first, at = 0, x
    for sort, kind in SORTED.items():
        _run(pen, x, y, first, first + row[sort], kind)
        first += row[sort]
        low = y + ROWS * CELL + 18
        pen.put("rect", kind, x=at, y=low - 5, width=10, height=10)
        words = f"{row[sort]} {sort}"
        pen.text(at + 16, low, words, "small", "start")
        at += 112
    down = "".join(
        f"M{x} {y + i * CELL:.1f}h{COLUMNS * CELL:.1f}" for i in range(1, ROWS)
    )
    across = "".join(
        f"M{x + i * CELL:.1f} {y}v{ROWS * CELL:.1f}" for i in range(1, COLUMNS)
    )
    pen.path(down + across, "cell")


def _run(pen, x, y, first, last, kind) -> None:
    """Cells one after another, row by row, as one mark."""
    shape = ""
    while first < last:
        row, column = divmod(first, COLUMNS)
        stop = min(last, (row + 1) * COLUMNS)
        wide = (stop - first) * CELL
        left = x + column * CELL
        shape += (
            f"M{left:.1f} {y + row * CELL:.1f}h{wide:.1f}v{CELL}h-{wide:.1f}z"
        )
        first = stop
    pen.path(shape, kind)


class _Way:
    """A plane of time and place: time runs to the right, or downwards.

    lanes = where each process lies across the time, from and to
    """

    def __init__(self, pen, down, scale, lanes, shared):
        self.pen, self.down, self.scale = pen, down, scale
        self.lanes, self.shared = lanes, shared

    def at(self, time, across) -> tuple[float, float]:
        """A place on the page."""
        time = time * self.scale
        return (across, time) if self.down else (time, across)

    def box(self, start, end, low, high, words="", kind="") -> None:
        """A box from one time to another."""
        (x1, y1), (x2, y2) = self.at(start, low), self.at(end, high)
        self.pen.box(x1, y1, x2 - x1, y2 - y1, words, kind)

    def way(self, *points, kind="") -> None:
        """An arrow through points of time and place."""
        self.pen.elbow([self.at(*p) for p in points], kind)

    def line(self, *points, kind="") -> None:
        """A line through points of time and place."""
        self.pen.curve([self.at(*p) for p in points], kind)


BEGIN, FOUND, MOVED = 44, 372, 636  # times; not measured
DONE = ((FOUND - 66, MOVED - 14), (FOUND - 14, MOVED - 56))
MEETINGS = {BEGIN: "to begin", FOUND: "after finding", MOVED: "after moving"}
COLOURS = (QUERY, KEY)


def meetings(page) -> Drawing:
    """Two processes, the memory between them, and where they wait."""
    wide, narrow = Pen(680, 232), Pen(343, 522)
    for way in (
        _Way(wide, False, 1.0, ((26, 76), (178, 228)), (104, 150)),
        _Way(narrow, True, 0.8, ((2, 112), (231, 341)), (138, 205)),
    ):
        _meet(way)
        for process in range(2):
            _works(way, page, process)
        _memory(way)
    return Drawing(wide, narrow)


def _meet(way) -> None:
    """A line across both for every meeting."""
    (low, _), (_, high) = way.lanes
    for time, words in MEETINGS.items():
        way.line((time, low - 2), (time, high + 2), kind="accent thick")
        x, y = way.at(time, way.lanes[1][0] + 55)
        if way.down:
            way.pen.box(x - 46, y - 9, 92, 18, words, "bare")
        else:
            way.pen.text(x, 10, words)


def _works(way, page, process) -> None:
    """One process: finds, waits, moves, waits."""
    low, high = way.lanes[process]
    found, moved = DONE[process]
    middle, kind = (low + high) / 2, f"{COLOURS[process]} tint"
    way.line((found, middle), (FOUND - 3, middle), kind="soft dashed")
    way.line((moved, middle), (MOVED - 3, middle), kind="soft dashed")
    if found < FOUND - 40:
        x, y = way.at((found + FOUND) / 2, middle)
        way.pen.text(x, y - 11 if not way.down else y, "waits", "small halo")
    with signs.linked(way.pen, page, f"{CORES}:Worker.find"):
        way.box(BEGIN + 14, found, low, high, kind=kind)
        x, y = way.at((BEGIN + 14 + found) / 2, middle)
        words = f"process {process + 1} finds\ngradients of its\nsequences"
        if not way.down:
            words = f"process {process + 1} finds gradients\nof its sequences"
        way.pen.text(x, y, words, "small go")
    with signs.linked(way.pen, page, f"{CORES}:Worker.move"):
        way.box(FOUND + 14, moved, low, high, kind=kind)
        x, y = way.at((FOUND + 14 + moved) / 2, middle)
        words = "adds up both\nand moves its half\nof the parameters"
        way.pen.text(x, y, words, "small go")


def _memory(way) -> None:
    """Gradients side by side, parameters in two halves."""
    low, high = way.shared
    half = (low + high) / 2
    for time, words in (
        (FOUND - 120, "gradients"),
        (MOVED - 104, "parameters"),
    ):
        x, y = way.at(time, half)
        if way.down:
            way.pen.text(x, y - 9, words, "small")
        else:
            way.pen.text(x - 8, y, words, "small", "end")
    start, end = FOUND - 120, FOUND + 60
    for process, (a, b) in enumerate(((low, half), (half, high))):
        kind = f"{COLOURS[process]} tint"
        lane = way.lanes[process][1 - process]
        edge = (low, high)[process]
        way.way((start + 20, lane), (start + 20, edge), kind=COLOURS[process])
        way.way((end - 20, edge), (end - 20, lane), kind="soft")
        way.way((MOVED - 64, lane), (MOVED - 64, edge), kind=COLOURS[process])
        way.box(start, end, a, b, kind=kind)
        way.box(MOVED - 104, MOVED - 24, a, b, kind=kind)
