"""Noise comes and goes: a digit into noise, noise into a digit; a dozen more.

Pictures are read from results: 64 of the digits 0 to f, row by row.
"""

from llmnotes._site.figures import pixels, signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen

CODE = "diffusion.ddpm"
NOISED, WAY, DRAWN = (
    f"diffusion/ddpm:{name}" for name in ("noised", "way", "drawn")
)
SIDE = 8  # pixels
FEW = (0, 200, 400, 600, 1000)  # t that a phone shows


def chain(page) -> Drawing:
    """Above, noise is added to a real digit; below, taken from noise."""
    wide, narrow = Pen(680, 306), Pen(343, 322)
    there = {row["t"]: levels(row["picture"]) for row in rows(page, NOISED)}
    back = {row["t"]: levels(row["picture"]) for row in rows(page, WAY)}
    _both(wide, page, there, back, sorted(there), 64, 12)
    _both(narrow, page, there, back, FEW, 56, 14)
    return Drawing(wide, narrow, reads=(NOISED, WAY))


def _both(pen, page, there, back, times, side, gap) -> None:
    """Two rows of pictures whose columns are the same t."""
    left = (pen.width - len(times) * (side + gap) + gap) / 2
    right = pen.width - left
    top, below = 48, 48 + side + 74
    with signs.linked(pen, page, f"{CODE}.schedule:Schedule.noisy"):
        words = "q: noise is added, nothing is learned"
        pen.text(left, 14, words, "small bold", "start")
        pen.arrow(left, 34, right, 34, "c6")
    with signs.linked(pen, page, f"{CODE}.model:chain"):
        words = "p_{θ}: a network says what is under the noise"
        pen.text(right, below + side + 46, words, "small bold", "end")
        pen.arrow(right, below + side + 22, left, below + side + 22, "c2")
    for i, t in enumerate(times):
        x = left + i * (side + gap)
        pixels.put(pen, x, top, side, there[t])
        pixels.put(pen, x, below, side, back[t])
        name = "x_{0}" if t == 0 else f"x_{{{t}}}"
        pen.text(x + side / 2, top + side + 37, name, "italic")


def samples(page) -> Drawing:
    """What a trained model draws when it is asked for each digit."""
    found = {}
    for row in rows(page, DRAWN):
        found.setdefault(row["class"], []).append(levels(row["picture"]))
    wide, narrow = Pen(680, 226), Pen(343, 486)
    for i, (digit, pictures) in enumerate(found.items()):
        _column(wide, 4 + 68 * i, 0, 60, digit, pictures)
        x, y = 4 + 68 * (i % 5), 246 * (i // 5)
        _column(narrow, x, y, 62, digit, pictures)
    return Drawing(wide, narrow, reads=(DRAWN,))


def _column(pen, x, y, side, digit, pictures) -> None:
    """A class and its pictures, one below the other."""
    pen.text(x + side / 2, y + 12, str(digit), "bold")
    for i, picture in enumerate(pictures):
        pixels.put(pen, x, y + 28 + i * (side + 6), side, picture)


def levels(picture: str) -> list[list[float]]:
    """Grey from 0 to 1, row by row."""
    grey = [int(letter, 16) / 15 for letter in picture]
    return [grey[i : i + SIDE] for i in range(0, len(grey), SIDE)]
