"""Pictures that DALL·E 2's decoder drew, told by several ways.

Pictures are read from results, see `glide_pictures`.
"""

import textwrap

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.glide_pictures import LINE, put, said
from llmnotes._site.figures.pen import Pen

DRAWN = "diffusion/dalle2:drawn"
CODE = "diffusion.dalle2"
WAYS = {  # as results call them: what is said of them, and their code
    "direct": ("caption's own", "priors:Direct"),
    "mean gap": ("mean gap", "priors:MeanGap"),
    "regression": ("regression", "priors:Regression"),
    "diffusion": ("diffusion prior", "diffusion_prior:DiffusionPrior"),
    "real": ("real embedding", "task:of_pictures"),
}
SIDE, STEP = 100, 116  # px of a picture, and from one to the next
HEAD, TALL = 26, 166  # px of a caption, and of a line of pictures


def ways(page) -> Drawing:
    """Each caption with the pictures that six embeddings became."""
    found = {}
    for row in rows(page, DRAWN):
        found.setdefault(row["caption"], []).append(row)
    count = len(found)
    wide = Pen(680, (HEAD + TALL) * count)
    narrow = Pen(343, (HEAD + LINE + 2 * TALL) * count)
    for i, (caption, line) in enumerate(found.items()):
        _row(wide, page, (HEAD + TALL) * i, 6, caption, line)
        tall = HEAD + LINE + 2 * TALL
        _row(narrow, page, tall * i, 3, caption, line)
    return Drawing(wide, narrow, reads=(DRAWN,))


def _row(pen, page, y, across, caption, line) -> None:
    """A caption, and what was drawn for it."""
    lines = textwrap.wrap(caption, 100 if across > 3 else 54)
    for i, words in enumerate(lines):
        pen.text(0, y + 10 + LINE * i, words, "small bold", "start")
    top = y + HEAD + (0 if across > 3 else LINE)
    for i, row in enumerate(line):
        at = (STEP if across > 3 else 121) * (i % across)
        _picture(pen, page, at, top + TALL * (i // across), row)


def _picture(pen, page, x, y, row) -> None:
    """The way above a picture, and the checker's word below."""
    title, code = WAYS[row["way"]]
    with signs.linked(pen, page, f"{CODE}.{code}"):
        pen.text(x + SIDE / 2, y + 6, title, "small go")
    put(pen, x, y + 18, SIDE, row, said(row["verdict"]), letters=16)
