"""Pictures that went through latents: there and back, random, and changed.

They are read from a result, as those of the GLIDE chapter are.
"""

import textwrap

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.glide_pictures import LINE, put, word
from llmnotes._site.figures.pen import Pen

EXHIBITS = "diffusion/latent_diffusion:exhibits"
RUNS = "diffusion.latent_diffusion.runs"
MADE = {"there and back": "rebuilt", "random latents": "decoded"}


def rebuilt(page) -> Drawing:
    """Pictures, the same there and back, and decoded random latents."""
    found = _grouped(page, "rebuilt", "what")
    wide, narrow = Pen(680, 428), Pen(343, 4 * 132 + 26)
    for i, (what, line) in enumerate(found.items()):
        _head(wide, page, 4, 58 + 144 * i, what)
        _head(narrow, page, 55 + 115 * i, 10, what, "middle")
        for j, row in enumerate(line):
            says = (word(row["verdict"]),) if what == "there and back" else ()
            put(wide, 118 + 143 * j, 2 + 144 * i, 112, row, *says)
            put(narrow, 5 + 115 * i, 28 + 132 * j, 100, row, *says)
    return Drawing(wide, narrow, reads=(EXHIBITS,))


def changed(page) -> Drawing:
    """Pictures, and what became of them at each strength."""
    found = _grouped(page, "changed", "caption")
    wide, narrow = Pen(680, 172 * len(found)), Pen(343, 334 * len(found))
    for i, (caption, line) in enumerate(found.items()):
        _changes(wide, page, 172 * i, 6, caption, line)
        _changes(narrow, page, 334 * i, 3, caption, line)
    return Drawing(wide, narrow, reads=(EXHIBITS,))


def _grouped(page, figure, column) -> dict:
    """The rows of a figure by what one of their columns says."""
    found = {}
    for row in rows(page, EXHIBITS):
        if row["figure"] == figure:
            found.setdefault(row[column], []).append(row)
    return found


def _head(pen, page, x, y, what, anchor="start") -> None:
    """What a row of pictures, or a column, is."""
    if what not in MADE:
        pen.text(x, y, what, "small", anchor)
        return
    with signs.linked(pen, page, f"{RUNS}:{MADE[what]}"):
        pen.text(x, y, what, "small go", anchor)


def _changes(pen, page, y, across, caption, line) -> None:
    """A new caption, and the picture at each strength."""
    letters = 100 if across > 3 else 54
    for i, words in enumerate(textwrap.wrap(caption, letters)):
        pen.text(4, y + 10 + LINE * i, words, "small", "start")
    top = y + 24 + (0 if across > 3 else LINE)
    for i, row in enumerate(line):
        at = 4 + 114 * (i % across), top + 146 * (i // across)
        _change(pen, page, *at, row)


def _change(pen, page, x, y, row) -> None:
    """A picture, above it how it came about, below it whether it is right."""
    says = ()
    if row["what"] == "picture":
        pen.text(x + 49, y + 6, "picture", "small")
    else:
        says = (word(row["verdict"]),)
        with signs.linked(pen, page, f"{RUNS}:changed"):
            pen.text(x + 49, y + 6, row["what"], "small go")
    put(pen, x, y + 18, 98, row, *says)
