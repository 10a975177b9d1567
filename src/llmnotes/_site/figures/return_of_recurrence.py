"""Five models put to four questions, a panel each; all from results.

Panel  = a frame with two scales, in which lines are drawn
NAMED  = what a model is called in the result of the recall
"""

import math
from dataclasses import dataclass

from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen

RECALL, LOOKS = "models/mamba_recall:recall", "models/mamba_recall:looks"
TEXT = "models/mamba_text:text"
WRITTEN, TRAINED = "models/mamba_cost:written", "models/mamba_cost:trained"
COLOURS = {
    "LSTM": "c4",
    "S4D": "c3",
    "Mamba": "c1",
    "Mamba with one look": "c2",
    "Transformer": "c5",
}
NAMED = {"Mamba N=8": "Mamba", "one look": "Mamba with one look"}
WIDE, NARROW, HIGH = 282, 275, 200  # of a panel


@dataclass(frozen=True)
class Panel:
    """Left edge, top and width on the page; what lies at the edges."""

    left: float
    top: float
    width: float
    across: tuple[float, float]
    up: tuple[float, float]
    log: bool = False

    def x(self, value: float) -> float:
        """Always by its logarithm."""
        return self.left + self.width * _share(value, *self.across, True)

    def y(self, value: float) -> float:
        """By its logarithm where `log`."""
        share = _share(value, *self.up, self.log)
        return self.top + HIGH - 30 - (HIGH - 70) * share


def _share(value, low, high, log) -> float:
    if log:
        value, low, high = map(math.log, (value, low, high))
    return (value - low) / (high - low)


def four(page) -> Drawing:
    """Recall, text, what is kept, and what training costs."""
    wide, narrow = Pen(680, 486), Pen(343, 4 * 212 + 100)
    ways = (_recall, _text, _kept, _training)
    _key(wide, (16, 110, 180, 260, 440), 12)
    for i, way in enumerate(ways):
        way(wide, page, 40 + 345 * (i % 2), 40 + 222 * (i // 2), WIDE)
    _key(narrow, (10, 110, 190, 10, 190), 12, apart=24)
    for i, way in enumerate(ways):
        way(narrow, page, 44, 72 + 216 * i, NARROW)
    return Drawing(wide, narrow, reads=(RECALL, LOOKS, TEXT, WRITTEN, TRAINED))


def _key(pen, places, y, apart=0) -> None:
    """Which colour is which model; in two rows where it is narrow."""
    for i, (name, colour) in enumerate(COLOURS.items()):
        at = y + apart * (i > 2)
        pen.line(places[i], at, places[i] + 18, at, f"{colour} thick")
        pen.text(places[i] + 24, at, name, "small", "start")


def _frame(pen, panel, title, marks, heights) -> None:
    """Title, numbers along both sides, and faint lines across."""
    pen.text(panel.left - 34, panel.top + 8, title, "small bold", "start")
    right = panel.left + panel.width
    for value, words in heights.items():
        pen.line(panel.left, panel.y(value), right, panel.y(value), "ghost")
        pen.text(panel.left - 6, panel.y(value), words, "small soft", "end")
    for value, words in marks.items():
        at = panel.x(value), panel.top + HIGH - 14
        pen.text(*at, words, "small soft")


def _lines(pen, panel, found, x, y) -> None:
    """A line for each model through its points."""
    for name, colour in COLOURS.items():
        points = [
            (panel.x(row[x]), panel.y(row[y]))
            for row in found
            if NAMED.get(row["model"], row["model"]) == name
        ]
        pen.curve(points, f"{colour} thick")
        for point in points:
            pen.dot(*point, 2.5, colour)


def _recall(pen, page, left, top, width) -> None:
    found = [*rows(page, RECALL), *rows(page, LOOKS)]
    panel = Panel(left, top, width, (0.9, 18), (0, 1))
    heights = {0: "0", 0.5: "half", 1: "all"}
    marks = {k: str(k) for k in (1, 2, 4, 8, 16)}
    _frame(pen, panel, "Recalled of so many pairs", marks, heights)
    _lines(pen, panel, found, "pairs", "right")


def _text(pen, page, left, top, width) -> None:
    """A bar for each model, from the best seed to the worst."""
    found = list(rows(page, TEXT))
    low = math.floor(min(r["lowest"] for r in found) * 10) / 10
    high = math.ceil(max(r["highest"] for r in found) * 10) / 10
    panel = Panel(left, top, width, (0.5, 8), (low, high))
    heights = {h: f"{h:.1f}" for h in (low, (low + high) / 2, high)}
    _frame(pen, panel, "Loss on Shakespeare, in nats", {}, heights)
    for i, row in enumerate(found):
        x = left + width * (i + 0.5) / len(found)
        colour = COLOURS[row["model"]]
        ends = panel.y(row["lowest"]), panel.y(row["highest"])
        pen.line(x, ends[0], x, ends[1], f"{colour} thick")
        pen.dot(x, panel.y(row["loss"]), 4, colour)


def _kept(pen, page, left, top, width) -> None:
    found = list(rows(page, WRITTEN))
    panel = Panel(left, top, width, (50, 20000), (1e3, 1e8), log=True)
    marks = {64: "64", 1024: "1,024", 16384: "16,384"}
    heights = {1e3: "kB", 1e6: "MB"}
    title = "Bytes kept behind so many tokens"
    _frame(pen, panel, title, marks, heights)
    _lines(pen, panel, found, "context", "kept")


def _training(pen, page, left, top, width) -> None:
    found = list(rows(page, TRAINED))
    panel = Panel(left, top, width, (58, 4600), (1e-5, 1e-3), log=True)
    marks = {64: "64", 512: "512", 4096: "4,096"}
    heights = {1e-5: "10 µs", 1e-4: "100", 1e-3: "1 ms"}
    title = "Time to train on a token, by length"
    _frame(pen, panel, title, marks, heights)
    _lines(pen, panel, found, "length", "seconds")
