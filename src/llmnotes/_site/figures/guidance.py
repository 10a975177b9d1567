"""Digits that the reader's browser draws; and what guidance is, as a picture.

In `demo` a digit of 8 × 8 in 15 greys is one path for each grey, of runs along
its rows; assets/diffusion.js writes the same paths anew.
"""

from itertools import groupby

from llmnotes._site.figures.drawn import Drawing, Slider
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen

STRIP = "diffusion/guidance:strip"
WEIGHTS = "../results/diffusion/guidance.safetensors"  # seen from assets/
GREYS, SIDE, APART = 15, 8, 10
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
