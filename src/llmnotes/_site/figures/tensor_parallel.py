"""The MLP on two ranks: columns of A, rows of B, and where ranks talk.

The tinted part of a matrix is what a rank holds. One lane is rank 0, the
other one rank 1.
"""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, MEMORY, QUERY, STREAM

CODE = "parallel.tensor_parallel"
RANKS = (QUERY, KEY)


def mlp(page) -> Drawing:
    """From X to Z, on two ranks."""
    wide, narrow = Pen(660, 252), Pen(343, 446)
    _wide(wide, page)
    _narrow(narrow, page)
    return Drawing(wide, narrow)


def _wide(pen, page) -> None:
    """Two lanes from the left to the right."""
    pen.text(16, 126, "X", "italic large")
    pen.arrow(28, 126, 58, 126, STREAM)
    _sign(pen, page, 72, 126, "f", "Copied")
    _sign(pen, page, 556, 126, "g", "Summed")
    for rank, y in enumerate((62, 190)):
        kind = RANKS[rank]
        pen.text(110, y - 46, f"rank {rank}", f"small {kind}", "start")
        pen.curve([(84, 126), (100, 126), (100, y), (128, y)], kind)
        _columns(pen, page, 132, y - 24, rank)
        pen.arrow(232, y, 262, y, kind)
        pen.box(266, y - 16, 60, 32, "gelu", f"{kind} tint small")
        pen.arrow(330, y, 362, y, kind)
        _rows(pen, page, 372, y - 48, rank)
        pen.curve([(424, y), (528, y), (528, 126), (544, 126)], kind)
        pen.text(478, y - 14, f"Z_{{{rank + 1}}}", "italic")
    pen.arrow(570, 126, 598, 126, STREAM)
    signs.plus(pen, 610, 126, STREAM)
    pen.text(610, 98, "bias", "small")
    pen.arrow(622, 126, 640, 126, STREAM)
    pen.text(651, 126, "Z", "italic large")


def _narrow(pen, page) -> None:
    """Two lanes from the top down."""
    pen.text(171, 14, "X", "italic large")
    pen.arrow(171, 26, 171, 44, STREAM)
    _sign(pen, page, 171, 58, "f", "Copied")
    for rank, x in enumerate((84, 258)):
        kind = RANKS[rank]
        pen.text(x, 58, f"rank {rank}", f"small {kind}")
        pen.curve([(171, 72), (171, 84), (x, 84), (x, 108)], kind)
        _columns(pen, page, x - 48, 112, rank)
        pen.arrow(x, 164, x, 186, kind)
        pen.box(x - 30, 190, 60, 32, "gelu", f"{kind} tint small")
        pen.arrow(x, 226, x, 248, kind)
        _rows(pen, page, x - 24, 252, rank)
        pen.curve([(x, 352), (x, 384), (171, 384), (171, 392)], kind)
        pen.text(x + (-22 if rank == 0 else 22), 368, f"Z_{{{rank + 1}}}",
                 "italic")  # fmt: skip
    _sign(pen, page, 171, 406, "g", "Summed")
    pen.arrow(186, 406, 214, 406, STREAM)
    signs.plus(pen, 226, 406, STREAM)
    pen.text(226, 430, "bias", "small")
    pen.arrow(238, 406, 262, 406, STREAM)
    pen.text(276, 406, "Z", "italic large")


def _sign(pen, page, x, y, word, symbol) -> None:
    """Where all ranks meet."""
    with signs.linked(pen, page, f"{CODE}.operators:{symbol}"):
        pen.box(x - 13, y - 13, 26, 26, word, f"{MEMORY} tint italic", rx=13)


def _columns(pen, page, x, y, rank) -> None:
    """A, four wide and two high; half of its columns are here."""
    pen.box(x, y, 96, 48, "", "soft", rx=0)
    with signs.linked(pen, page, f"{CODE}.model:Column"):
        pen.box(x + 48 * rank, y, 48, 48, f"A_{{{rank + 1}}}",
                f"{RANKS[rank]} tint italic", rx=0)  # fmt: skip


def _rows(pen, page, x, y, rank) -> None:
    """B, two wide and four high; half of its rows are here."""
    pen.box(x, y, 48, 96, "", "soft", rx=0)
    with signs.linked(pen, page, f"{CODE}.model:Row"):
        pen.box(x, y + 48 * rank, 48, 48, f"B_{{{rank + 1}}}",
                f"{RANKS[rank]} tint italic", rx=0)  # fmt: skip
