"""RoPE's clocks: each pair of a query and of a key is a hand that turns.

figures.js turns the hands by the same product, position times θ.
"""

import math

from llmnotes._site.figures.drawn import Drawing, Slider
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen

CLOCKS = "transformer/rope:clocks"
QUERY, KEY = 8, 3  # the recorded positions


def clocks(page) -> Drawing:
    """A dial for each pair, with the hands of a query and of a key."""
    pairs = list(rows(page, CLOCKS))
    return Drawing(
        wide=_clocks(Pen(640, 250), pairs, apart=160, columns=4, radius=58),
        narrow=_clocks(Pen(339, 430), pairs, apart=169, columns=2, radius=56),
        sliders=[
            Slider("place", "Move both", 0, 100, 1, KEY),
            Slider("lag", "Lag", 0, 40, 1, QUERY - KEY),
        ],
        says=_says(pairs),
        data={"theta": [pair["theta"] for pair in pairs]},
        reads=(CLOCKS,),
    )


def _says(pairs) -> str:
    score = sum(pair["product"] for pair in pairs)
    return (
        f"Query at {QUERY}, key at {KEY}: the lag is {QUERY - KEY}, "
        f"the score {score:.2f}."
    )


def _clocks(pen: Pen, pairs, apart, columns, radius) -> Pen:
    _names(pen)
    for i, pair in enumerate(pairs):
        x = apart * (i % columns + 0.5)
        y = 108 + (i // columns) * 200
        _clock(pen, pair, x, y, radius)
    return pen


def _names(pen: Pen) -> None:
    pen.line(8, 16, 34, 16, "c1 thick round")
    pen.text(42, 16, "query", "c1", anchor="start")
    pen.line(98, 16, 124, 16, "c2 thick round")
    pen.text(132, 16, "key", "c2", anchor="start")
    pen.path("M178 20a14 14 0 0 1 24 0L190 26Z", "c3 tint bare")
    pen.text(210, 16, "between them", "c3", anchor="start")


def _clock(pen: Pen, pair, x, y, radius) -> None:
    with pen.group(
        "clock", data_radius=radius, transform=f"translate({x} {y})"
    ):
        pen.dot(0, 0, float(radius), "thin rim")
        for hour in range(12):
            _tick(pen, hour * math.pi / 6, radius)
        lead = radius * 0.6
        pen.path(wedge(pair["query"], pair["key"], lead), "between c3 tint")
        _hand(pen, "key c2", pair["key"], radius - 14)
        _hand(pen, "query c1", pair["query"], radius - 8)
        pen.dot(0, 0, 3.5)
        theta = f"θ_{{{pair['pair']}}} = {pair['theta']:g}"
        pen.text(0, radius + 20, theta)
        product = f"cos {pair['product']:.2f}".replace("-", "−")
        pen.text(0, radius + 40, product, "c3 product")


def _tick(pen: Pen, turn: float, radius) -> None:
    x, y = math.cos(turn), math.sin(turn)
    inner, outer = radius - 5, radius - 1
    pen.line(x * inner, y * inner, x * outer, y * outer, "thin")


def _hand(pen: Pen, kind: str, turn: float, length) -> None:
    degrees = round(-math.degrees(turn) % 360, 2)
    with pen.group(f"needle {kind}", transform=f"rotate({degrees})"):
        pen.line(0, 0, length - 5, 0, "thick round")
        pen.head(length, 0, 0)


def wedge(query: float, key: float, radius: float) -> str:
    """Return the slice between two hands, the shorter way round."""
    turn = (query - key + math.pi) % (2 * math.pi) - math.pi
    ax, ay = radius * math.cos(key), -radius * math.sin(key)
    bx, by = radius * math.cos(key + turn), -radius * math.sin(key + turn)
    over = 0 if turn > 0 else 1
    return (
        f"M0 0L{ax:.2f} {ay:.2f}"
        f"A{radius:.2f} {radius:.2f} 0 0 {over} {bx:.2f} {by:.2f}Z"
    )
