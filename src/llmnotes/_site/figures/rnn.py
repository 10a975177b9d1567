"""The network unrolled; the way back is as wide as what is left of it."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import MEMORY

GAINS = "sequence/rnn_drawn:unrolled"
UNIT = 9  # px of the belt's width for a gain of 1
STATES, BACK = 44, 204  # y of the states, and of the way back
VIEWS = ((0.9, "mean"), (2.0, "mean"), (2.0, "largest"))
CHOICES = ("Mean, radius 0.9", "Mean, radius 2", "Largest, radius 2")
NAMES = {
    "mean": "The average direction",
    "largest": "The direction that grows most",
}


def unrolled(page) -> Drawing:
    """Seven states, and what comes back to each from the last."""
    found = list(rows(page, GAINS))
    pens, says = (Pen(680, 306), Pen(343, 306)), []
    for pen in pens:
        _forward(pen, page, len({r["lag"] for r in found}))
    for i, (radius, what) in enumerate(VIEWS):
        gains = {r["lag"]: r[what] for r in found if r["radius"] == radius}
        last = max(gains)
        says.append(
            f"{NAMES[what]} at radius {radius:g}: {_number(gains[last])} of "
            f"a gradient of 1 after {last} steps back."
        )
        for pen in pens:
            with pen.group(frame=i):
                _back(pen, gains)
    return Drawing(*pens, frames=says, choices=CHOICES, reads=(GAINS,))


def _place(pen, lag: int, states=7) -> float:
    """The x of the state so many steps before the last."""
    apart = (pen.width - 8) / states
    return pen.width - 4 - (lag + 0.5) * apart


def _number(gain: float) -> str:
    """Two digits that count, and no power of ten."""
    return f"{gain:.2g}" if gain < 10 else f"{gain:.0f}"


def _forward(pen, page, states) -> None:
    """One step after the other, each with its input."""
    half = 24 if pen.width > 400 else 16
    with signs.linked(pen, page, "sequence.rnn.model:rnn_step"):
        for lag in range(states):
            x = _place(pen, lag)
            name = f"h_{{t−{lag}}}" if lag else "h_{t}"
            if lag:
                to = _place(pen, lag - 1)
                pen.arrow(x + half, STATES, to - half, STATES)
            pen.arrow(x, STATES + 44, x, STATES + 17, "soft")
            kind = f"{MEMORY} tint small"
            pen.box(x - half, STATES - 17, half * 2, 34, name, kind)
    pen.text(2, 10, "forward: always the same W", "small", "start")
    pen.text(2, STATES + 54, "inputs", "small soft", "start")
    pen.text(2, BACK - 80, "back: times one Jacobian a step", "small", "start")
    x = _place(pen, 0)
    pen.text(x, 8, "loss", "small")
    pen.line(x, 16, x, STATES - 18, "soft")


def _back(pen, gains) -> None:
    """A belt from right to left, and at each state what is left."""
    places = [(_place(pen, lag), UNIT * g / 2) for lag, g in gains.items()]
    upper = " ".join(f"{x:.1f} {BACK - half:.2f}" for x, half in places)
    lower = " ".join(f"{x:.1f} {BACK + half:.2f}" for x, half in places[::-1])
    pen.path(f"M{upper}L{lower}Z", "accent flow")
    for lag, gain in gains.items():
        x = _place(pen, lag)
        if lag:
            pen.head(x, BACK, 3.1416, "accent")
        pen.text(x, 296, _number(gain), "small")
        pen.line(x, BACK + 74, x, BACK + 80, "thin")
