"""A checkpoint's way: from two ranks into a folder, and to four ranks.

All numbers lie in one row. A tick ends a tensor; a colour is a rank's part.
"""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen

CODE = "parallel.checkpointing"
TENSORS = (("weights", 0.34), ("exp_avg", 0.33), ("exp_avg_sq", 0.33))
WRITERS, READERS = ("c1", "c2"), ("c3", "c4", "c5", "c6")
HIGH = 26  # px of a row of numbers


def ways(page) -> Drawing:
    """Written by two, read by four."""
    wide, narrow = Pen(640, 330), Pen(343, 330)
    for pen in (wide, narrow):
        _draw(pen, page)
    return Drawing(wide, narrow)


def _draw(pen, page) -> None:
    """From the top down."""
    left, width = 2, pen.width - 4
    _names(pen, left, width, 12)
    with signs.linked(pen, page, f"{CODE}.parts:flat"):
        _row(pen, left, 24, width, WRITERS, "rank")
    half = width / 2
    with signs.linked(pen, page, f"{CODE}.checkpoints:Checkpoints.write"):
        for i, kind in enumerate(WRITERS):
            x = left + (i + 0.5) * half
            pen.arrow(x, 52, x, 96, kind)
            label = "write, fsync"
            pen.text(x + 8, 72, label, "small go", "start")
    _folder(pen, page, left, 100, width)
    with signs.linked(pen, page, f"{CODE}.checkpoints:Checkpoints.load"):
        _reading(pen, left, width)


def _names(pen, left, width, y) -> None:
    """The tensors above their part of the row."""
    at = left
    for name, share in TENSORS:
        pen.text(at + share * width / 2, y, name, "small mono")
        at += share * width


def _row(pen, left, y, width, kinds, word) -> None:
    """One row of numbers in equal parts, with ticks between tensors."""
    each = width / len(kinds)
    for i, kind in enumerate(kinds):
        name = f"{word} {i}"
        pen.box(left + i * each, y, each, HIGH, name, f"{kind} tint small")
    at = left
    for _, share in TENSORS[:-1]:
        at += share * width
        for end in (y - 6, y + HIGH):
            pen.line(at, end, at, end + 6)


def _folder(pen, page, left, y, width) -> None:
    """The files, the folder's two names, and who gives it the second."""
    pen.box(left, y, width, 118, "", "soft ghost")
    pen.text(left + 8, y + 14, ".part/", "small mono", "start")
    each = (width - 32) / 2
    for i, kind in enumerate(WRITERS):
        x = left + 8 + i * (each + 16)
        pen.box(x, y + 28, each, 26, f"rank-{i}.bin", f"{kind} tint small")
    with signs.linked(pen, page, f"{CODE}.index:Index"):
        pen.box(
            left + 8, y + 64, width - 16, 26,
            "index.json: shapes, places, sha256", "soft tint small go",
        )  # fmt: skip
    with signs.linked(pen, page, f"{CODE}.checkpoints:Checkpoints.end"):
        pen.text(
            left + 8, y + 104, "rename to step-000009/ when all have written",
            "small go", "start",
        )  # fmt: skip


def _reading(pen, left, width) -> None:
    """Four ranks, each of which reads its quarter."""
    each = width / 4
    for i, kind in enumerate(READERS):
        x = left + (i + 0.5) * each
        pen.arrow(x, 222, x, 282, kind)
    pen.text(left + 2 * each, 252, "read what\nis needed", "small go")
    _row(pen, left, 290, width, READERS, "rank")
