"""A model in stages, and four timelines of four ranks.

The timelines are those of real runs: every message carried the time of its
sender. A filled box is the rank's first stage, an outlined one its second.
"""

from itertools import groupby

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, QUERY, VALUE

RESULT = "parallel/pipeline:timeline"
ORDERS = {
    "GPipe": "gpipe",
    "1F1B": "one_f_one_b",
    "interleaved": "interleaved",
    "ZB-H1": "zero_bubble",
}
LONG = {"F": 1, "B": 2, "I": 1, "W": 1}  # units of an event
COLOURS = {"F": QUERY, "B": KEY, "I": KEY, "W": VALUE}
WORDS = {
    "F": "forward",
    "B": "backward; in ZB-H1 for inputs only",
    "W": "backward for weights",
}
LEFT, ROW, PANEL = 14, 17, 104  # px
RANKS = 4


def schedules(page) -> Drawing:
    """All four, one below the other."""
    found = {
        name: list(group)
        for name, group in groupby(rows(page, RESULT), lambda r: r["schedule"])
    }
    pens = Pen(656, 4 * PANEL + 24), Pen(343, 4 * PANEL + 64)
    for pen in pens:
        for i, (name, ranks) in enumerate(found.items()):
            _panel(pen, page, i * PANEL, name, ranks)
        _legend(pen, 4 * PANEL + 8)
    return Drawing(*pens, reads=(RESULT,))


def _panel(pen, page, top, name, ranks) -> None:
    """One schedule: a title, what it comes to, a row for each rank."""
    chunks = 2 if name == "interleaved" else 1
    unit = (pen.width - LEFT - 2) / 33 / chunks
    code = f"parallel.pipeline.orders:{ORDERS[name]}"
    with signs.linked(pen, page, code):
        pen.text(LEFT, top + 12, name, "small bold go", "start")
    end = signs.short(max(r["end"] for r in ranks) / chunks, 1)
    held = ", ".join(signs.short(r["held"] / chunks, 1) for r in ranks)
    words = f"ends at {end}, holds {held}"
    pen.text(pen.width - 2, top + 12, words, "small", "end")
    for rank in ranks:
        y = top + 24 + ROW * rank["rank"]
        pen.text(0, y + ROW / 2 - 1, f"{rank['rank']}", "small", "start")
        for event in rank["events"].split():
            _event(pen, y, unit, *_read(event))


def _read(event: str) -> tuple:
    """5F3@12: is it the second stage, kind, micro-batch and start."""
    what, start = event.split("@")
    kind = next(letter for letter in what if letter in LONG)
    stage, micro = what.split(kind)
    return int(stage) >= RANKS, kind, micro, float(start)


def _event(pen, y, unit, second, kind, micro, start) -> None:
    """A box as long as the event, and the micro-batch where it has room."""
    x, wide = LEFT + start * unit, LONG[kind] * unit
    look = "" if second else "tint"
    pen.put(
        "rect", f"box thin {COLOURS[kind]} {look}", x=x, y=y,
        width=wide, height=ROW - 2, rx=1,
    )  # fmt: skip
    if wide > 9:
        pen.text(x + wide / 2, y + ROW / 2 - 0.5, micro, "small")


def _legend(pen, y) -> None:
    """Which colour is what."""
    wide = pen.width > 400
    for i, (kind, words) in enumerate(WORDS.items()):
        x = LEFT + ((0, 100, 360)[i] if wide else 0)
        at = y if wide else y + 20 * i
        pen.put(
            "rect", f"box thin {COLOURS[kind]} tint", x=x, y=at,
            width=14, height=12, rx=1,
        )  # fmt: skip
        pen.text(x + 20, at + 6.5, words, "small", "start")


def stages(page) -> Drawing:
    """A model of eight blocks on four ranks, and what goes between them."""
    wide, narrow = Pen(656, 146), Pen(343, 398)
    for rank in range(RANKS):
        _stage(wide, page, rank, 2 + 168 * rank, 24, 144)
        _stage(narrow, page, rank, 40, 24 + 94 * rank, 301)
    for rank in range(RANKS - 1):
        x, y = 146 + 168 * rank, 84 + 94 * rank
        wide.arrow(x + 2, 46, x + 22, 46, QUERY)
        wide.arrow(x + 22, 70, x + 2, 70, KEY)
        narrow.arrow(150, y + 3, 150, y + 31, QUERY)
        narrow.arrow(230, y + 31, 230, y + 3, KEY)
    _tie(wide, [(30, 84), (30, 116), (628, 116), (628, 84)], 266, 134)
    _tie(narrow, [(40, 54), (16, 54), (16, 336), (40, 336)], 40, 386)
    return Drawing(wide, narrow)


def _stage(pen, page, rank, x, y, width) -> None:
    """A rank and the parts of the model that it holds."""
    parts = [f"{2 * rank}", f"{2 * rank + 1}"]
    if rank == 0:
        parts.insert(0, "embed")
    if rank == RANKS - 1:
        parts.append("head")
    pen.text(x, y - 12, f"rank {rank}", "small bold", "start")
    pen.box(x, y, width, 60, kind="soft")
    with signs.linked(pen, page, "parallel.pipeline.layers:cut"):
        long = (width - 8) / 3
        for i, part in enumerate(parts):
            kind = "c4" if part in ("embed", "head") else "c6"
            at = x + 6 + i * long
            pen.box(at, y + 10, long - 4, 40, part, f"{kind} tint small")


def _tie(pen, points, x, y) -> None:
    """One weight in two places."""
    pen.curve(points, "c4 dashed")
    pen.text(x, y, "one weight, two copies", "small halo", "start")
