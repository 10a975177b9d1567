"""The window as a band and as a cone; and the cache that writes over.

A filled cell of the cone is reached by the newest token; in the buffer the
thick slot is written in this step, and all others are still seen.
"""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import MEMORY, QUERY, STREAM

WINDOW, LAYERS = 4, 3
REACHED = LAYERS * (WINDOW - 1) + 1
LENGTH = 13  # tokens of the cone
SIDE, CELL = 10, 13  # a mask: tokens, and px of each
WORDS = ("the", "cat", "sat", "on", "the", "mat", "and", "ate")
STEPS = range(2, 8)  # which tokens are new, one after the other
HIGH = 32  # px of a step


def band(page) -> Drawing:
    """Who sees whom without and with a window, and through three layers."""
    wide, narrow = Pen(680, 196), Pen(343, 390)
    _masks(wide, page, 14)
    _cone(wide, page, 358, 26, 23.5)
    _masks(narrow, page, 14)
    _cone(narrow, page, 24, 222, 24)
    return Drawing(wide, narrow)


def _masks(pen, page, x) -> None:
    """The triangle and the band."""
    for i, (words, window) in enumerate((("all", SIDE), ("4", WINDOW))):
        at = x + i * 164
        rows = [
            [0 <= q - k < window for k in range(SIDE)] for q in range(SIDE)
        ]
        with signs.linked(pen, page, "models.mistral.model:Mistral.reach"):
            pen.text(at, 12, f"window: {words}", "small go", "start")
        signs.mask(pen, at, 28, rows, CELL)
        if window < SIDE:
            lost = [
                [q - k >= window for k in range(SIDE)] for q in range(SIDE)
            ]
            for q, row in enumerate(lost):
                for k, gone in enumerate(row):
                    if gone:
                        place = at + (k + 0.5) * CELL, 28 + (q + 0.5) * CELL
                        pen.dot(*place, 1.5, "soft")
    pen.text(x, 172, "row: who looks; column: who is seen", "small", "start")


def _cone(pen, page, x, y, step) -> None:
    """Cells of each layer that the newest token can know of."""
    with signs.linked(pen, page, "models.mistral.model:Mistral"):
        pen.text(x, y - 14, "three layers", "small go", "start")
    gap = 38
    for depth in range(LAYERS + 1):
        top = y + depth * gap
        seen = depth * (WINDOW - 1) + 1
        for i in range(LENGTH):
            look = f"{QUERY} solid" if i >= LENGTH - seen else "soft ghost"
            if depth == LAYERS and i >= LENGTH - seen:
                look = f"{STREAM} solid"
            pen.put(
                "rect", f"box {look}", x=x + i * step, y=top,
                width=step - 4, height=14, rx=2,
            )  # fmt: skip
        if depth < LAYERS:
            _fan(pen, x, top + 15, top + gap - 1, step, seen)
    below = y + LAYERS * gap + 29
    far = (LENGTH - REACHED) * step
    words = f"{LAYERS} · ({WINDOW} - 1) = {REACHED - 1} back"
    pen.text(x + far, below, words, "small", "start")


def _fan(pen, x, top, bottom, step, seen) -> None:
    """Lines from the edges of one layer to what they see below."""
    half = (step - 4) / 2
    right, left = LENGTH - 1, LENGTH - seen
    for start in {left, right}:
        for end in (start, start - WINDOW + 1):
            pen.line(
                x + start * step + half, top, x + end * step + half, bottom,
                f"{QUERY} thin",
            )  # fmt: skip


def buffer(page) -> Drawing:
    """Six tokens written into four slots."""
    pens = Pen(560, 44 + len(STEPS) * HIGH), Pen(343, 44 + len(STEPS) * HIGH)
    for pen in pens:
        _buffer(pen, page)
    return Drawing(*pens)


def _buffer(pen, page) -> None:
    left = 150 if pen.width > 400 else 74
    wide = (pen.width - left - 4) / WINDOW
    with signs.linked(pen, page, "models.mistral.rolling:RollingCache"):
        pen.text(2, 14, "new token", "small go", "start")
    for slot in range(WINDOW):
        middle = left + (slot + 0.5) * wide
        pen.text(middle, 14, f"slot {slot}", "small")
    with signs.linked(pen, page, "models.mistral.rolling:RollingCache.extend"):
        for i, token in enumerate(STEPS):
            y = 30 + i * HIGH
            pen.text(2, y + 14, f"{token}: {WORDS[token]}", "small go",
                     "start")  # fmt: skip
            for slot in range(WINDOW):
                _slot(pen, left + slot * wide, y, wide, token, slot)


def _slot(pen, x, y, wide, token, slot) -> None:
    """What lies in a slot once this token is written."""
    held = token - (token - slot) % WINDOW
    look = f"{MEMORY} tint" if held >= 0 else "soft ghost"
    new = "thick" if held == token else ""
    pen.put(
        "rect", f"box {look} {new}", x=x + 2, y=y + 2,
        width=wide - 4, height=HIGH - 6, rx=3,
    )  # fmt: skip
    if held >= 0:
        words = f"{held}: {WORDS[held]}"
        letters = "small bold" if new else "small"
        pen.text(x + wide / 2, y + HIGH / 2 - 1, words, letters)
