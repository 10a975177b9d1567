"""Segments that see those before; and three lines of cells, moved.

In the first picture a filled cell is computed with the newest token's
segment, a tinted one is remembered, and all of both reach the newest token.
In the second the colour says which query a score belongs to, the number its
lag.
"""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, MEMORY, QUERY, STREAM, VALUE

SEGMENT, SEGMENTS = 4, 3
ROWS = ("layer 2", "layer 1", "tokens")
HIGH, GAP, TOP = 22, 52, 44  # px of a cell, from row to row, of the first
SIDE = 3  # queries and keys of the shift
COLOURS = QUERY, KEY, VALUE  # of its queries


def segments(page) -> Drawing:
    """Two layers over three segments, and what reaches the last token."""
    pens = Pen(620, 236), Pen(343, 236)
    for pen in pens:
        _segments(pen, page)
    return Drawing(*pens)


def _segments(pen, page) -> None:
    left = 90 if pen.width > 400 else 56
    step = (pen.width - left - 4) / (SEGMENT * SEGMENTS)
    for depth, words in enumerate(ROWS):
        y = TOP + depth * GAP
        pen.text(2, y + HIGH / 2, words, "small", "start")
        for i in range(SEGMENT * SEGMENTS):
            _state(pen, left + i * step, y, step, _look(depth, i))
    with signs.linked(pen, page, "models.transformer_xl.memory:Memory"):
        border = left + 2 * SEGMENT * step
        pen.text(border - 8, 14, "memory", f"{MEMORY} small bold go", "end")
    pen.text(border + 6, 14, "newest segment", "small", "start")
    for i in range(1, SEGMENTS):
        x = left + i * SEGMENT * step - 1
        pen.line(x, 26, x, TOP + 2 * GAP + HIGH + 6, "soft dashed")
    for i in range(SEGMENTS):
        middle = left + (i + 0.5) * SEGMENT * step
        pen.text(middle, TOP + 2 * GAP + 38, f"segment {i + 1}", "small")
    pen.text(
        left, TOP + 2 * GAP + 62, "no gradient passes a dashed line",
        "small soft", "start",
    )  # fmt: skip
    newest = SEGMENT * SEGMENTS - 1
    _fan(pen, left, step, 0, newest, SEGMENT)
    _fan(pen, left, step, 1, SEGMENT, 0)


def _look(depth: int, i: int) -> str:
    """How a state is drawn: new, remembered, or nothing to the newest."""
    newest = SEGMENT * SEGMENTS - 1
    if depth == 0:
        return f"{STREAM} solid" if i == newest else "soft ghost"
    if i >= newest - SEGMENT + 1:
        return f"{QUERY} solid"
    remembered = i >= (SEGMENTS - 1 - depth) * SEGMENT
    return f"{MEMORY} tint" if remembered else "soft ghost"


def _state(pen, x, y, step, look) -> None:
    pen.put(
        "rect", f"box {look}", x=x + 1.5, y=y, width=step - 5, height=HIGH,
        rx=2,
    )  # fmt: skip


def _fan(pen, left, step, depth, at, first) -> None:
    """From one state to the first and the last that it sees below."""
    top = TOP + depth * GAP + HIGH + 1
    x = left + (at + 0.5) * step - 1
    for end in (first, at):
        below = left + (end + 0.5) * step - 1
        pen.line(x, top, below, top + GAP - HIGH - 2, f"{QUERY} thin")


def shift(page) -> Drawing:
    """Three queries' scores by lag, cut anew, and by key."""
    wide, narrow = Pen(560, 178), Pen(343, 178)
    _shift(wide, page, 34, 74)
    _shift(narrow, page, 25, 40)
    return Drawing(wide, narrow)


def _shift(pen, page, size, gap) -> None:
    """A column of zeros in front, cut into rows of three, the first gone."""
    lags = [[*range(SIDE - 1, -1, -1)] for _ in range(SIDE)]
    padded = [
        (query, lag) for query, row in enumerate(lags) for lag in (None, *row)
    ]
    x, y = 6, 40
    pen.text(x, 16, "by lag", "small bold", "start")
    for i in range(SIDE):
        for j in range(SIDE + 1):
            _score(pen, x, y, size, i, j, padded[i * (SIDE + 1) + j])
    second = x + (SIDE + 1) * size + gap
    pen.text(second, 16, "cut anew", "small bold", "start")
    for place, score in enumerate(padded):
        i, j = divmod(place, SIDE)
        _score(pen, second, y, size, i, j, score, gone=i == 0)
    third = second + SIDE * size + gap
    with signs.linked(pen, page, "models.transformer_xl.relative:shift"):
        pen.text(third, 16, "by key", "small bold go", "start")
    for place, score in enumerate(padded[SIDE:]):
        i, j = divmod(place, SIDE)
        _score(pen, third, y, size, i, j, score, gone=j > i)
    for start in (second, third):
        middle = y + SIDE * size / 2
        pen.arrow(start - gap + 8, middle, start - 8, middle)


def _score(pen, x, y, size, i, j, score, gone=False) -> None:
    """A cell with its lag, in the colour of its query."""
    query, lag = score
    look = "soft ghost" if gone or lag is None else f"{COLOURS[query]} tint"
    pen.put(
        "rect", f"box {look}", x=x + j * size + 1, y=y + i * size + 1,
        width=size - 2, height=size - 2, rx=2,
    )  # fmt: skip
    middle = x + (j + 0.5) * size, y + (i + 0.5) * size
    letters = "small soft" if gone or lag is None else "small"
    pen.text(*middle, "–" if lag is None else f"{lag}", letters)
