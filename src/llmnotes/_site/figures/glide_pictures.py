"""Pictures that the GLIDE chapter's networks drew, with the checker's words.

Pictures are read from results: 768 of the digits 0 to f, red, green and blue,
each row by row. A caption is set in short lines below its picture.
"""

import textwrap

from llmnotes._site.figures import pixels, signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen

DRAWN, MISLED, FILLED = (
    f"diffusion/glide:{name}" for name in ("drawn", "misled", "filled")
)
CODE = "diffusion.glide"
SIDE = 16  # pixels
LINE = 15  # px from one line of small words to the next


def decoded(picture: str) -> list[list[list[float]]]:
    """Red, green and blue from 0 to 1."""
    levels = iter(int(letter, 16) / 15 for letter in picture)
    return [
        [[next(levels) for _ in range(SIDE)] for _ in range(SIDE)]
        for _ in range(3)
    ]


def said(verdict: str) -> str:
    """A verdict in few words; with another number all else is wrong, too."""
    if verdict.startswith("right"):
        return "right"
    return "wrong: number" if "number" in verdict else verdict


def word(verdict: str) -> str:
    """Right or wrong."""
    return verdict.split()[0].rstrip(":")


def put(pen, x, y, side, row, *below, letters=24) -> None:
    """A picture and lines of words below it; the first are bold."""
    pixels.put(pen, x, y, side, decoded(row["picture"]))
    at = y + side + 13
    for i, words in enumerate(below):
        for line in textwrap.wrap(words, letters):
            kind = "small" if i else "small bold"
            pen.text(x + side / 2, at, line, kind)
            at += LINE


def samples(page) -> Drawing:
    """Eight captions as drawn; the last two have a held-out pair."""
    found = list(rows(page, DRAWN))
    wide, narrow = Pen(680, 464), Pen(343, 936)
    for i, row in enumerate(found):
        held = row["held_out"] == "True"
        words = said(row["verdict"]), row["caption"]
        words = (*words, "(held-out pair)") if held else words
        x, y = 20 + 171 * (i % 4), 2 + 234 * (i // 4)
        put(wide, x, y, 128, row, *words)
        x, y = 20 + 175 * (i % 2), 2 + 234 * (i // 2)
        put(narrow, x, y, 128, row, *words)
    return Drawing(wide, narrow, reads=(DRAWN,))


def misled(page) -> Drawing:
    """The same captions under more and more of CLIP's guidance."""
    found = {}
    for row in rows(page, MISLED):
        found.setdefault(row["caption"], []).append(row)
    wide, narrow = Pen(680, 2 * 204), Pen(343, 2 * 408)
    for i, (caption, line) in enumerate(found.items()):
        _row(wide, page, 204 * i, 6, caption, line)
        _row(narrow, page, 408 * i, 3, caption, line)
    return Drawing(wide, narrow, reads=(MISLED,))


def _row(pen, page, y, across, caption, line) -> None:
    """A caption, and what was drawn for it at each scale."""
    lines = textwrap.wrap(caption, 100 if across > 3 else 54)
    for i, words in enumerate(lines):
        pen.text(4, y + 10 + LINE * i, words, "small", "start")
    top = y + 24 + (0 if across > 3 else LINE)
    for i, row in enumerate(line):
        at = 4 + 114 * (i % across), top + 182 * (i // across)
        _guided(pen, page, *at, row)


def _guided(pen, page, x, y, row) -> None:
    """A picture under CLIP's guidance, or under the classifier-free one."""
    clip = row["way"].startswith("CLIP")
    code = "clip_guidance:ClipGuidance" if clip else "runs:draw"
    title = f"CLIP, s = {row['scale']:g}" if clip else "classifier-free"
    score = f"cosine {row['score']:.2f}"
    with signs.linked(pen, page, f"{CODE}.{code}"):
        pen.text(x + 50, y + 6, title, "small go")
    put(pen, x, y + 18, 98, row, said(row["verdict"]), score, letters=16)


def filled(page) -> Drawing:
    """One half is known; the other is drawn with a caption, or without."""
    found = {}
    for row in rows(page, FILLED):
        found.setdefault(row["caption"], []).append(row)
    heads = "known", "with the caption", "without"
    wide, narrow = Pen(680, 482), Pen(343, 4 * 172 + 16)
    for i, head in enumerate(heads):
        _head(wide, page, 4, 56 + 146 * i, head)
        _head(narrow, page, 55 + 115 * i, 10, head, "middle")
    for j, (caption, column) in enumerate(found.items()):
        for i, row in enumerate(column):
            words = (word(row["verdict"]),) if i else ()
            at = 118 + 143 * j, 2 + 146 * i
            put(wide, *at, 112, row, *words, letters=18)
            at = 5 + 115 * i, 28 + 172 * j
            put(narrow, *at, 100, row, *words, letters=16)
        for k, line in enumerate(textwrap.wrap(caption, 22)):
            pen_x = 118 + 143 * j + 56
            wide.text(pen_x, 438 + LINE * k, line, "small")
        for k, line in enumerate(textwrap.wrap(caption, 50)):
            narrow.text(5, 160 + 172 * j + LINE * k, line, "small", "start")
    return Drawing(wide, narrow, reads=(FILLED,))


def _head(pen, page, x, y, words, anchor="start") -> None:
    """What a row of pictures, or a column, is."""
    if words == "known":
        pen.text(x, y, words, "small", anchor)
        return
    with signs.linked(pen, page, f"{CODE}.inpainting:inpaint"):
        pen.text(x, y, words, "small go", anchor)
