"""Phi's block beside GPT-2's, and a head of which a part is turned."""

import math

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import MLP, QUERY

CODE = "models.phi.model"
RAIL, LEFT, WIDE = 26, 78, 236  # x of the stream and of the boxes
HIGH = 318  # px of one block
HEAD, TURNED, BASE = 80, 32, 10000.0  # phi-2's
PLACES = 0, 40
DIAL, CELL = 19.5, 13  # px of a pair and of a number


def blocks(page) -> Drawing:
    """Both orders, side by side or one below the other."""
    wide, narrow = Pen(680, HIGH), Pen(343, 2 * HIGH + 12)
    for pen, x, y in ((wide, 346, 0), (narrow, 4, HIGH + 12)):
        _Block(pen, page, 4, 0).serial()
        _Block(pen, page, x, y).parallel()
    return Drawing(wide, narrow)


class _Block:
    """One order, drawn from a corner on."""

    def __init__(self, pen, page, x, y):
        self.pen, self.page, self.x, self.y = pen, page, x, y

    def box(self, x, y, width, height, words="", kind="") -> None:
        self.pen.box(self.x + x, self.y + y, width, height, words, kind)

    def text(self, x, y, words, kind="", anchor="middle") -> None:
        self.pen.text(self.x + x, self.y + y, words, kind, anchor)

    def elbow(self, *points) -> None:
        self.pen.elbow([(self.x + a, self.y + b) for a, b in points])

    def plus(self, x, y) -> None:
        signs.plus(self.pen, self.x + x, self.y + y)

    def frame(self, title, costs) -> None:
        """What both have: a name, the stream, and what it costs."""
        self.text(0, 11, title, "large bold", "start")
        self.box(0, 28, 326, 250, kind="ghost")
        signs.rail(self.pen, self.x + RAIL, self.y + 28, self.y + 290)
        self.pen.head(self.x + RAIL, self.y + 297, math.pi / 2, "c6")
        self.text(RAIL + 16, 297, costs, "small", "start")

    def read(self, y) -> None:
        """The norm, and the row that goes into it."""
        self.pen.dot(self.x + RAIL, self.y + y + 12, 4)
        self.elbow((RAIL, y + 12), (LEFT, y + 12))
        self.box(LEFT, y, WIDE, 24, "LayerNorm", "small")

    def serial(self) -> None:
        self.frame("One behind the other", "2 norms, 6 products in a row")
        parts = ((44, QUERY, "attention"), (164, MLP, "MLP"))
        for y, kind, name in parts:
            self.read(y)
            self.elbow((LEFT + WIDE / 2, y + 24), (LEFT + WIDE / 2, y + 44))
            self.box(LEFT, y + 44, WIDE, 44, name, f"{kind} tint")
            self.elbow((LEFT, y + 66), (RAIL + 9, y + 66))
            self.plus(RAIL, y + 66)

    def parallel(self) -> None:
        self.frame("Side by side", "1 norm, 4 products in a row")
        with signs.linked(self.pen, self.page, f"{CODE}:ParallelBlock"):
            self.read(44)
            for x, kind, name in (
                (LEFT, QUERY, "attention"),
                (LEFT + 124, MLP, "MLP"),
            ):
                self.elbow((x + 56, 68), (x + 56, 112))
                self.box(x, 112, 112, 44, name, f"{kind} tint")
        middle = LEFT + 56
        self.elbow((middle, 156), (middle, 201))
        self.elbow((middle + 124, 156), (middle + 124, 210), (middle + 9, 210))
        self.plus(middle, 210)
        self.elbow((middle - 9, 210), (RAIL + 9, 210))
        self.plus(RAIL, 210)


def head(page) -> Drawing:
    """A query of phi-2 at two positions."""
    wide, narrow = Pen(680, 148), Pen(343, 246)
    _head(wide, page, right=350, below=0, apart=62)
    _head(narrow, page, right=14, below=32, apart=98)
    return Drawing(wide, narrow)


def _head(pen, page, right, below, apart) -> None:
    """The pairs, and right of or below them what is not turned."""
    pairs, rest = TURNED // 2, HEAD - TURNED
    legend = 12 if right > LEFT else 30
    pen.text(14, 12, f"{pairs} pairs, turned", "c1", "start")
    words = f"{rest} numbers, left as they are"
    pen.text(right, legend, words, "c5", "start")
    with signs.linked(pen, page, f"{CODE}:PartlyRotary"):
        for row, place in enumerate(PLACES):
            y = legend + 52 + row * apart
            pen.text(14, y - 21, f"position {place}", "small", "start")
            for i in range(pairs):
                turn = place * BASE ** (-2 * i / TURNED)
                _dial(pen, 14 + (i + 0.5) * DIAL, y, turn)
            _numbers(pen, right, y - CELL + below, rest)


def _dial(pen, x, y, turn) -> None:
    """A pair as the hand of a clock."""
    radius = DIAL / 2 - 1
    pen.dot(x, y, radius, "thin rim")
    tip = x + radius * math.cos(turn), y - radius * math.sin(turn)
    pen.line(x, y, *tip, f"{QUERY} thick")


def _numbers(pen, x, y, count) -> None:
    """Numbers as shades, the same ones wherever they are drawn."""
    for i in range(count):
        place = {"x": x + i // 2 * CELL, "y": y + i % 2 * CELL}
        size = {"width": CELL - 1.5, "height": CELL - 1.5}
        shade = f"{0.5 + 0.45 * math.sin(1.7 * i * i + 1):.2f}"
        pen.put(
            "rect", f"{MLP} solid bare", fill_opacity=shade, **place, **size
        )
