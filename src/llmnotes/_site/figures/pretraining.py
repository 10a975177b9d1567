"""Muon: a gradient's long, thin ellipse made nearly round in five rounds.

spread = the singular values of one gradient, strongest first, and what
         they become; the ellipse shows two of its directions
"""

import math

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, QUERY

ROUNDS = "transformer/pretraining_drawn:rounds"
CODE = "transformer.pretraining.muon:orthogonalise"
LAST = 5
FIRST, OTHER = 0, 9  # the directions that the ellipse shows
LOW, HIGH = 0.68, 1.21  # where any value above 0.002 ends
COLOURS = {FIRST: f"{QUERY} solid", OTHER: f"{KEY} solid"}
TURN = math.radians(-28)  # of the ellipse, against the page
TALL = 190  # px of a bar of 1


def muon(page) -> Drawing:
    """The ellipse of two directions, and a bar for each of them all."""
    rounds = spread(page)
    wide, narrow = Pen(680, 306), Pen(343, 596)
    for pen, (x, y), (left, floor) in (
        (wide, (160, 164), (384, 278)),
        (narrow, (166, 164), (34, 568)),
    ):
        _round(pen, x, y, 112.0, rounds)
        _bars(pen, page, left, floor, rounds)
    return Drawing(
        wide, narrow, frames=_words(rounds), default=LAST, reads=(ROUNDS,)
    )


def spread(page) -> list[list[float]]:
    """Return the values of every round, one list for each round."""
    found = [list(r.values())[1:] for r in rows(page, ROUNDS)]
    return [list(values) for values in zip(*found, strict=True)]


def _words(rounds) -> list[str]:
    strongest, other = (rounds[0][i] for i in (FIRST, OTHER))
    words = [
        "Before: scaled to norm 1, the strongest direction counts "
        f"{strongest / other:.0f} times as much as the tenth."
    ]
    for done, values in enumerate(rounds[1:], 1):
        inside = sum(LOW < v < HIGH for v in values)
        words.append(
            f"Round {done}: {inside} of {len(values)} directions lie between "
            f"{LOW} and {HIGH}."
        )
    return words


def _ellipse(pen, x, y, long, short, kind) -> None:
    dx, dy = long * math.cos(TURN), long * math.sin(TURN)
    arc = f"A{long:.1f} {short:.1f} {math.degrees(TURN):g} 1 0"
    here, there = f"{x - dx:.1f} {y - dy:.1f}", f"{x + dx:.1f} {y + dy:.1f}"
    pen.path(f"M{here}{arc} {there}{arc} {here}Z", kind)


def _round(pen, x, y, unit, rounds) -> None:
    """What the matrix makes of a circle, in the plane of two directions."""
    _ellipse(pen, x, y, unit, unit, "ghost")
    for done, values in enumerate(rounds):
        long, short = (unit * values[i] for i in (FIRST, OTHER))
        with pen.group(frame=done, default=LAST):
            _ellipse(pen, x, y, long, short, "soft tint")
            for size, kind, turn in (
                (long, QUERY, TURN),
                (short, KEY, TURN + math.pi / 2),
            ):
                _spoke(pen, x, y, size, turn, f"{kind} thick")
    before = (unit * rounds[0][i] for i in (FIRST, OTHER))
    _ellipse(pen, x, y, *before, "")
    pen.text(x, 10, "two directions of a gradient", "bold")
    for name, i, kind, at, anchor in (
        ("strongest", FIRST, QUERY, (x + 104, y - 80), "start"),
        ("tenth", OTHER, KEY, (x - 72, y - 104), "end"),
    ):
        for done, values in enumerate(rounds):
            with pen.group(frame=done, default=LAST):
                words = f"{name}\n{values[i]:.2f}"
                pen.text(*at, words, f"{kind} halo", anchor)
    pen.text(x - unit * 0.98, y + 74, "before", "small", "middle")


def _spoke(pen, x, y, size, turn, kind) -> None:
    dx, dy = size * math.cos(turn), size * math.sin(turn)
    pen.line(x - dx, y - dy, x + dx, y + dy, kind)


def _bars(pen, page, left, floor, rounds) -> None:
    """All directions: before as a line, now as a bar."""
    count = len(rounds[0])
    step = 12
    right = left + step * count
    band = floor - TALL * HIGH
    pen.put(
        "rect", "floor", x=left, y=band, width=step * count,
        height=TALL * (HIGH - LOW),
    )  # fmt: skip
    for value in (LOW, 1, HIGH):
        y = floor - TALL * value
        pen.text(left - 6, y, f"{value:g}", "small soft", "end")
    pen.line(left, floor - TALL, right, floor - TALL, "soft dashed thin")
    for done, values in enumerate(rounds):
        with pen.group(frame=done, default=LAST):
            for i, value in enumerate(values):
                kind = COLOURS.get(i, "soft flow")
                high = TALL * value
                pen.put(
                    "rect", f"{kind} bare", x=left + i * step + 1.5,
                    y=floor - high, width=step - 3, height=high,
                )  # fmt: skip
    for i, value in enumerate(rounds[0]):
        y = floor - TALL * value
        pen.line(left + i * step, y, left + (i + 1) * step, y, "thick")
    pen.line(left, floor, right, floor)
    with signs.linked(pen, page, CODE):
        words = "five rounds of p(X)"
        pen.text(left, band - 38, words, "bold go", "start")
    words = "singular values: bars now, lines before"
    pen.text(left, band - 14, words, "small soft", "start")
    words = f"{count} directions, the strongest first"
    pen.text((left + right) / 2, floor + 15, words, "small")
