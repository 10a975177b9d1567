"""The Transformer: two streams, and who sees whom on each of them."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import MEMORY, MLP, QUERY, STREAM, count

PARTS = "transformer/transformer_drawn:parts"
CODE = "transformer.transformer.model"
LAYERS = 6  # of the base model, in each stack
TOP = 106  # y of both stacks
FULL, CAUSAL = "padding after 5", "causal"
ATTENTION, FORWARD = 138, 108  # heights of the sublayers


def model(page) -> Drawing:
    """Encoder on the left, decoder on the right, memory between them."""
    wide, narrow = Pen(680, 590), Pen(343, 590)
    for pen, columns in ((wide, 250), (narrow, 160)):
        _both(pen, page, columns)
    return Drawing(wide, narrow, reads=(PARTS, signs.MASKS))


class Column:
    """One stack: its stream on the outside, its boxes on the inside."""

    def __init__(self, pen, page, x, width, side):
        self.pen, self.page, self.side = pen, page, side
        self.rail = x + 14 if side > 0 else x + width - 14
        self.x = x + 40 if side > 0 else x
        self.width = width - 40
        self.near = self.x if side > 0 else self.x + self.width

    def sublayer(self, y, title, number, norm, symbol, mask=None) -> float:
        """Draw a sublayer, its sum and its norm; return where it ends."""
        pen, high = self.pen, 74 if mask else 44
        kind = QUERY if mask else MLP
        turn = self.x + self.width / 2
        pen.dot(self.rail, y + 8, 4)
        pen.elbow([(self.rail, y + 8), (turn, y + 8), (turn, y + 24)])
        with signs.linked(pen, self.page, f"{CODE}:{symbol}"):
            pen.box(self.x, y + 24, self.width, high, kind=f"{kind} tint")
            pen.text(self.x + 8, y + 38, title, "go", "start")
            at = self.x + 8, y + (58 if mask else 55)
            pen.text(*at, count(number), "small", "start")
        if mask:
            signs.mask(pen, self.x + self.width - 46, y + 50, mask, 5)
        low = y + high + 12
        pen.elbow([(self.near, low), (self.rail + 9 * self.side, low)])
        signs.plus(pen, self.rail, low)
        left = self.rail - 12 if self.side > 0 else self.rail - 70
        pen.box(left, low + 16, 82, 20, f"norm {count(norm)}", "small")
        return low + 52


def _both(pen, page, width) -> None:
    counts = {r["part"]: r["parameters"] for r in rows(page, PARTS)}
    full, causal = signs.seen(page, FULL), signs.seen(page, CAUSAL)
    left = Column(pen, page, 1, width, 1)
    right = Column(pen, page, pen.width - width - 1, width, -1)
    ends = TOP + ATTENTION + FORWARD, TOP + 2 * ATTENTION + FORWARD
    _frame(pen, left, ends[0], width)
    _frame(pen, right, ends[1], width)
    signs.rail(pen, left.rail, 46, ends[0] + 26)
    signs.rail(pen, right.rail, 46, ends[1] + 26)
    _embedding(pen, page, counts, left, right)
    norm, self_ = counts["norm"], ("self-attention", counts["attention"])
    forward = "feed-forward", counts["feed-forward"], norm
    y = left.sublayer(TOP + 6, *self_, norm, "EncoderLayer.forward", full)
    left.sublayer(y, *forward, "Layer.feed_forward")
    y = right.sublayer(TOP + 6, *self_, norm, "DecoderLayer.forward", causal)
    cross = "cross-attention", counts["cross-attention"], norm
    _memory(pen, left, right, ends[0] + 26, y + 84)
    y = right.sublayer(y, *cross, "DecoderLayer.forward", full)
    right.sublayer(y, *forward, "Layer.feed_forward")
    _head(pen, page, right, ends[1] + 26)


def _frame(pen, column, end, width) -> None:
    x = column.rail - 14 if column.side > 0 else column.x
    grown = 6 if column.side < 0 else 0
    pen.box(x - grown, TOP - 8, width + 6, end - TOP + 18, "", "ghost", rx=8)
    at = column.x + column.width - 4 if column.side > 0 else column.x + 4
    anchor = "end" if column.side > 0 else "start"
    name = "encoder" if column.side > 0 else "decoder"
    pen.text(at, TOP - 20, f"{name} × {LAYERS}", "bold", anchor)


def _embedding(pen, page, counts, left, right) -> None:
    with signs.linked(pen, page, f"{CODE}:Transformer.embed"):
        pen.box(1, 1, pen.width - 2, 45, kind=STREAM)
        words = f"one embedding, {count(counts['embedding'])}"
        pen.text(pen.width / 2, 14, words, "go")
        pen.text(left.rail - 6, 33, "of the source", "small soft", "start")
        pen.text(
            right.rail + 6, 33, "of the target so far", "small soft", "end"
        )
    for column in (left, right):
        signs.plus(pen, column.rail, 66)
        at = column.rail + 46 * column.side
        pen.arrow(at, 66, column.rail + 9 * column.side, 66)
        anchor = "start" if column.side > 0 else "end"
        pen.text(at + 4 * column.side, 66, "positions, 0", "small", anchor)


def _memory(pen, left, right, low, high) -> None:
    """What the encoder hands over, read by the decoder's second attention."""
    gap = (left.x + left.width + right.x) / 2
    pen.elbow(
        [(left.rail, low), (gap, low), (gap, high), (right.x, high)],
        f"{MEMORY} thick",
    )
    words = "memory: keys and\nvalues of the source"
    pen.text(left.rail, low + 26, words, f"{MEMORY} small", "start")
    words = "In a small square the row\nasks, filled columns answer."
    pen.text(left.rail - 13, low + 86, words, "small soft", "start")


def _head(pen, page, right, y) -> None:
    x, width = right.x, right.width + 38
    with signs.linked(pen, page, f"{CODE}:Transformer.decode"):
        pen.box(x, y, width, 44, kind=STREAM)
        pen.text(x + width / 2, y + 13, "the same embedding", "small go")
        pen.text(x + width / 2, y + 31, "0 more", "small soft")
    pen.line(right.rail, y + 44, right.rail, y + 62, f"{STREAM} rail")
    pen.head(right.rail, y + 68, 1.5708, STREAM)
    pen.text(right.rail - 12, y + 58, "the next token", "small", "end")
