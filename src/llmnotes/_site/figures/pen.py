r"""A pen that writes pictures as SVG, in the hand of the book.

    pen = Pen(640, 300)                  # CSS pixels; 680 wide at most
    pen.box(10, 10, 120, 44, "Attention\n36,864", kind="c1 tint")
    pen.arrow(130, 32, 200, 32)
    pen.text(210, 32, "W_{O}", anchor="start")
    picture = pen.svg()

A `kind` is words that docs/assets/book.css knows (section Figures); nothing
here has a colour of its own, so one picture serves light, dark and print.

    c1 … c6, soft, accent   the colour of line, text or tint
    tint, solid, ghost      how a shape is filled (else: as the page)
    thin, thick, dashed     how a line is drawn
    small, large, bold, italic, mono   how words are set: 12, 14 or 17 px

In words, `_{…}` is set lower and `^{…}` higher; a line end begins a line.
"""

import math
import re
from contextlib import contextmanager
from html import escape

SHIFT = {"_": 0.28, "^": -0.42}  # of a font size, downwards
SCRIPT = re.compile(r"([_^])\{([^}]*)\}")
LINE = 18  # px from one line of words to the next
HEAD = 7  # px, the length of an arrow's head


class Pen:
    """Writes one picture of `width` by `height` CSS pixels."""

    def __init__(self, width: float, height: float):
        self.width, self.height = width, height
        self.parts: list[str] = []

    def put(self, tag: str, kind: str = "", inside: str = "", **more) -> None:
        """Write an element; `more` are attributes, with _ for -."""
        self.parts.append(
            f"<{tag}{_attributes(kind, more)}>{inside}</{tag}>"
            if inside
            else f"<{tag}{_attributes(kind, more)}/>"
        )

    def text(
        self, x: float, y: float, words: str, kind="", anchor="middle", **more
    ) -> None:
        """Write words around the height y; anchor: start, middle or end."""
        lines = words.split("\n")
        gap = LINE * (0.85 if "small" in kind.split() else 1)
        for i, line in enumerate(lines):
            at = y + (i - (len(lines) - 1) / 2) * gap
            place = {"x": x, "y": at, "text_anchor": anchor}
            place["dominant_baseline"] = "central"
            self.put("text", kind, scripts(line), **place, **more)

    def box(self, x, y, width, height, words="", kind="", **more) -> None:
        """A box with words in its middle; its colour is not theirs."""
        radius = {"rx": 4, **more}
        self.put(
            "rect", f"box {kind}", x=x, y=y,
            width=width, height=height, **radius,
        )  # fmt: skip
        if words:
            middle = x + width / 2, y + height / 2
            letters = _of(kind, "small large bold italic mono")
            self.text(*middle, words, letters)

    def line(self, x1, y1, x2, y2, kind="", **more) -> None:
        """A straight line."""
        self.put("line", kind, x1=x1, y1=y1, x2=x2, y2=y2, **more)

    def path(self, d: str, kind="", **more) -> None:
        """A line of any form; with tint or solid, an area."""
        self.put("path", kind, d=d, **more)

    def curve(self, points, kind="", **more) -> None:
        """A line through points."""
        steps = (f"{_number(x)} {_number(y)}" for x, y in points)
        self.path("M" + "L".join(steps), kind, **more)

    def arrow(self, x1, y1, x2, y2, kind="", **more) -> None:
        """A straight line with a head at its end."""
        self.elbow([(x1, y1), (x2, y2)], kind, **more)

    def elbow(self, points, kind="", **more) -> None:
        """A line through points with a head at the last one."""
        (ax, ay), (bx, by) = points[-2:]
        angle = math.atan2(by - ay, bx - ax)
        end = bx - HEAD * math.cos(angle), by - HEAD * math.sin(angle)
        self.curve([*points[:-1], end], kind, **more)
        self.head(bx, by, angle, kind)

    def head(self, x, y, angle: float, kind="") -> None:
        """An arrow's head with its point at (x, y); angle in radians."""
        corners = [(x, y)]
        for turn in (2.73, -2.73):
            reach = HEAD * 1.15
            corners.append(
                (
                    x + reach * math.cos(angle + turn),
                    y + reach * math.sin(angle + turn),
                )
            )
        steps = (f"{_number(a)} {_number(b)}" for a, b in corners)
        colour = _of(kind, "c1 c2 c3 c4 c5 c6 soft accent ghost")
        self.path("M" + "L".join(steps) + "Z", f"head {colour}".strip())

    def dot(self, x, y, r=4.0, kind="", **more) -> None:
        """A disc; with `kind="ring"` a circle."""
        self.put("circle", f"dot {kind}", cx=x, cy=y, r=r, **more)

    @contextmanager
    def group(self, kind="", frame=None, default: int = 0, **more):
        """Hold together what is written meanwhile.

        With `frame`, a number or several, it is shown in these frames of a
        figure that moves; without scripts, if `default` is among them.
        """
        if frame is not None:
            frames = [frame] if isinstance(frame, int) else list(frame)
            more["data_frame"] = " ".join(map(str, frames))
            if default not in frames:
                more["display"] = "none"
        yield from self._around("g", kind, more)

    @contextmanager
    def link(self, address: str, label: str, kind=""):
        """Make a link of what is written meanwhile."""
        more = {"href": address, "aria_label": label}
        yield from self._around("a", kind, more)

    def _around(self, tag, kind, more):
        self.parts.append(f"<{tag}{_attributes(kind, more)}>")
        yield self
        self.parts.append(f"</{tag}>")

    def svg(self, kind: str = "", label: str = "") -> str:
        """Return the picture; `label` says in words what it shows."""
        inside = "".join(self.parts)
        role = "group" if "<a " in inside else "img"
        size = f"{_number(self.width)} {_number(self.height)}"
        about = {"role": role, "aria_label": label, "viewBox": f"0 0 {size}"}
        about["width"] = self.width
        return f"<svg{_attributes(kind, about)}>{inside}</svg>"


def scripts(words: str) -> str:
    """Return a line of words for a <text>, with what is low or high so."""
    parts, back = [], 0.0
    for i, part in enumerate(SCRIPT.split(words)):
        if i % 3 == 1:
            down = SHIFT[part]
        elif i % 3 == 2:
            shift = _number(down + back)
            parts.append(
                f'<tspan dy="{shift}em" class="script">{escape(part)}</tspan>'
            )
            # An em is the tspan's own: the script's is three quarters.
            back = -down * 0.75
        elif part:
            moved = f' dy="{_number(back)}em"' if back else ""
            parts.append(
                f"<tspan{moved}>{escape(part)}</tspan>"
                if moved
                else escape(part)
            )
            back = 0.0
    return "".join(parts)


def _of(kind: str, known: str) -> str:
    """Return the words of a kind that are among the known ones."""
    return " ".join(w for w in kind.split() if w in known.split())


def _attributes(kind: str, more: dict) -> str:
    kind = " ".join(kind.split())
    found = {"class": kind, **more} if kind else more
    return "".join(
        f' {name.replace("_", "-")}="{escape(_number(value))}"'
        for name, value in found.items()
    )


def _number(value) -> str:
    """Return a number with at most two decimals, or words as they are."""
    if isinstance(value, float):
        text = f"{value:.2f}".rstrip("0").rstrip(".")
        return "0" if text == "-0" else text
    return str(value)
