"""One linear map over eight places, in three orders of work.

A dot is a number that is computed, a line says what it is computed from.
"""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, MEMORY, QUERY, VALUE

PLACES, GAP, HIGH = 8, 24, 172  # px from place to place; px of a panel
PANELS = (
    ("a recurrence", "eight steps in a row", "forms:recurrence"),
    ("a convolution", "each output from all before", "forms:convolve"),
    ("a scan", "three rounds: reach 1, 2, 4", "scan:prefixes"),
)


def forms(page) -> Drawing:
    """Three panels in a row, or one below the other on a phone."""
    wide, narrow = Pen(656, HIGH), Pen(343, 3 * HIGH)
    for i, panel in enumerate(PANELS):
        _panel(wide, page, 22 + i * 222, 0, panel, i)
        _panel(narrow, page, 88, i * HIGH, panel, i)
    return Drawing(wide, narrow)


def _panel(pen, page, left, top, words, i) -> None:
    """A title, what it takes, and the dots."""
    title, takes, symbol = words
    middle = left + (PLACES - 1) * GAP / 2
    with signs.linked(pen, page, f"models.s4.{symbol}"):
        pen.text(middle, top + 12, title, "small bold go")
    pen.text(middle, top + 28, takes, "small")
    places = [left + t * GAP for t in range(PLACES)]
    (_recurrence, _convolution, _scan)[i](pen, places, top)
    for x in places:
        pen.dot(x, top + 154, 4, f"{QUERY} solid")
    pen.text(left - 10, top + 154, "x", "small", "end")
    name = "h" if i == 2 else "y"
    pen.text(left - 10, top + 50, name, "small", "end")


def _recurrence(pen, places, top) -> None:
    """Each state from the one before and from its input."""
    for t, x in enumerate(places):
        pen.line(x, top + 150, x, top + 108, "thin")
        pen.line(x, top + 98, x, top + 54, "thin")
        if t:
            pen.arrow(places[t - 1] + 5, top + 103, x - 5, top + 103, MEMORY)
    for x in places:
        pen.dot(x, top + 103, 5, f"{MEMORY} solid")
        pen.dot(x, top + 50, 4, f"{VALUE} solid")
    pen.text(places[0] - 10, top + 103, "h", "small", "end")


def _convolution(pen, places, top) -> None:
    """The last output, and faintly that of the middle."""
    low, high = top + 150, top + 54
    for end, kind in ((4, "soft thin"), (7, KEY)):
        signs.fan(pen, places[: end + 1], low, [places[end]], high, kind)
    for x in places:
        pen.dot(x, top + 50, 4, f"{VALUE} solid")


def _scan(pen, places, top) -> None:
    """Four rows of dots; each round reaches twice as far back."""
    rows = [top + 154 - 104 / 3 * k for k in range(4)]
    for k, reach in enumerate((1, 2, 4)):
        low, high = rows[k] - 4, rows[k + 1] + 4
        for t, x in enumerate(places):
            pen.line(x, low, x, high, "soft thin")
            if t >= reach:
                pen.line(places[t - reach], low, x, high, MEMORY)
    for k in (1, 2, 3):
        for x in places:
            pen.dot(x, rows[k], 4, f"{MEMORY} solid")
