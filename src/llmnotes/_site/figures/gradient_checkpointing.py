"""Which tensors live, moment by moment, with regions and without.

A row is a tensor that a layer makes, a column a moment: one layer forward,
again or backward. A filled cell lives until backward comes for it, a tinted
one is held for a while, and a ring marks a layer that is run again.
"""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import MEMORY, QUERY
from llmnotes.parallel.gradient_checkpointing.stack import peak, timeline

LAYERS = 9
SIZES = {"keep everything": [9], "three segments": [3, 3, 3]}
CELL = 13  # px of a moment, and of a tensor
TOP = 44  # px above the cells
GAP = 36  # px between the two
CODE = "parallel.gradient_checkpointing.stack:Checkpointed.forward"


def lives(page) -> Drawing:
    """Two steps of training side by side, or one below the other."""
    high = TOP + (LAYERS + 1) * CELL + 26
    wide, narrow = Pen(640, high), Pen(343, 2 * high + 14)
    x = y = 0
    for name, sizes in SIZES.items():
        _panel(wide, page, 40 + x, 0, name, sizes)
        _panel(narrow, page, 30, y, name, sizes)
        x += len(timeline(sizes)) * CELL + GAP
        y += high + 14
    return Drawing(wide, narrow)


def _panel(pen, page, x, y, name, sizes) -> None:
    """One way: its name, its cells, and what lives at the worst moment."""
    moments = timeline(sizes)
    low = y + TOP + (LAYERS + 1) * CELL
    with signs.linked(pen, page, CODE if len(sizes) > 1 else ""):
        look = "bold go" if len(sizes) > 1 else "bold"
        pen.text(x, y + 10, name, look, "start")
    pen.text(x, y + 30, f"at most {peak(sizes)} live", "small", "start")
    for i in range(LAYERS + 1):
        if i in (0, LAYERS):
            at = y + TOP + (i + 0.5) * CELL
            pen.text(x - 5, at, f"x_{{{i}}}", "small", "end")
    kept = {sum(sizes[:j]) for j in range(len(sizes))}
    for t, moment in enumerate(moments):
        _moment(pen, x + t * CELL, y + TOP, moment, kept)
    turn = LAYERS * CELL
    pen.line(x + turn, y + TOP - 4, x + turn, low + 4, "soft dashed")
    pen.text(x + turn / 2, low + 16, "forward", "small")
    rest = len(moments) * CELL - turn
    pen.text(x + turn + rest / 2, low + 16, "backward", "small")


def _moment(pen, x, y, moment, kept) -> None:
    """The tensors that live at one moment."""
    kind, layer, alive = moment
    for i in sorted(alive):
        again = kind == "again" and i == layer + 1
        look = "solid" if i in kept else "tint"
        colour = QUERY if again else MEMORY
        pen.put(
            "rect", f"box {colour} {'solid' if again else look}",
            x=x + 1, y=y + i * CELL + 1, width=CELL - 2, height=CELL - 2, rx=2,
        )  # fmt: skip
