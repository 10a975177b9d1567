"""A layer in 4 bits: what is kept, what is made for one product."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import QUERY, STREAM

CODE = "adaptation.qlora.layer"
ROW = 32  # px of a kept part
KEPT = (
    ("a code for each weight", "4 bits"),
    ("a scale for 64 weights", "8 bits"),
    ("a scale for 256 scales", "32 bits"),
)


def layer(page) -> Drawing:
    """What is kept above what is made, and the adapter below."""
    wide, narrow = Pen(680, 330), Pen(343, 440)
    _kept(wide, page, 2, 14, 290)
    _made(wide, 376, 52, 120)
    wide.arrow(292, 81, 374, 81)
    wide.text(333, 68, "looked up", "small")
    _flow(wide, page, 436, 110, 186, 560, 634)
    _kept(narrow, page, 2, 14, 339)
    _made(narrow, 106, 184, 132)
    narrow.arrow(172, 142, 172, 182)
    narrow.text(182, 162, "looked up", "small", "start")
    _flow(narrow, page, 172, 242, 300, 254, 297)
    return Drawing(wide, narrow)


def _kept(pen, page, x, y, width) -> None:
    """The three parts of a weight that lie in memory."""
    pen.text(x, y, "Kept: 4.13 bits a weight", "bold", "start")
    with signs.linked(pen, page, "adaptation.qlora.double:DoubleNF4"):
        for i, (name, bits) in enumerate(KEPT):
            top = y + 18 + i * (ROW + 4)
            pen.box(x, top, width, ROW, "", f"{STREAM} tint")
            middle = top + ROW / 2
            pen.text(x + 10, middle, name, "small", "start")
            pen.text(x + width - 10, middle, bits, "small", "end")


def _made(pen, x, y, width) -> None:
    """The weight itself, which nobody keeps."""
    pen.box(x, y, width, 58, "W\n16 or 32 bits", "ghost small")


def _flow(pen, page, product, above, y, plus, end) -> None:
    """From x by the product and the adapter to y."""
    low = y + 86
    pen.box(2, y - 15, 44, 30, "x", "small")
    with signs.linked(pen, page, f"{CODE}:Product"):
        pen.arrow(46, y, product - 11, y)
        pen.arrow(product, above, product, y - 10, "dashed")
        pen.dot(product, y, 10, "ring")
        pen.text(product, y, "·", "large bold")
    words = "made for one product,\nthen thrown away"
    pen.text(product + 10, (above + y) / 2 - 3, words, "small", "start")
    pen.arrow(product + 10, y, plus - 9, y)
    signs.plus(pen, plus, y)
    pen.arrow(plus + 9, y, end - 1, y)
    pen.box(end, y - 15, 44, 30, "y", "small")
    pen.elbow([(24, y + 15), (24, low), (92, low)], QUERY)
    _thin(pen, 94, low - 1, 44, 2, "")
    pen.text(116, low + 13, "A", "bold")
    pen.arrow(140, low, 196, low, QUERY)
    _thin(pen, 200, low - 22, 2, 44, "B")
    pen.elbow([(202, low), (plus, low), (plus, y + 10)], QUERY)
    words = "an adapter in 32 bits: it alone is trained"
    pen.text(2, low + 46, words, "small", "start")


def _thin(pen, x, y, width, height, name) -> None:
    """A matrix of the adapter."""
    pen.put("rect", f"{QUERY} solid", x=x, y=y, width=width, height=height)
    pen.text(x + width + 6, y + height / 2 + 13, name, "bold", "start")
