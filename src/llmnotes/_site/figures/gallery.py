"""What the pen can do, for the gallery: every mark once, and a stepper."""

from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen

WORDS = ["A box.", "A box, and where it leads.", "All of it."]


def marks(page) -> Drawing:
    """Boxes, lines and words, one after the other."""
    return Drawing(
        wide=_marks(Pen(640, 150), 170),
        narrow=_marks(Pen(343, 150), 100),
        frames=WORDS,
        default=2,
    )


def _marks(pen: Pen, apart: float) -> Pen:
    pen.box(8, 40, apart * 0.6, 48, "Box", kind="c1 tint")
    with pen.group(frame=[1, 2], default=2):
        pen.arrow(8 + apart * 0.6, 64, 8 + apart, 64)
        pen.box(8 + apart, 40, apart * 0.6, 48, "x_{i}^{2} + 1")
    with pen.group(frame=2, default=2):
        x = 8 + apart * 1.8
        pen.line(x, 30, x, 100, kind="dashed soft")
        pen.dot(x + 20, 64, kind="c2")
        pen.dot(x + 40, 64, kind="c3 ring")
        pen.text(x + 56, 64, "words", kind="soft", anchor="start")
        pen.curve([(x + 12, 90), (x + 40, 100), (x + 80, 84)], kind="c4")
        pen.box(x, 112, 80, 26, "ghost", kind="ghost small")
    return pen
