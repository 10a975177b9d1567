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
    pens = Pen(640, 288), Pen(343, 300)
    for pen in pens:
        size = (pen.width - 4) / ACROSS
        _scales(pen, size)
        _codes(pen, page, size)
    return Drawing(*pens)


def _scales(pen, size) -> None:
    """d, dmin, and the multiples of both."""
    at, y = 2.0, 28
    pen.text(2, 12, "16 bytes of scales", f"{SCALE} bold", "start")
    for count, name, kind in ((2, "d", HEAD), (2, "d_{min}", HEAD)):
        _bytes(pen, at, y, count, size, f"{kind} tint")
        pen.text(at + count * size / 2, y + 38, name, f"{kind} small bold")
        at += count * size
    _bytes(pen, at, y, 12, size, f"{SCALE} tint")
    words = "8 scales and 8 minima, 6 bits each"
    if pen.width < 400:
        words = "8 scales and\n8 minima,\n6 bits each"
    pen.text(at + 12 * size + 10, y + 11, words, f"{SCALE} small", "start")


def _codes(pen, page, size) -> None:
    """Two groups of 32 weights in every 32 bytes."""
    y, high = 112, 17
    pen.text(2, y - 16, "128 bytes of codes", f"{LOW} bold", "start")
    with signs.linked(pen, page, f"{CODE}.superblocks:encode_q4_k"):
        for group in range(8):
            line, upper = divmod(group, 2)
            kind = HIGH if upper else LOW
            top = y + line * (2 * high + 6) + (0 if upper else high)
            _bytes(pen, 2, top, ACROSS, size, f"{kind} tint", high)
            words = f"weights {32 * group} … {32 * group + 31}"
            if pen.width > 400:
                words += f", group {group}"
            pen.text(
                pen.width / 2, top + high / 2, words, f"{kind} small halo"
            )
    words = "above: the upper halves of the bytes; below: the lower halves"
    if pen.width < 400:
        words = "above: upper halves of the bytes\nbelow: lower halves"
    end = y + 4 * (2 * high + 6) + (18 if pen.width < 400 else 10)
    pen.text(2, end, words, "small", "start")


def _bytes(pen, x, y, count, size, kind, high=22) -> None:
    """Some bytes side by side."""
    sizes = {"width": count * size, "height": high}
    pen.put("rect", f"box {kind}", x=x, y=y, **sizes)
    ticks = "".join(f"M{x + i * size:g} {y}v{high}" for i in range(1, count))
    pen.path(ticks, f"{kind.split()[0]} cell")
