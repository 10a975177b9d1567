"""A frozen matrix with an adapter beside it, to scale, and merged."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import QUERY, STREAM

CODE = "adaptation.lora.model"
INPUTS, OUTPUTS, RANK = 384, 1536, 8  # MiniLM's wide matrix, and an adapter
SCALE = 0.082  # px of a row or column
THIN = 1.6  # px; to scale it would be less than one
HIGH = 336  # px of one panel


def adapter(page) -> Drawing:
    """While it learns, and merged."""
    wide, narrow = Pen(680, HIGH), Pen(343, HIGH + 230)
    _learning(wide, page, 0, 0)
    _merged(wide, page, 420, 0)
    _learning(narrow, page, 0, 0)
    _merged(narrow, page, 0, HIGH + 22)
    return Drawing(wide, narrow)


def _learning(pen, page, x, y) -> None:
    """Both ways from x to y."""
    width, height = INPUTS * SCALE, OUTPUTS * SCALE
    pen.text(x, y + 11, "While it learns", "large bold", "start")
    middle, low = y + 98, y + 256
    pen.box(x + 2, middle - 17, 44, 34, f"x\n{INPUTS}", "small")
    pen.arrow(x + 46, middle, x + 92, middle)
    signs_at = x + 94
    pen.box(signs_at, middle - height / 2, width, height, "", f"{STREAM} tint")
    _say(pen, signs_at + width + 8, middle - 34, "W_{0}", OUTPUTS, INPUTS,
         "frozen")  # fmt: skip
    plus = x + 270
    pen.arrow(signs_at + width, middle, plus - 9, middle)
    signs.plus(pen, plus, middle)
    pen.arrow(plus + 9, middle, plus + 26, middle)
    pen.box(plus + 27, middle - 17, 44, 34, f"y\n{signs.count(OUTPUTS)}",
            "small")  # fmt: skip
    with signs.linked(pen, page, f"{CODE}:LowRank"):
        _branch(pen, x, middle, low, plus, width, height)


def _branch(pen, x, middle, low, plus, width, height) -> None:
    """Down to eight numbers by A, and up again by B."""
    a, b = x + 94, x + 204
    pen.elbow([(x + 24, middle + 17), (x + 24, low), (a - 2, low)], QUERY)
    pen.put("rect", f"{QUERY} solid", x=a, y=low - THIN / 2,
            width=width, height=THIN)  # fmt: skip
    pen.text(a, low + 22, "A", "bold", "start")
    pen.text(a, low + 40, f"{RANK} × {INPUTS}", "small", "start")
    pen.arrow(a + width + 2, low, b - 4, low, QUERY)
    pen.text((a + width + b) / 2, low - 12, f"{RANK} numbers", "small")
    pen.put("rect", f"{QUERY} solid", x=b, y=low - height / 2,
            width=THIN, height=height)  # fmt: skip
    pen.text(b + 9, low + 22, "B", "bold", "start")
    words = f"{signs.count(OUTPUTS)} × {RANK}"
    pen.text(b + 9, low + 40, words, "small", "start")
    pen.elbow([(b + THIN, low), (plus, low), (plus, middle + 10)], QUERY)
    pen.text(plus + 8, low - 28, "× α/r", "", "start")
    learned = signs.count(RANK * (INPUTS + OUTPUTS))
    pen.text(x + 2, low + 72, f"{learned} numbers learn: 2.6 %", "small",
             "start")  # fmt: skip


def _merged(pen, page, x, y) -> None:
    """One matrix of the old size."""
    width, height = INPUTS * SCALE, OUTPUTS * SCALE
    pen.text(x, y + 11, "Merged", "large bold", "start")
    middle = y + 98
    pen.box(x + 2, middle - 17, 44, 34, f"x\n{INPUTS}", "small")
    pen.arrow(x + 46, middle, x + 72, middle)
    with signs.linked(pen, page, f"{CODE}:LoRALinear.merge"):
        at = x + 74
        pen.box(at, middle - height / 2, width, height, "", f"{QUERY} tint")
    _say(pen, at + width + 8, middle - 34, "W_{0} + α/r BA", OUTPUTS, INPUTS,
         "")  # fmt: skip
    end = x + 210
    pen.arrow(at + width, middle, end - 1, middle)
    pen.box(end, middle - 17, 44, 34, f"y\n{signs.count(OUTPUTS)}", "small")
    words = "as many numbers and products\nas before: no time is lost"
    pen.text(x + 2, middle + 92, words, "small", "start")


def _say(pen, x, y, name, rows, columns, state) -> None:
    """A matrix's name and size."""
    pen.text(x, y - 18, name, "bold", "start")
    pen.text(x, y, f"{signs.count(rows)} × {columns}", "small", "start")
    if state:
        pen.text(x, y + 16, state, "small", "start")
