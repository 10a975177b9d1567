"""From the first letter read to the last one written: three roads."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import MEMORY, QUERY

LETTERS = 8  # read, and written backwards
HIGH = 176  # of one panel
READ, WRITTEN = 48, 108  # y of the two rows
TITLES = ("One vector", "With attention", "Transformer")


def paths(page) -> Drawing:
    """How far a letter has to go, and what has to wait for what."""
    wide, narrow = Pen(680, HIGH), Pen(343, 3 * HIGH)
    for i in range(len(TITLES)):
        _panel(wide, i * 232, 0, 212, i)
        _panel(narrow, 4, i * HIGH, 330, i)
    return Drawing(wide, narrow)


def steps(panel: int) -> tuple[int, int]:
    """Return the steps of the path, and of the longest wait.

    A line is a step. The chains are those of both recurrences; the
    Transformer waits for one layer, whatever the number of letters.
    """
    chained = 2 * (LETTERS - 1) + 1
    return (chained if panel == 0 else 1), (chained if panel < 2 else 1)


def _panel(pen, x, y, width, panel) -> None:
    apart = width / LETTERS
    places = [x + (i + 0.5) * apart for i in range(LETTERS)]
    pen.text(x, y + 10, TITLES[panel], "bold", "start")
    if panel:
        _looks(pen, places, y)
    if panel < 2:
        _chains(pen, places, y, "accent thick" if panel == 0 else "soft")
    if panel:
        ends = places[0], y + READ, places[-1], y + WRITTEN
        pen.line(*ends, "accent thick")
    for place in places:
        pen.dot(place, y + READ, 4.5, MEMORY)
        pen.dot(place, y + WRITTEN, 4.5, QUERY)
    pen.text(x, y + READ - 15, "read", "small soft", "start")
    pen.text(x, y + WRITTEN + 17, "written", "small soft", "start")
    path, wait = steps(panel)
    words = f"path: {path} {_steps(path)}, wait: {wait} {_steps(wait)}"
    words += " a layer" * (panel == 2)
    pen.text(x, y + WRITTEN + 40, words, "small", "start")


def _steps(number: int) -> str:
    return "step" if number == 1 else "steps"


def _looks(pen, places, y) -> None:
    """A line from everything written to everything read."""
    ends = places, y + READ, places, y + WRITTEN
    signs.fan(pen, *ends, f"{QUERY} thin")


def _chains(pen, places, y, kind) -> None:
    """Both recurrences, and the state that is handed over."""
    pen.curve([(p, y + READ) for p in places], kind)
    pen.curve([(p, y + WRITTEN) for p in places], kind)
    pen.line(places[-1], y + READ, places[0], y + WRITTEN, kind)
