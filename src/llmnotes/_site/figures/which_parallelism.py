"""Eight ranks in three dimensions, and what goes between them."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes.parallel.pipeline.mesh import Mesh

MESH = Mesh(stages=2, data=2, tensor=2)
CODE = "parallel.pipeline.mesh:Mesh.place"


def mesh(page) -> Drawing:
    """Stages from left to right, rows of the batch below each other."""
    wide, narrow = Pen(620, 250), Pen(343, 250)
    for pen in (wide, narrow):
        _mesh(pen, page)
    return Drawing(wide, narrow)


def _mesh(pen, page) -> None:
    left = 84 if pen.width > 400 else 52
    gap = 70 if pen.width > 400 else 34
    width = (pen.width - left - gap - 4) / 2
    for stage in range(2):
        x = left + stage * (width + gap)
        words = "first layers" if stage == 0 else "last layers"
        pen.text(x + width / 2, 12, words, "bold")
    for d in range(2):
        y = 28 + d * 118
        pen.text(2, y + 38, f"rows\n{'A' if d == 0 else 'B'}", "", "start")
        for stage in range(2):
            x = left + stage * (width + gap)
            with signs.linked(pen, page, CODE):
                _pair(pen, x, y, width, stage, d)
            if stage == 0:
                pen.arrow(x + width + 4, y + 26, x + width + gap - 4, y + 26)
                pen.arrow(x + width + gap - 4, y + 50, x + width + 4, y + 50)
    for stage in range(2):
        x = left + stage * (width + gap) + width / 2
        pen.arrow(x - 6, 106, x - 6, 144, "c4 thick")
        pen.arrow(x + 6, 144, x + 6, 106, "c4 thick")
        pen.text(x + 14, 125, "gradients", "small", "start")


def _pair(pen, x, y, width, stage, d) -> None:
    """Two ranks that share the layers of a stage, and their rows."""
    each = (width - 22) / 2
    for t in range(2):
        rank = (stage * 2 + d) * 2 + t
        assert MESH.place(rank) == {"stages": stage, "data": d, "tensor": t}
        at = x + t * (each + 22)
        pen.box(at, y, each, 76, f"rank\n{rank}", "c1 tint")
    for high in (26, 50):
        pen.line(x + each, y + high, x + each + 22, y + high, "c3 thick")
