"""One recurrence over eight tokens in three forms: chain, tree, chunks.

A dot below is what a token writes, a dot above the state behind it; in the
matrix a row is a token that reads and a column one that has written.
"""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, MEMORY, QUERY

TOKENS, CHUNK = 8, 4
STEP = 22  # px from one token to the next
PANEL, HIGH = 212, 176  # px of a form, and of its picture


def forms(page) -> Drawing:
    """Chain, tree and chunks, side by side or one below the other."""
    wide = Pen(3 * PANEL + 6, HIGH + 24)
    narrow = Pen(343, 3 * (HIGH + 30))
    for i, draw in enumerate((_chain, _tree, _chunks)):
        draw(wide, page, 18 + i * PANEL, 14)
        draw(narrow, page, 84, 14 + i * (HIGH + 30))
    return Drawing(wide, narrow)


def _title(pen, page, x, y, words, symbol) -> None:
    with signs.linked(pen, page, f"models.mamba.{symbol}"):
        pen.text(x, y, words, "small go", "start")


def _chain(pen, page, x, y) -> None:
    """A state is made from the one before it and from its token."""
    _title(pen, page, x, y, "loop: 8 steps", "scan:one_step")
    above, below = y + 74, y + 134
    for t in range(TOKENS):
        at = x + 8 + t * STEP
        pen.line(at, below - 7, at, above + 7, f"{KEY} thin")
        if t:
            pen.arrow(at - STEP + 6, above, at - 6, above, MEMORY)
        pen.dot(at, below, 5, f"{KEY} solid")
        pen.dot(at, above, 5, f"{MEMORY} solid")


def _tree(pen, page, x, y) -> None:
    """Pairs, pairs of pairs; then what lies between is filled in."""
    _title(pen, page, x, y, "tree: 3 levels up, 3 down", "scan:tree")
    places = [x + 8 + t * STEP for t in range(TOKENS)]
    low, gap = y + 146, 34
    level = 0
    while places:
        for at in places:
            look = KEY if level == 0 else MEMORY
            pen.dot(at, low - level * gap, 5, f"{look} solid")
        later = places[1::2]
        for left, right in zip(places[::2], later, strict=False):
            for at in (left, right):
                pen.line(
                    at, low - level * gap - 6, right,
                    low - (level + 1) * gap + 6, f"{MEMORY} thin",
                )  # fmt: skip
        places, level = later, level + 1


def _chunks(pen, page, x, y) -> None:
    """The matrix: squares on the diagonal, one state for all that is left."""
    _title(pen, page, x, y, "chunks of 4: 2 squares, 1 state", "ssd:one_chunk")
    size, top = 17, y + 20
    for row in range(TOKENS):
        for column in range(row + 1):
            same = row // CHUNK == column // CHUNK
            look = f"{QUERY} solid" if same else f"{MEMORY} tint"
            pen.put(
                "rect", f"box {look}", x=x + column * size,
                y=top + row * size, width=size - 2, height=size - 2, rx=2,
            )  # fmt: skip
