"""Attention as a look-up: a hand points, and the keys near it answer.

The keys are also the values, so the answer is a place inside their circle.
The same sums are done by figures.js when the reader moves the hand.
"""

import math

from llmnotes._site.figures.drawn import Drawing, Slider
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen

HAND = "transformer/attention:hand"
POINTS, SCALE = 60, 2  # of the recorded query: degrees, scale
REACH = 0.38  # length of the hand, in radii
THICK = 26  # px, a line of weight 1


def lookup(page) -> Drawing:
    """Keys on a circle, a hand to drag, the weights and their mean."""
    keys = list(rows(page, HAND))
    return Drawing(
        wide=_wide(keys),
        narrow=_narrow(keys),
        sliders=[
            Slider("turn", "The query points to", 0, 359, 1, POINTS),
            Slider("scale", "Scale", 0, 16, 0.5, SCALE),
        ],
        says=_says(keys),
        data={"degrees": [key["degrees"] for key in keys]},
        reads=(HAND,),
    )


def _says(keys) -> str:
    first, second, *_ = sorted(keys, key=lambda k: -k["weight"])
    words = (
        f"key {k['key']} gives {k['weight']:.0%}" for k in (first, second)
    )
    return f"At {POINTS}°, scale {SCALE}: {', '.join(words)}."


def _wide(keys) -> Pen:
    pen = Pen(640, 372)
    _circle(pen, keys, (190, 186), 138)
    pen.text(402, 44, "weight of each key", "soft", anchor="start")
    _bars(pen, keys, (402, 80), 160, 27)
    pen.text(402, 312, "The answer is the mean", "soft", anchor="start")
    pen.text(402, 331, "of the keys by weight.", "soft", anchor="start")
    return pen


def _narrow(keys) -> Pen:
    pen = Pen(339, 560)
    _circle(pen, keys, (169.5, 168), 124)
    pen.text(20, 352, "weight of each key", "soft", anchor="start")
    _bars(pen, keys, (20, 380), 240, 23)
    return pen


def _at(degrees: float, radius: float) -> tuple[float, float]:
    """Return the place at an angle, where y grows downwards."""
    turn = math.radians(degrees)
    return radius * math.cos(turn), -radius * math.sin(turn)


def _circle(pen: Pen, keys, middle, radius) -> None:
    x, y = (round(c, 2) for c in middle)
    with pen.group(
        "lookup", data_radius=radius, transform=f"translate({x} {y})"
    ):
        pen.dot(0, 0, float(radius), "thin rim")
        answer = radius * keys[0]["x"], -radius * keys[0]["y"]
        for key in keys:
            width = f"stroke-width:{THICK * key['weight']:.2f}px"
            place = _at(key["degrees"], radius)
            pen.line(*place, *answer, "pull c1 round", style=width)
        for key in keys:
            pen.dot(*_at(key["degrees"], radius), 6.5, "c1")
            place = _at(key["degrees"], radius + 21)
            pen.text(*place, f"k_{{{key['key']}}}", "c1")
        _hand(pen, radius)
        _answer(pen, *answer)


def _hand(pen: Pen, radius) -> None:
    tip = REACH * radius
    with pen.group("hand", transform=f"rotate({-POINTS})"):
        pen.line(0, 0, tip - 7, 0, "thick round")
        pen.dot(0, 0, 4.5)
        pen.dot(tip, 0, 7, "ring thick")
        pen.dot(tip, 0, 24, "grip")
    pen.text(*_at(POINTS + 180, 24), "query", "name halo")


def _answer(pen: Pen, x, y) -> None:
    at = f"translate({x:.2f} {y:.2f})"
    with pen.group("answer accent", transform=at):
        pen.dot(0, 0, 8.5, "edged")
        pen.text(0, 24, "answer", "halo bold")


def _bars(pen: Pen, keys, corner, longest, apart) -> None:
    """One bar for each key; `longest` px are a weight of 1."""
    x, y = corner
    with pen.group("bars", data_longest=longest):
        for i, key in enumerate(keys):
            at = y + i * apart
            words = f"k_{{{key['key']}}}"
            pen.text(x, at, words, "c1", anchor="start")
            pen.put(
                "rect", "bar c1 solid bare", x=x + 28, y=at - 8,
                width=longest * key["weight"], height=16, rx=2,
            )  # fmt: skip
            end = x + 36 + longest * key["weight"]
            share = f"{key['weight']:.0%}"
            pen.text(float(end), at, share, "share", anchor="start")
