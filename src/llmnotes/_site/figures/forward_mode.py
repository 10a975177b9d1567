"""Dual numbers on their way through a small program, in two directions."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import short

POINT = (3.0, 5.0)  # of L = x1² · x2, the page's example
DIRECTIONS = ((1.0, 0.0), (0.0, 1.0))
WIDE, HIGH = 82, 46  # px of a box
CODE = "foundations.forward_mode.dual"


def dual(page) -> Drawing:
    """Values and, in colour, what moves with them."""
    pens, says = (Pen(680, 218), Pen(343, 218)), []
    for i, direction in enumerate(DIRECTIONS):
        found = pushed(direction)
        says.append(
            f"x starts to move by ({direction[0]:g}, {direction[1]:g}); L, "
            f"which is {short(found['L'][0])}, moves "
            f"{short(found['L'][1])} times as fast."
        )
        for pen in pens:
            with pen.group(frame=i):
                _program(pen, page, found)
    names = tuple(f"Along ({a:g}, {b:g})" for a, b in DIRECTIONS)
    return Drawing(*pens, frames=says, choices=names)


def pushed(direction) -> dict[str, tuple[float, float]]:
    """Return value and motion of each step, by the rules of the page."""
    (a, da), (b, db) = zip(POINT, direction, strict=True)
    square = a * a, 2 * a * da
    whole = square[0] * b, square[1] * b + square[0] * db
    return {"x1": (a, da), "x2": (b, db), "square": square, "L": whole}


def _program(pen, page, found) -> None:
    first, last = 2.0, pen.width - WIDE - 2
    middle = (first + last) / 2
    rule = 150
    pen.arrow(first + WIDE, 44, middle, 44)
    pen.arrow(middle + WIDE, 44, last, 44)
    pen.elbow(
        [(first + WIDE, 124), (last + WIDE / 2, 124), (last + WIDE / 2, 67)]
    )
    names = (("x1", "x_{1}", first, 21), ("x2", "x_{2}", first, 101))
    names += (("square", "squared", middle, 21), ("L", "times", last, 21))
    for key, name, x, y in names:
        _pair(pen, x, y, name, found[key])
    (square, moved), (b, db) = found["square"], found["x2"]
    a, da = found["x1"]
    with signs.linked(pen, page, f"{CODE}:PUSHES"):
        pen.text(
            2, rule + 18, "What each step does to the motion:", "go", "start"
        )
        words = f"squared: 2 · {a:g} · {da:g} = {moved:g}"
        pen.text(2, rule + 39, words, "small", "start")
        terms = f"{moved:g} · {b:g} + {square:g} · {db:g}"
        words = f"times: {terms} = {found['L'][1]:g}"
        pen.text(2, rule + 58, words, "small", "start")


def _pair(pen, x, y, name, pair) -> None:
    """A box with the value and the motion, which is coloured."""
    value, motion = (short(number) for number in pair)
    pen.text(x + WIDE / 2, y - 9, name, "small soft")
    pen.box(x, y, WIDE, HIGH)
    pen.text(x + WIDE / 2, y + 15, value, "bold")
    pen.text(x + WIDE / 2, y + 33, f"+ {motion} ε", "accent")
