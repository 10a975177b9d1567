"""Weights that fall onto the numbers of a format, and a block of bytes.

levels     = 64 weights of a group between the 15 numbers of int4 and the 16
             of NF4; the weights are the normal distribution's own quantiles
superblock = the 144 bytes in which q4_k keeps 256 weights
"""

import torch

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes.adaptation.quantization.nf4 import book

CODE = "adaptation.quantization"
WHOLE, NORMAL, WEIGHT = "c1", "c3", "c6"
COUNT, TOP = 64, 7  # weights of a group, the largest code of int4
RISE = 62  # px between the weights and the numbers
LOW, HIGH, SCALE, HEAD = "c1", "c2", "c5", "c4"
ACROSS = 32  # bytes in a line


def levels(page) -> Drawing:
    """Both formats around the same weights."""
    pens = Pen(640, 210), Pen(343, 210)
    for pen in pens:
        _levels(pen, page)
    return Drawing(*pens)


def weights() -> list[float]:
    """What 64 weights are on average, as shares of the largest."""
    places = (torch.arange(COUNT) + 0.5).double() / COUNT
    found = torch.special.ndtri(places)
    return (found / found.max()).tolist()


def _levels(pen, page) -> None:
    middle = 106
    whole = [i / TOP for i in range(-TOP, TOP + 1)]
    above = middle - RISE, whole, WHOLE, -1, f"{CODE}.uniform:absmax"
    below = middle + RISE, book().tolist(), NORMAL, 1, f"{CODE}.nf4:book"
    for y, numbers, kind, way, symbol in (above, below):
        for w in weights():
            to = min(numbers, key=lambda n, w=w: abs(n - w))
            pen.line(
                _x(pen, w), middle + 4 * way, _x(pen, to), y - 9 * way,
                f"{kind} thin",
            )  # fmt: skip
        with signs.linked(pen, page, symbol):
            for n in numbers:
                used = any(
                    min(numbers, key=lambda m, w=w: abs(m - w)) == n
                    for w in weights()
                )
                look = "solid" if used else ""
                pen.put(
                    "rect", f"box {kind} {look}", x=_x(pen, n) - 3, y=y - 8,
                    width=6, height=16, rx=2,
                )  # fmt: skip
    for w in weights():
        pen.line(_x(pen, w), middle - 4, _x(pen, w), middle + 4, WEIGHT)
    words = "int4: 15 numbers, evenly", "NF4: 16, denser where weights are"
    pen.text(pen.width / 2, 14, words[0], f"{WHOLE} bold")
    pen.text(pen.width / 2, 200, words[1], f"{NORMAL} bold")


def _x(pen, share: float) -> float:
    """Where −1 … 1 lies across a picture."""
    return pen.width / 2 + share * (pen.width / 2 - 12)


def superblock(page) -> Drawing:
    """The bytes of q4_k, 32 in a line."""
    pens = Pen(640, 268), Pen(343, 284)
    for pen in pens:
        _superblock(pen, page)
    return Drawing(*pens)


def _superblock(pen, page) -> None:
    narrow = pen.width < 400
    size = (pen.width - 4) / ACROSS
    parts = ((2, "d", HEAD), (2, "dmin", HEAD), (12, "", SCALE))
    at, y = 2.0, 30
    for count, word, kind in parts:
        _bytes(pen, at, y, count, size, f"{kind} tint")
        middle = at + count * size / 2
        if word:
            name = "d_{min}" if word == "dmin" else word
            pen.text(middle, y + 40, name, f"{kind} small bold")
        at += count * size
    pen.text(2, 14, "16 bytes of scales", f"{HEAD} bold", "start")
    said = "8 scales and 8 minima,\n6 bits each"
    pen.text(2 + 10 * size, y + 48, said, f"{SCALE} small")
    y = 128
    pen.text(2, y - 16, "128 bytes of codes", f"{LOW} bold", "start")
    with signs.linked(pen, page, f"{CODE}.superblocks:encode_q4_k"):
        for line in range(4):
            top = y + line * 28
            for half, kind in ((0, HIGH), (1, LOW)):
                pen.put(
                    "rect", f"box {kind} tint", x=2, y=top + half * 11,
                    width=ACROSS * size, height=11,
                )  # fmt: skip
                ticks = "".join(
                    f"M{2 + i * size:g} {top + half * 11}v11"
                    for i in range(1, ACROSS)
                )
                pen.path(ticks, f"{kind} cell")
                group = 2 * line + 1 - half
                first = 32 * group
                words = f"weights {first} … {first + 31}"
                if not narrow:
                    words += f", group {group}"
                pen.text(
                    pen.width / 2, top + half * 11 + 5.5, words,
                    f"{kind} small halo",
                )  # fmt: skip
    end = y + 4 * 28 + 10
    words = "above: the upper halves of the bytes; below: the lower halves"
    if narrow:
        words = "above: upper halves of bytes\nbelow: lower halves"
    pen.text(2, end + (7 if narrow else 0), words, "small", "start")


def _bytes(pen, x, y, count, size, kind) -> None:
    """Some bytes side by side."""
    pen.put("rect", f"box {kind}", x=x, y=y, width=count * size, height=22)
    ticks = "".join(f"M{x + i * size:g} {y}v22" for i in range(1, count))
    if ticks:
        pen.path(ticks, f"{kind.split()[0]} cell")
