"""Noise comes and goes: a digit into noise, noise into a digit; a dozen more.

Pictures are read from results: 64 of the digits 0 to f, row by row.
"""

from llmnotes._site.figures import pixels, signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen

CODE = "diffusion.ddpm"
NOISED, WAY, DRAWN, MEANS = (
    f"diffusion/ddpm:{name}" for name in ("noised", "way", "drawn", "means")
)
SIDE = 8  # pixels
NOISE = "q: noise is added,\nnothing is learned"
DRAW = "p_{θ}: a network says\nwhat is under the noise"


def chain(page) -> Drawing:
    """A real digit becomes noise; other noise becomes a digit."""
    there = {row["t"]: levels(row["picture"]) for row in rows(page, NOISED)}
    back = {row["t"]: levels(row["picture"]) for row in rows(page, WAY)}
    return Drawing(
        _across(page, there, back), _down(page, there, back),
        reads=(NOISED, WAY),
    )  # fmt: skip


def _across(page, there, back) -> Pen:
    """Two rows of pictures whose columns are the same t."""
    side, step = 62, 76
    pen = Pen(680, 2 * side + 146)
    right = (len(there) - 1) * step + side + 4
    below = side + 88
    with signs.linked(pen, page, f"{CODE}.schedule:Levels.noisy"):
        pen.text(4, 12, NOISE.replace("\n", " "), "small bold", "start")
        pen.arrow(4, 30, right, 30, "c6")
    with signs.linked(pen, page, f"{CODE}.model:chain"):
        words, y = DRAW.replace("\n", " "), below + side + 14
        pen.text(right, y + 20, words, "small bold", "end")
        pen.arrow(right, y, 4, y, "c2")
    for i, t in enumerate(sorted(there)):
        x = 4 + i * step
        pixels.put(pen, x, 42, side, there[t])
        pixels.put(pen, x, below, side, back[t])
        pen.text(x + side / 2, side + 64, f"x_{{{t}}}", "italic")
    return pen


def _down(page, there, back) -> Pen:
    """Two columns of pictures whose rows are the same t, for a phone."""
    side, step, top = 50, 58, 46
    pen = Pen(343, top + step * len(there))
    bottom = pen.height - step + side
    with signs.linked(pen, page, f"{CODE}.schedule:Levels.noisy"):
        pen.text(4, 18, NOISE, "small bold", "start")
        pen.arrow(46, top, 46, bottom, "c6")
    with signs.linked(pen, page, f"{CODE}.model:chain"):
        pen.text(339, 18, DRAW, "small bold", "end")
        pen.arrow(297, bottom, 297, top, "c2")
    for i, t in enumerate(sorted(there)):
        y = top + i * step
        pixels.put(pen, 62, y, side, there[t])
        pixels.put(pen, 231, y, side, back[t])
        pen.text(171, y + side / 2, f"x_{{{t}}}", "italic")
    return pen


def means(page) -> Drawing:
    """What one guess from the class would be: the mean of each digit."""
    found = {row["digit"]: [levels(row["picture"])]
             for row in rows(page, MEANS)}  # fmt: skip
    return _columns(found, MEANS)


def samples(page) -> Drawing:
    """What a trained model draws when it is asked for each digit."""
    found = {}
    for row in rows(page, DRAWN):
        found.setdefault(row["class"], []).append(levels(row["picture"]))
    return _columns(found, DRAWN)


def _columns(found: dict, reads: str) -> Drawing:
    """Ten classes side by side; on a phone in two rows of five."""
    each = max(map(len, found.values()))
    below = 42 + 68 * each  # where the second row begins, on a phone
    wide, narrow = Pen(680, 28 + 66 * each), Pen(343, 2 * below - 6)
    for i, (digit, pictures) in enumerate(found.items()):
        _column(wide, 4 + 68 * i, 0, 60, digit, pictures)
        x, y = 4 + 68 * (i % 5), below * (i // 5)
        _column(narrow, x, y, 62, digit, pictures)
    return Drawing(wide, narrow, reads=(reads,))


def _column(pen, x, y, side, digit, pictures) -> None:
    """A class and its pictures, one below the other."""
    pen.text(x + side / 2, y + 12, str(digit), "bold")
    for i, picture in enumerate(pictures):
        pixels.put(pen, x, y + 28 + i * (side + 6), side, picture)


def levels(picture: str) -> list[list[float]]:
    """Grey from 0 to 1, row by row."""
    grey = [int(letter, 16) / 15 for letter in picture]
    return [grey[i : i + SIDE] for i in range(0, len(grey), SIDE)]
