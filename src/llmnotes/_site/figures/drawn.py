"""What a drawing function returns, and the HTML that becomes of it.

    Drawing  = a picture for a desk, one for a phone, and what moves them
    Slider   = a number that the reader sets; a script draws what follows
    frames   = the words of each frame; the groups of a picture that carry a
               frame's number are shown with it (`Pen.group`)

A figure moves only where scripts run: else its picture stands, as the pen
left it, and the controls are not shown.
"""

import json
from dataclasses import dataclass, field
from html import escape

from llmnotes._site.figures.pen import Pen

PREVIOUS, NEXT = "← Back", "Next →"


@dataclass(frozen=True)
class Slider:
    """A number between two others, set by hand or by keyboard."""

    name: str
    label: str
    low: float
    high: float
    step: float
    value: float


@dataclass(frozen=True)
class Drawing:
    """A figure: one picture or two, and what the reader may move.

    `frames` come with a stepper, with a slider where `slide` says what it
    moves along, or with a button for each where `choices` names them.
    `data` is what the script reads; `reads` names the results whose numbers
    are drawn.
    """

    wide: Pen
    narrow: Pen | None = None
    frames: list[str] = field(default_factory=list)
    default: int = 0
    slide: str = ""
    choices: tuple[str, ...] = ()
    sliders: list[Slider] = field(default_factory=list)
    says: str = ""  # the state of the sliders, in words, at the start
    data: dict = field(default_factory=dict)
    reads: tuple[str, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether the reader can move anything."""
        return bool(self.frames or self.sliders)


def html(drawing: Drawing, name: str, alt: str, caption: str) -> str:
    """Return the figure; `caption` is HTML, `name` unique on the page."""
    if drawing.narrow:
        pictures = drawing.wide.svg("wide", alt)
        pictures += drawing.narrow.svg("narrow", alt)
    else:
        pictures = drawing.wide.svg("", alt)
    moving = " moving" if drawing.moves else ""
    return (
        f'<figure class="chart drawn{moving}">{pictures}'
        f"{_controls(drawing, name) if moving else ''}"
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _controls(drawing: Drawing, name: str) -> str:
    """Return what the reader sets, the state in words, and the numbers."""
    sliders, says = list(drawing.sliders), drawing.says
    if drawing.frames:
        says = drawing.frames[drawing.default]
    if drawing.frames and drawing.slide:
        last = len(drawing.frames) - 1
        along = (drawing.slide, 0, last, 1, drawing.default)
        sliders.append(Slider("frame", *along))
    inside = "".join(_slider(s, name.replace(":", "-")) for s in sliders)
    if drawing.choices:
        inside += _choices(drawing)
    elif drawing.frames and not drawing.slide:
        inside += _stepper(drawing)
    data = json.dumps({"frames": drawing.frames, **drawing.data})
    return (
        f'<div class="controls" data-figure="{escape(name)}" '
        f'data-numbers="{escape(data)}" data-search-exclude>{inside}'
        f'<p class="state" aria-live="polite">{escape(says)}</p></div>'
    )


def _slider(slider: Slider, name: str) -> str:
    numbers = {
        "min": slider.low,
        "max": slider.high,
        "step": slider.step,
        "value": slider.value,
    }
    given = "".join(f' {k}="{v:g}"' for k, v in numbers.items())
    own = escape(f"{name}-{slider.name}")
    seen = f'<span class="value" aria-hidden="true">{slider.value:g}</span>'
    if slider.name == "frame":  # its number says nothing
        seen = ""
    return (
        f'<div class="slide"><label for="{own}">{escape(slider.label)}'
        f'</label><input type="range" id="{own}" '
        f'name="{escape(slider.name)}"{given}>{seen}</div>'
    )


def _choices(drawing: Drawing) -> str:
    buttons = "".join(
        f'<button type="button" aria-pressed="{pressed}">{escape(name)}'
        "</button>"
        for i, name in enumerate(drawing.choices)
        for pressed in ["true" if i == drawing.default else "false"]
    )
    return f'<div class="choices" role="group">{buttons}</div>'


def _stepper(drawing: Drawing) -> str:
    count = len(drawing.frames)
    return (
        f'<div class="stepper"><button type="button">{PREVIOUS}</button>'
        f'<button type="button">{NEXT}</button>'
        f"<span>step {drawing.default + 1} of {count}</span></div>"
    )
