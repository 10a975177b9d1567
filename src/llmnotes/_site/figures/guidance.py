"""Digits that the reader's browser draws; and what guidance is, as a picture.

In `demo` a digit of 8 × 8 in 15 greys is one path for each grey, of runs along
its rows; assets/diffusion.js writes the same paths anew.
"""

from itertools import groupby

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing, Slider
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import MEMORY, STREAM

CODE = "diffusion.guidance"
LAW = "diffusion/guidance:gaussian"
SHOWN = 0, 1, 2, 4, 8  # the scales that are drawn of it
NOISY = 0.4  # x_t / alpha
LOW, HIGH = -0.3, 2.7  # of the guesses
LEFT, RIGHT = -2.2, 2.4  # of what is drawn
STRIP = "diffusion/guidance:strip"
WEIGHTS = "../results/diffusion/guidance.safetensors"  # seen from assets/
GREYS, SIDE, APART = 15, 8, 10
BARS = (  # columns of `LAW`, how they are drawn, named, and computed
    ("drawn", f"{MEMORY} solid bare", "DDIM", "drawn"),
    ("noise", f"{MEMORY} tint", "DDPM", "drawn_with_noise"),
    ("tilted", "ghost", "promised", "tilted"),
)
OWN = "own"  # the row whose scale the reader sets


def demo(page) -> Drawing:
    """Ten digits in a row for each scale, the reader's own scale on top."""
    found = list(rows(page, STRIP))
    at = {(row["scale"], row["digit"]): row["greys"] for row in found}
    scales = list(dict.fromkeys(row["scale"] for row in found))
    own, steps, seed = scales[0], found[0]["steps"], found[0]["seed"]
    lines = {OWN: own} | {scale: scale for scale in scales[1:]}
    pictures = {
        name: [at[scale, digit] for digit in range(10)]
        for name, scale in lines.items()
    }
    return Drawing(
        wide=_strip(Pen(680, 392), pictures, 76, 6),
        narrow=_strip(Pen(343, 224), pictures, 42, 3),
        sliders=[
            Slider("scale", "Guidance scale", 0, 10, 0.5, own),
            Slider("steps", "Steps", 1, 50, 1, steps),
            Slider("seed", "Noise", 1, 99, 1, seed),
        ],
        says=f"Scale {own:g}, {steps} steps, noise {seed}.",
        data={"weights": WEIGHTS, "rows": list(pictures)},
        reads=(STRIP,),
    )


def _strip(pen: Pen, pictures, left: float, pixel: float) -> Pen:
    """Rows of digits with their scale before them."""
    apart = pixel * APART
    for digit in range(10):
        x = left + digit * apart + pixel * SIDE / 2
        pen.text(x, 10, str(digit), "small")
    for i, (name, row) in enumerate(pictures.items()):
        y = 24 + i * (apart + 1)
        kind = "bold accent" if name == OWN else ""
        words = "yours" if name == OWN else f"{name:g}"
        pen.text(left - 12, y + pixel * SIDE / 2, words, kind, anchor="end")
        place = f"translate({left} {y:g}) scale({pixel})"
        with pen.group(data_row=name, transform=place):
            inked(pen, row)
    return pen


def inked(pen: Pen, pictures: list[str]) -> None:
    """A row of digits, given by the grey of each pixel in one letter."""
    for grey in range(1, GREYS + 1):
        shade = {"fill_opacity": f"{grey / GREYS:.2f}"}
        pen.path(
            "".join(runs(pictures, grey)), "solid bare",
            shape_rendering="crispEdges", **shade,
        )  # fmt: skip


def runs(pictures: list[str], grey: int):
    """Yield the outline of each run of pixels that have a grey."""
    for digit, picture in enumerate(pictures):
        for y, row in enumerate(picture.split()):
            for shade, run in groupby(enumerate(row), lambda p: int(p[1], 16)):
                places = [digit * APART + x for x, _ in run]
                if shade == grey:
                    n = len(places)
                    yield f"M{places[0]} {y}h{n}v1h-{n}z"


def line(page) -> Drawing:
    """One step moves a guess along a line; all steps draw what is below."""
    found = {row["scale"]: row for row in rows(page, LAW)}
    shown = [found[scale] for scale in SHOWN]
    wide, narrow = Pen(680, 250), Pen(343, 470)
    _step(wide, page, 0, 0, 270)
    _ends(wide, page, shown, 330, 0, 350)
    _step(narrow, page, 4, 0, 330)
    _ends(narrow, page, shown, 4, 200, 330)
    return Drawing(wide, narrow, reads=(LAW,))


def _step(pen: Pen, page, x: float, y: float, width: float) -> None:
    """A noisy number, the guesses u and c, and what they lead to."""
    pen.text(x, y + 11, "One step: where the guess goes", "bold", "start")

    def at(value):
        return x + (value - LOW) / (HIGH - LOW) * width

    rule = y + 104
    pen.arrow(x, rule, x + width + 8, rule, "thin")
    u, c = guesses(NOISY)
    with signs.linked(pen, page, f"{CODE}.classifier_free:guide"):
        pen.line(at(u), rule, at(c), rule, f"{MEMORY} thick")
        past = at(u + 3 * (c - u))
        pen.line(at(c), rule, past, rule, f"{MEMORY} thick dashed")
        for scale in range(4):
            place = at(u + scale * (c - u))
            kind = STREAM if scale < 2 else f"{MEMORY} ring"
            pen.dot(place, rule, 5, kind)
            name = {0: "u", 1: "c"}.get(scale, "")
            pen.text(place, rule - 19, name, "large italic")
            pen.text(place, rule + 20, f"s = {scale}", "small")
    note = "u: the guess without the condition\nc: the guess with it"
    pen.text(x, rule + 56, note, "small", "start")
    words = "u + s (c − u)"
    pen.text(at(u + 2.2 * (c - u)), rule - 42, words, "large italic")


def _ends(pen: Pen, page, shown, x: float, y: float, width: float) -> None:
    """For each scale bars from two spreads below a mean to two above."""
    pen.text(x, y + 11, "All steps: what is drawn", "bold", "start")
    left, high = x + 56, 32

    def at(value):
        return left + (value - LEFT) / (RIGHT - LEFT) * (width - 64)

    floor = y + 38 + high * len(shown)
    for value in range(-2, 3):
        pen.line(at(value), y + 30, at(value), floor, "thin soft")
        pen.text(at(value), floor + 12, f"{value}".replace("-", "−"), "small")
    for i, row in enumerate(shown):
        middle = y + 38 + high * (i + 0.5)
        pen.text(x, middle, f"s = {row['scale']:g}", "", "start")
        for (name, kind, _, _), top in zip(BARS, (-12, -4, 4), strict=True):
            mean, std = row[f"{name}_mean"], row[f"{name}_std"]
            ends = at(mean - 2 * std), at(mean + 2 * std)
            pen.put(
                "rect", kind, x=ends[0], y=middle + top,
                width=max(2.0, ends[1] - ends[0]), height=7,
            )  # fmt: skip
    along = left - 8
    for _, kind, words, symbol in BARS:
        with signs.linked(pen, page, f"{CODE}.gaussian:{symbol}"):
            place = {"x": along, "y": floor + 31, "width": 20, "height": 7}
            pen.put("rect", kind, **place)
            pen.text(along + 26, floor + 35, words, "small", "start")
        along += 84


def guesses(noisy: float) -> tuple[float, float]:
    """The mean of x_0 without and with the condition, where σ = α.

    Data are N(0, 1), and N(1, ½²) under the condition, as in `LAW`.
    """
    return noisy / 2, 1 + (noisy - 1) / 5
