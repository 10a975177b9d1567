"""Learning to write: a loss curve, and the text a model wrote on the way.

The axis of steps is logarithmic, with step 0 put to the left of it. Each
text has a frame: its point on the curve, its loss, and its lines.
"""

import math
from textwrap import wrap

from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen

LOSSES = "transformer/gpt_writing:loss"
TEXTS = "transformer/gpt_writing:texts"
PAIRS = "transformer/gpt:baselines"
HIGH, LOW = 4.4, 1.4  # nats, the ends of the axis
LETTER = 7.83  # px, the width of a letter of the mono face at 13 px
TALL = 17  # px from line to line


def curve(page) -> Drawing:
    """The curve above, the text of the chosen step below."""
    losses = {r["step"]: r["loss"] for r in rows(page, LOSSES)}
    texts = {r["step"]: r["text"] for r in rows(page, TEXTS)}
    pairs = next(
        r["validation"]
        for r in rows(page, PAIRS)
        if r["model"] == "counts of pairs"
    )
    last = len(texts) - 1
    wide, narrow = Pen(640, 362), Pen(339, 380)
    for pen in (wide, narrow):
        _levels(pen, pairs)
        _curve(pen, losses, list(texts))
        for i, (step, text) in enumerate(texts.items()):
            with pen.group(frame=i, default=last):
                _point(pen, losses, list(texts), step)
                _written(pen, text)
    frames = [
        f"After {step:,} steps the loss is {losses[step]:.2f}."
        for step in texts
    ]
    return Drawing(
        wide, narrow, frames=frames, default=last,
        slide="Training step", reads=(TEXTS, LOSSES),
    )  # fmt: skip


def _x(pen: Pen, step: float, shown: list[int]) -> float:
    """Return where a step stands; `shown` begins with 0."""
    left, right = 34, pen.width - 26
    if step == 0:
        return float(left)
    first, last = shown[1], shown[-1]
    apart = (right - left) / (len(shown) - 1)
    share = math.log(step / first) / math.log(last / first)
    return left + apart + share * (right - left - apart)


def _y(loss: float) -> float:
    return 26 + (HIGH - loss) / (HIGH - LOW) * 150


def _levels(pen: Pen, pairs: float) -> None:
    """The two levels that need no training."""
    pen.text(0, 10, "validation loss, nats", "soft small", anchor="start")
    for loss, words in (
        (math.log(65), "guessing: ln 65"),
        (pairs, "counting pairs"),
    ):
        y = _y(loss)
        pen.line(34, y, pen.width - 4, y, "thin dashed soft")
        words = f"{words} = {loss:.2f}"
        pen.text(pen.width - 4, y - 10, words, "soft small", anchor="end")
    for loss in (4, 3, 2):
        pen.text(22, _y(loss), str(loss), "small", anchor="end")


def _curve(pen: Pen, losses: dict, shown: list[int]) -> None:
    points = [(_x(pen, s, shown), _y(loss)) for s, loss in losses.items()]
    pen.curve(points[:2], "c1 dashed")
    pen.curve(points[1:], "c1 thick round")
    for step in shown:
        x = _x(pen, step, shown)
        pen.line(x, 182, x, 187, "thin")
        words = str(step) if step < 1000 else f"{step:,}"
        pen.text(x, 198, words, "small")
        pen.dot(x, _y(losses[step]), 4, "c1")
    pen.line(34, 182, pen.width - 4, 182, "thin")


def _point(pen: Pen, losses: dict, shown: list[int], step: int) -> None:
    x, y = _x(pen, step, shown), _y(losses[step])
    pen.line(x, y, x, 186, "accent")
    pen.line(x, 207, x, 216, "accent")
    pen.dot(x, y, 7, "accent edged")


def _written(pen: Pen, text: str) -> None:
    """The lines of a text, in a box, broken where they are too long."""
    pen.box(0, 216, pen.width, pen.height - 218, kind="floor")
    fit = int((pen.height - 236) / TALL)
    for i, line in enumerate(broken(text, letters(pen))[:fit]):
        pen.text(
            12, 236 + TALL * i, line, "mono", anchor="start",
            style="white-space:pre",
        )  # fmt: skip


def letters(pen: Pen) -> int:
    """Return how many letters of a text fit into a line."""
    return int((pen.width - 24) / LETTER)


def broken(text: str, most: int) -> list[str]:
    """Return the lines of a text, none longer than so many letters."""
    return [
        part
        for line in text.rstrip("\n").split("\n")
        for part in wrap(line, most, replace_whitespace=False) or [""]
    ]
