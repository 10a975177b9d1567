"""A word of bytes that becomes pieces, joint by joint."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import QUERY, VALUE

JOINED = "foundations/tokenizers:joined"
JOIN = "foundations.tokenizers.joining:join"
CELL, GAP, ROW = 26, 4, 34  # px of a byte, between pieces, from row to row
HIGH = 24  # px of a piece


def joints(page) -> Drawing:
    """One row for each joint, from single bytes down to the pieces."""
    found = list(rows(page, JOINED))
    letters = len(found[0]["pieces"].split("|"))
    high = len(found) * ROW + 6
    wide, narrow = Pen(680, high), Pen(343, high)
    for pen, cell, left in ((wide, 42, 96), (narrow, CELL, 8)):
        for row in found:
            _row(pen, page, row, left, cell)
        at = left + letters * cell + 14
        if pen is wide:
            pen.text(left - 14, 16, "bytes", "small soft", "end")
            pen.text(left - 14, high - 22, "pieces", "small soft", "end")
        words = "rank" if pen is wide else ""
        pen.text(at, 16, words, "small soft", "start")
    return Drawing(wide, narrow, reads=(JOINED,))


def _row(pen, page, row, left, cell) -> None:
    """The pieces after one joint; the new one in colour, with its rank."""
    y, x = 4 + row["step"] * ROW, left
    fresh = row["new"]
    for piece in row["pieces"].split("|"):
        width = len(piece) * cell
        new = piece == fresh
        kind = f"{VALUE} tint" if new else f"{QUERY} tint"
        fresh = None if new else fresh
        with signs.linked(pen, page, JOIN):
            pen.box(x + GAP / 2, y, width - GAP, HIGH, piece, f"{kind} small")
        x += width
    if row["step"]:
        pen.text(x + 14, y + HIGH / 2, f"{row['rank']:,d}", "small", "start")
