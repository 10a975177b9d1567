"""Four documents in rows of four; and who sees whom in a row of three.

A colour is a document; an empty cell is padding. In the masks a row looks
and a column is seen.
"""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes.parallel.data_efficiency import packing

SIZES, BLOCK = (5, 2, 3, 1), 4
WAYS = {  # words, code, and the rows
    "a row each": (
        "pieces",
        [[piece] for piece in packing.pieces(SIZES, BLOCK)],
    ),
    "cut": ("cut", packing.cut(SIZES, BLOCK)),
    "best fit": ("best_fit", packing.best_fit(SIZES, BLOCK)),
}
COLOURS = "c1", "c2", "c3", "c4"
CELL, HIGH = 22, 24  # px of a token, and from row to row
TOGETHER = (4, 3, 2)  # documents of the row whose masks are drawn
SEEN = 12  # px of a cell of a mask
MODULE = "parallel.data_efficiency.packing"


def rows(page) -> Drawing:
    """Three ways to fill rows, and two masks."""
    wide, narrow = Pen(680, 190), Pen(343, 360)
    for i in range(3):
        _way(wide, page, 6 + i * 124, list(WAYS)[i])
        _way(narrow, page, 4 + i * 114, list(WAYS)[i])
    _masks(wide, page, 408, 0, 142)
    _masks(narrow, page, 24, 190, 164)
    return Drawing(wide, narrow)


def _way(pen, page, x: float, name: str) -> None:
    """Rows of one way, and how full they are."""
    code, filled = WAYS[name]
    with signs.linked(pen, page, f"{MODULE}:{code}"):
        pen.text(x, 12, name, "small go", "start")
    for r, row in enumerate(filled):
        looks = [
            (f"{COLOURS[p.document]} tint", "abcd"[p.document])
            for p in row
            for _ in range(p.start, p.stop)
        ]
        looks += [("soft ghost", "")] * (BLOCK - len(looks))
        for i, (look, letter) in enumerate(looks):
            _cell(pen, x + i * CELL, 28 + r * HIGH, look, letter)
    used = f"{sum(SIZES)} of {BLOCK * len(filled)} filled"
    pen.text(x, 40 + len(filled) * HIGH, used, "small", "start")


def _cell(pen, x: float, y: float, look: str, letter: str) -> None:
    """One place of a row."""
    pen.put(
        "rect", f"box {look}", x=x, y=y, width=CELL - 3, height=HIGH - 5, rx=2
    )
    if letter:
        middle = x + (CELL - 3) / 2, y + (HIGH - 5) / 2
        pen.text(*middle, letter, "small bold")


def _masks(pen, page, x: float, y: float, apart: float) -> None:
    """Who sees whom without and with a mask of documents."""
    owner = [d for d, size in enumerate(TOGETHER) for _ in range(size)]
    causal = [[k <= q for k in range(9)] for q in range(9)]
    own = [
        [seen and owner[k] == owner[q] for k, seen in enumerate(row)]
        for q, row in enumerate(causal)
    ]
    pen.text(x, y + 12, "causal alone", "small", "start")
    with signs.linked(pen, page, f"{MODULE}:visible"):
        pen.text(x + apart, y + 12, "own document", "small go", "start")
    for at, seen in ((x, causal), (x + apart, own)):
        signs.mask(pen, at, y + 28, seen, SEEN)
        for i, document in enumerate(owner):
            pen.text(at + (i + 0.5) * SEEN, y + 148, "abc"[document], "small")
