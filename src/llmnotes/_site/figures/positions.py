"""Four ways to say where a token is, and the place where each comes in."""

import math

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, QUERY, STREAM

WAVES = "transformer/positions:waves"
ALIBI = "transformer/positions:alibi"
POSITION, CELL = 5, 8  # of the token that is drawn; px of a number
WIDE, HIGH = 166, 276  # of one way
WAYS = (
    ("learned", "transformer.positions:LearnedPositions", "which place it is"),
    ("sinusoids", "transformer.positions:sinusoidal", "which place it is"),
    ("ALiBi", "transformer.positions:alibi_bias", "how far apart two are"),
    ("RoPE", "transformer.rope:rotate", "how far apart two are"),
)


def ways(page) -> Drawing:
    """Added to the input twice, added to the scores, turned."""
    found = list(rows(page, ALIBI))
    head = list(dict.fromkeys(r["head"] for r in found))[0]
    bias = signs.matrix(
        [r for r in found if r["head"] == head], "query", "key", "weight"
    )
    wave = [r["shade"] for r in rows(page, WAVES) if r["position"] == POSITION]
    wide, narrow = Pen(680, HIGH), Pen(343, 2 * HIGH)
    for i, way in enumerate(WAYS):
        _way(wide, page, i * (WIDE + 5), 0, way, wave, bias)
        place = (i % 2) * (WIDE + 9), (i // 2) * HIGH
        _way(narrow, page, *place, way, wave, bias)
    return Drawing(wide, narrow, reads=(WAVES, ALIBI))


def _way(pen, page, x, y, way, wave, bias) -> None:
    """One attention from the token to its scores; what is new is accented."""
    name, symbol, says = way
    middle = x + WIDE / 2
    with signs.linked(pen, page, symbol):
        pen.text(middle, y + 10, name, "bold go")
    _input(pen, x + (WIDE - 16 * CELL) / 2, y + 34, name, wave)
    for side, kind, letter in ((-34, QUERY, "q"), (34, KEY, "k")):
        at = middle + side
        pen.arrow(middle + side / 2, y + 86, at, y + 106, "soft")
        if name == "RoPE":
            _dial(pen, at, y + 126, letter, kind)
        else:
            pen.box(at - 12, y + 116, 24, 20, letter, f"{kind} tint small")
        pen.arrow(at, y + 146, middle + side / 3, y + 166, "soft")
    _scores(pen, middle - 30, y + 170, name, bias)
    pen.text(middle, y + 254, says, "small")


def _input(pen, x, y, name, wave) -> None:
    """The token's numbers and, if so, those of its place added to them."""
    numbers = len(wave) * CELL
    signs.cells(pen, x, y, 1, len(wave), CELL, f"{STREAM} tint")
    if name not in ("learned", "sinusoids"):
        pen.line(x + numbers / 2, y + 8, x + numbers / 2, y + 46, "soft")
        return
    pen.text(x + numbers / 2, y + 19, "+", "accent bold")
    if name == "learned":
        signs.cells(pen, x, y + 30, 1, len(wave), CELL, "accent tint")
    else:
        for i, shade in enumerate(wave):
            pen.put(
                "rect", "accent solid bare", x=x + i * CELL, y=y + 30,
                width=CELL, height=CELL, fill_opacity=float(shade),
                shape_rendering="crispEdges",
            )  # fmt: skip
        pen.put("rect", "accent", x=x, y=y + 30, width=numbers, height=CELL)


def _dial(pen, x, y, letter, kind) -> None:
    """A vector that its place has turned; before, it pointed upwards."""
    turned = {"q": 1.9, "k": 0.7}[letter]
    pen.dot(x, y, 17, "ring thin")
    pen.line(x, y, x, y - 15, f"{kind} ghost")
    end = x + 15 * math.sin(turned), y - 15 * math.cos(turned)
    pen.line(x, y, *end, f"{kind} thick")
    bend = [
        (x + 8 * math.sin(turned * i / 6), y - 8 * math.cos(turned * i / 6))
        for i in range(7)
    ]
    pen.curve(bend, "accent")
    pen.text(x + (-27 if letter == "q" else 27), y, letter, "small")


def _scores(pen, x, y, name, bias) -> None:
    """Scores of every pair; those of ALiBi get a number per distance."""
    side = len(bias)
    size = 60 / side
    if name == "ALiBi":
        pen.text(x - 12, y + 30, "+", "accent bold")
        signs.shades(pen, x, y, bias, size, "accent")
    pen.put("rect", "", x=x, y=y, width=60, height=60)
    if name != "ALiBi":
        pen.text(x + 30, y + 30, "scores", "small")
    else:
        pen.text(x + 66, y + 30, "scores", "small", "start")
