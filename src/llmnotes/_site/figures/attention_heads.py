"""Multi-head attention: every matrix to scale, and heads that share keys."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, QUERY, VALUE

HEADS = "transformer/attention_drawn:heads"
CODE = "transformer.attention"
UNIT, BIG = 4.0, 8.0  # px per number, in a strip and in one head
TALL, SIDE = 420, 330  # height of the way through, of the sharing
NAMES = {6: "multi-head", 3: "grouped-query", 1: "multi-query"}
CHOSEN = 2  # the head that is drawn in full


def heads(page) -> Drawing:
    """The way of five tokens through six heads; beneath, who shares keys."""
    shapes = list(rows(page, HEADS))
    wide, narrow = Pen(680, TALL), Pen(343, TALL + SIDE)
    for pen, x, y in ((wide, 366, 44), (narrow, 0, TALL + 14)):
        _way(pen, page, shapes[0])
        _sharing(pen, page, x, y, shapes)
    wide.line(352, 20, 352, TALL - 20, "thin soft")
    narrow.line(20, TALL, 323, TALL, "thin soft")
    return Drawing(wide, narrow, reads=(HEADS,))


def _way(pen, page, shape) -> None:
    """From X down to Y, in the left 343 px."""
    n, width, d = shape["tokens"], shape["width"], shape["head_dim"]
    strip, middle = width * UNIT, 171.5
    left = middle - strip / 2
    signs.cells(pen, left, 8, n, width, UNIT, "tint")
    pen.text(left - 8, 18, "X", "italic", "end")
    pen.text(left + strip + 8, 18, f"{n} × {width}", "small soft", "start")
    with signs.linked(pen, page, f"{CODE}:MultiHeadAttention.split"):
        _projections(pen, middle, shape)
    with signs.linked(pen, page, f"{CODE}:attention"):
        _one_head(pen, shape)
    with signs.linked(pen, page, f"{CODE}:merge_heads"):
        _strip(pen, left - 5, 318, n, d, VALUE)
        pen.text(left - 14, 328, "heads side by side", "small go", "end")
    pen.text(left + strip + 14, 328, f"{n} × {width}", "small soft", "start")
    pen.arrow(middle, 342, middle, 386)
    pen.text(middle + 10, 363, f"· W_{{O}}   {width} × {width}", "", "start")
    signs.cells(pen, left, 390, n, width, UNIT, "tint")
    pen.text(left - 8, 400, "Y", "italic", "end")
    pen.text(left + strip + 8, 400, f"{n} × {width}", "small soft", "start")


def _projections(pen, middle, shape) -> None:
    """Three arrows from X and three strips, cut into heads."""
    n, d, width = shape["tokens"], shape["head_dim"], shape["width"]
    for i, (name, kind) in enumerate((("Q", QUERY), ("K", KEY), ("V", VALUE))):
        x = 4 + i * 116
        pen.arrow(middle + (i - 1) * 30, 32, x + 53, 82, "soft")
        pen.text(*((70, 50), (190, 62), (272, 50))[i], f"W_{{{name}}}", "go")
        _strip(pen, x, 86, n, d, kind)
        pen.text(x, 122, name, f"{kind} italic", "start")
        pen.text(x + 106, 122, f"{n} × {width}", "small soft", "end")


def _strip(pen, x, y, n, d, kind) -> None:
    """Six heads side by side, the chosen one filled."""
    for head in range(6):
        fill = "solid" if head == CHOSEN else "tint"
        at = x + head * (d * UNIT + 2)
        signs.cells(pen, at, y, n, d, UNIT, f"{kind} {fill}")


def _one_head(pen, shape) -> None:
    """Scores of one head, its weights and its answer."""
    n, d = shape["tokens"], shape["head_dim"]
    y, at = 196, 4 + CHOSEN * 18 + 8
    starts = ((at, 20, QUERY), (at + 116, 82, KEY), (at + 232, 246, VALUE))
    for x, to, kind in starts:
        signs.bend(pen, x, 108, to, y - 3, f"{kind} thin")
    signs.ruled(pen, 4, y, n, d, BIG, f"{QUERY} solid")
    pen.text(48, y + 20, "·")
    signs.ruled(pen, 60, y + 4, d, n, BIG, f"{KEY} solid")
    pen.text(80, y + 52, "transposed", "small soft")
    pen.arrow(108, y + 20, 154, y + 20)
    pen.text(130, y + 6, "softmax", "small go")
    signs.ruled(pen, 160, y, n, n, BIG, "tint")
    pen.text(180, y + 52, f"weights {n} × {n}", "small soft")
    pen.text(214, y + 20, "·")
    signs.ruled(pen, 230, y, n, d, BIG, f"{VALUE} solid")
    pen.text(276, y + 20, "=")
    signs.ruled(pen, 290, y, n, d, BIG, f"{VALUE} solid")
    pen.text(306, y + 52, f"{n} × {d}", "small soft")
    pen.text(20, y + 52, f"{n} × {d}", "small soft")
    pen.text(171, y + 78, "the same in the five other heads", "small")
    to = 171.5 - 53 + CHOSEN * 18 + 8
    pen.curve([(306, y + 62), (306, y + 96), (to, y + 96)], f"{VALUE} thin")
    pen.arrow(to, y + 96, to, 316, f"{VALUE}")


def _sharing(pen, page, x, y, shapes) -> None:
    """Who asks whom, with six, three and one key heads."""
    with signs.linked(pen, page, f"{CODE}:repeat_kv"):
        for i, shape in enumerate(shapes):
            _variant(pen, x + 8, y + i * 108, shape)


def _variant(pen, x, y, shape) -> None:
    asking, keys = shape["heads"], shape["kv_heads"]
    apart = 34
    pen.text(x, y, NAMES[keys], "bold go", "start")
    for head in range(asking):
        at = x + head * apart
        to = x + (head // (asking // keys) + 0.5) * (asking // keys) * apart
        pen.line(at + 12, y + 34, to - 5, y + 56, f"{KEY} thin")
        pen.box(at, y + 14, 24, 20, "q", f"{QUERY} tint small")
    for key in range(keys):
        mid = x + (key + 0.5) * (asking // keys) * apart - 5
        pen.box(mid - 12, y + 56, 12, 20, "k", f"{KEY} tint small", rx=2)
        pen.box(mid, y + 56, 12, 20, "v", f"{VALUE} tint small", rx=2)
    pen.text(x + 212, y + 30, str(shape["kept"]), "large", "start")
    pen.text(x + 212, y + 51, "numbers kept", "small soft", "start")
    pen.text(x + 212, y + 67, "for each token", "small soft", "start")
