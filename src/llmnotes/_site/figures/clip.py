"""Two towers and the matrix between them, drawn and as it came out.

The one picture that is shown with its captions is drawn by the package.
"""

from llmnotes._site.figures import pixels, signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, MEMORY, QUERY, VALUE

MODEL, LOSSES = "diffusion.clip.model", "diffusion.clip.losses"
TOWERS = "diffusion.clip.towers"
MATRIX, NEAREST = "diffusion/clip:matrix", "diffusion/clip:nearest"
SHOWN = 777, 3  # seed and step of the picture that `nearest` shows
THINGS = (  # half a size in px, colour, shape, and what is said of it
    (6, KEY, "circle", "a small red circle"),
    (10, QUERY, "triangle", "a large blue triangle"),
    (10, VALUE, "square", "a large green square"),
    (6, QUERY, "circle", "a small blue circle"),
)
PICTURE = 36  # px of a thumbnail
CELL = 46  # px of the drawn matrix
BAR = 26  # px of the measured one
COLUMN = "ABCDEFGH"


def towers(page) -> Drawing:
    """Images and captions pass a tower each and meet in a matrix."""
    wide, narrow = Pen(680, 352), Pen(343, 418)
    _captions(wide, 8, 14)
    wide.arrow(146, 51, 178, 51)
    _tower(wide, page, 178, 14, 108, 74, "text tower", "TextModel", KEY)
    _columns(wide, 286, 51, 420, 112)
    _rows(wide, page, 8, 136, 84, 148)
    _matrix(wide, page, 402, 136)
    wide.text(596, 228, "each row:\nwhich caption\nis mine?", "small", "start")
    _captions(narrow, 8, 14)
    narrow.arrow(146, 51, 226, 51)
    _tower(narrow, page, 226, 14, 108, 74, "text tower", "TextModel", KEY)
    _columns(narrow, 280, 88, 172, 154, down=118)
    _narrow_rows(narrow, page, 8, 178)
    _matrix(narrow, page, 154, 178)
    narrow.text(246, 402, "row: which caption is mine?", "small")
    return Drawing(wide, narrow)


def _captions(pen, x, y) -> None:
    """What is said of each image."""
    for i, (*_, words) in enumerate(THINGS):
        pen.text(x, y + 10 + 18 * i, words, "small", "start")


def _tower(pen, page, x, y, width, height, words, symbol, colour) -> None:
    """A network, with a link to its code."""
    with signs.linked(pen, page, f"{TOWERS}:{symbol}"):
        pen.box(x, y, width, height, words, f"{colour} tint")


def _columns(pen, x, y, first, top, down=None) -> None:
    """A vector for each caption, above its column."""
    turn = y if down is None else down
    points = [(x, y), (x, turn)] if down else [(x, y)]
    ends = [first + i * CELL + 5 for i in range(len(THINGS))]
    low, high = min([*ends, x]), max([*ends, x])
    pen.curve(points, "")
    pen.line(low if down else x, turn, high, turn)
    for i, end in enumerate(ends):
        pen.arrow(end, turn, end, top - 8)
        pen.text(end, top + 4, f"T_{{{i + 1}}}", "italic")


def _thing(pen, x, y, half, colour, shape) -> None:
    """A thumbnail of one thing."""
    pen.box(x, y, PICTURE, PICTURE, "", f"{signs.STREAM} tint")
    middle = PICTURE / 2
    cx, cy, kind = x + middle, y + middle, f"{colour} solid bare"
    if shape == "circle":
        pen.put("circle", kind, cx=cx, cy=cy, r=half)
    elif shape == "square":
        pen.put("rect", kind, x=cx - half, y=cy - half,
                width=2 * half, height=2 * half)  # fmt: skip
    else:
        path = f"M{cx:g} {cy - half:g}l{half} {2 * half}h{-2 * half}z"
        pen.path(path, kind)


def _rows(pen, page, x, y, tower, width) -> None:
    """Images, their tower, a vector for each, in front of its row."""
    last = y + CELL * len(THINGS)
    for i, (*thing, _) in enumerate(THINGS):
        at = y + CELL * i
        _thing(pen, x + 8, at + (CELL - PICTURE) / 2, *thing)
        pen.arrow(x + 52, at + CELL / 2, tower, at + CELL / 2)
        pen.arrow(tower + width, at + CELL / 2, 362, at + CELL / 2)
        pen.text(380, at + CELL / 2, f"I_{{{i + 1}}}", "italic")
    with signs.linked(pen, page, f"{TOWERS}:VisionModel"):
        pen.box(
            tower, y, width, last - y, "image tower\nof patches",
            f"{QUERY} tint",
        )  # fmt: skip


def _narrow_rows(pen, page, x, y) -> None:
    """The same with a slim tower."""
    for i, (*thing, _) in enumerate(THINGS):
        at = y + CELL * i
        _thing(pen, x, at + (CELL - PICTURE) / 2, *thing)
        pen.arrow(x + 40, at + CELL / 2, x + 54, at + CELL / 2)
        pen.arrow(x + 104, at + CELL / 2, x + 118, at + CELL / 2)
        pen.text(x + 130, at + CELL / 2, f"I_{{{i + 1}}}", "italic")
    with signs.linked(pen, page, f"{TOWERS}:VisionModel"):
        pen.box(
            x + 54, y, 50, CELL * len(THINGS), "image\ntower",
            f"{QUERY} tint small",
        )  # fmt: skip


def _matrix(pen, page, x, y) -> None:
    """Every image with every caption; the diagonal belongs together."""
    count = len(THINGS)
    with signs.linked(pen, page, f"{LOSSES}:contrastive_loss"):
        for i in range(count):
            for j in range(count):
                own = f"{MEMORY} tint" if i == j else ""
                pen.box(
                    x + j * CELL, y + i * CELL, CELL, CELL,
                    "e^{t}I·T" if i == j else "", f"{own} small", rx=0,
                )  # fmt: skip
    below = y + CELL * count + 16
    pen.text(x + CELL * count / 2, below, "column: which image is mine?",
             "small")  # fmt: skip


def matrix(page) -> Drawing:
    """Cosines of pictures and captions after a training."""
    found = list(rows(page, MATRIX))
    captions = list(dict.fromkeys(row["caption"] for row in found))
    cosines = signs.matrix(found, "image", "column", "cosine")
    size = len(captions)
    wide = Pen(680, 64 + BAR * size)
    narrow = Pen(343, 68 + (20 + 34) * size)
    _captions_of(wide, captions, 2, 40)
    _shaded(wide, page, cosines, 424, 40, BAR)
    for i, caption in enumerate(captions):
        narrow.text(2, 12 + 20 * i, f"{COLUMN[i]}  {caption}", "small",
                    "start")  # fmt: skip
    _shaded(narrow, page, cosines, 40, 20 * size + 40, 34)
    return Drawing(wide, narrow, reads=(MATRIX,))


def _captions_of(pen, captions, x, y) -> None:
    """The captions in front of the rows of the pictures they belong to."""
    for i, caption in enumerate(captions):
        pen.text(x, y + BAR * (i + 0.5), f"{COLUMN[i]}  {caption}", "small",
                 "start")  # fmt: skip


def _shaded(pen, page, cosines, x, y, size) -> None:
    """Cells as dark as their cosine; what is below nothing stays white."""
    with signs.linked(pen, page, f"{MODEL}:CLIP.forward"):
        for i, row in enumerate(cosines):
            pen.text(x - 12, y + size * (i + 0.5), COLUMN[i], "small")
            pen.text(x + size * (i + 0.5), y - 12, COLUMN[i], "small")
            for j, cosine in enumerate(row):
                pen.put(
                    "rect", f"{QUERY} solid bare",
                    x=x + j * size, y=y + i * size, width=size, height=size,
                    fill_opacity=f"{max(cosine, 0):.2f}",
                    shape_rendering="crispEdges",
                )  # fmt: skip
        side = size * len(cosines)
        pen.put("rect", "", x=x, y=y, width=side, height=side)
    pen.text(x + side / 2, y + side + 14, "caption across, picture down",
             "small")  # fmt: skip


def nearest(page) -> Drawing:
    """A picture, and the captions that a trained model finds nearest."""
    found = list(rows(page, NEAREST))
    wide, narrow = Pen(680, 190), Pen(343, 172 + 42 * len(found))
    pixels.put(wide, 2, 15, 160, _shown())
    pixels.put(narrow, 99, 2, 145, _shown())
    with signs.linked(wide, page, f"{MODEL}:CLIP.forward"):
        for i, row in enumerate(found):
            y = 30 + 32 * i
            wide.text(184, y, row["caption"], "small", "start")
            _bar(wide, 530, y, 90, row["chance"])
    with signs.linked(narrow, page, f"{MODEL}:CLIP.forward"):
        for i, row in enumerate(found):
            y = 170 + 42 * i
            narrow.text(2, y, row["caption"], "small", "start")
            _bar(narrow, 2, y + 18, 270, row["chance"])
    return Drawing(wide, narrow, reads=(NEAREST,))


def _bar(pen, x, y, width, share) -> None:
    """A share as a bar, and in words behind it."""
    pen.put("rect", f"{QUERY} solid bare", x=x, y=y - 6,
            width=max(share * width, 0.5), height=12)  # fmt: skip
    words = f"{share:.1%}".replace("%", " %")
    pen.text(x + max(share * width, 0.5) + 6, y, words, "small", "start")


def _shown():
    """The picture that the captions are told of."""
    from llmnotes import scenes  # here: it imports torch

    seed, step = SHOWN
    return scenes.batch(seed, step, 1, split="test").images[0].numpy()
