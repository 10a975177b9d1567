"""FlashAttention, one row: tiles pass, and m, ℓ and the accumulator change.

    state = (m, ℓ, Õ) after so many tiles; before the first it is (-∞, 0, 0)

Each tile takes two frames: its scores are made, then they are taken in.
"""

import math

from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen

ONLINE = "kernels/flash_attention:online"
TILE, TILES = 2, 3
LENGTH = TILE * TILES
LAST = 2 * TILES + 1  # the frame in which the row is written
ROW = 2  # of the matrix: the one that is shown
CELL, GAP, SQUARE = 20, 5, 19  # px: of strips, between tiles, of the matrix
# The ways from the keys past the matrix, and under it to the output.
PAST = [(162, 94), (179, 94), (179, 23), (332, 23), (332, 50), (352, 50)]
UNDER = [(352, 210), (36, 210), (36, 158)]


def row(page) -> Drawing:
    """Slow memory, fast memory, and a step for each thing that happens."""
    tiles = list(rows(page, ONLINE))
    wide, narrow = Pen(640, 228), Pen(339, 452)
    _slow(wide, 0, 0, tiles)
    _fast(wide, 352, 0, tiles)
    _ways(wide, PAST, UNDER)
    _slow(narrow, 4, 0, tiles)
    _fast(narrow, 26, 222, tiles)
    _ways(narrow, [(103, 124), (103, 248)], [(40, 248), (40, 158)])
    return Drawing(
        wide=wide,
        narrow=narrow,
        frames=_words(tiles),
        default=4,
        reads=(ONLINE,),
    )


def _scores(tile: dict) -> list[float]:
    return [float(s) for s in tile["scores"].split(",")]


def _state(tiles, done: int) -> tuple[float, float, float]:
    if not done:
        return -math.inf, 0.0, 0.0
    return tuple(tiles[done - 1][name] for name in ("m", "ell", "acc"))


def _short(value: float) -> str:
    """Return a number with two decimals at most."""
    if math.isinf(value):
        return "−∞"
    return f"{value:.2f}".rstrip("0").rstrip(".").replace("-", "−")


def _words(tiles) -> list[str]:
    words = ["Nothing has been read. The maximum is −∞, both sums are 0."]
    for i, tile in enumerate(tiles):
        scores = " and ".join(map(_short, _scores(tile)))
        m, ell, acc = map(_short, _state(tiles, i + 1))
        shrink = f" the old sums shrink to {tile['shrink']:.2f} of themselves;"
        words += [
            f"Tile {i + 1} of k and v is read; its scores are {scores}.",
            f"The maximum is {m};{shrink if i else ''} ℓ = {ell}, Õ = {acc}.",
        ]
    _, ell, acc = map(_short, _state(tiles, TILES))
    output = f"{tiles[-1]['output']:.2f}"
    return [*words, f"Õ / ℓ = {acc} / {ell} = {output} is written, once."]


def _in_tile(i: int) -> list[int]:
    """Return the frames in which tile i lies in fast memory."""
    return [2 * i + 1, 2 * i + 2]


def _slow(pen: Pen, x, y, tiles) -> None:
    pen.text(x, y + 12, "slow memory", "soft", anchor="start")
    for i, name in enumerate("qkvo"):
        middle = y + 46 + 32 * i
        pen.text(x + 6, middle, name, "italic", anchor="start")
        cells = LENGTH if name in "kv" else 1
        for j in range(cells):
            _cell(pen, x, j, middle, name)
    end = {"frame": LAST, "default": 4}
    with pen.group(**end):
        output = f"{tiles[-1]['output']:.2f}"
        pen.text(x + 58, y + 142, output, "c2 bold", anchor="start")
    _matrix(pen, x + 196, y + 35)


def _cell(pen: Pen, x, j, middle, name) -> None:
    left = x + 26 + CELL * j + GAP * (j // TILE)
    place = (left, middle - 11, CELL, 22)
    pen.box(*place, kind="ghost" if name == "o" else "")
    if name in "kv":
        with pen.group(frame=_in_tile(j // TILE), default=4):
            pen.box(*place, kind="c1 tint")
    if name == "q":
        with pen.group(frame=range(1, LAST), default=4):
            pen.box(*place, kind="c3 tint")
    if name == "o":
        with pen.group(frame=LAST, default=4):
            pen.box(*place, kind="c2 tint")


def _matrix(pen: Pen, x, y) -> None:
    """The scores of all pairs, dashed, with the tile that is in work."""
    size = SQUARE * LENGTH
    for i in range(LENGTH + 1):
        pen.line(x, y + SQUARE * i, x + size, y + SQUARE * i, "ghost")
        pen.line(x + SQUARE * i, y, x + SQUARE * i, y + size, "ghost")
    for i in range(TILES):
        with pen.group(frame=_in_tile(i), default=4):
            left = x + SQUARE * TILE * i
            pen.box(
                left, y + SQUARE * ROW, SQUARE * TILE, SQUARE,
                kind="c1 tint", rx=0,
            )  # fmt: skip
    words = f"scores, {LENGTH} × {LENGTH}:\nnever stored"
    pen.text(x + size / 2, y + size + 26, words, "soft")


def _fast(pen: Pen, x, y, tiles) -> None:
    pen.text(x + 287, y + 12, "fast memory", "soft", anchor="end")
    pen.box(x, y + 26, 287, 200, kind="floor")
    left = x + 14
    pen.text(left, y + 50, "scores s", anchor="start")
    pen.text(left, y + 86, "e^{s − m}", anchor="start")
    pen.text(left, y + 122, "old sums times", anchor="start")
    for i, tile in enumerate(tiles):
        _tile(pen, x, y, i, tile)
    for done in range(TILES + 1):
        frames = [2 * done, 2 * done + 1]
        with pen.group(frame=frames, default=4):
            _registers(pen, left, y + 162, _state(tiles, done))


def _tile(pen: Pen, x, y, i: int, tile: dict) -> None:
    scores = _scores(tile)
    with pen.group(frame=_in_tile(i), default=4):
        for j, s in enumerate(scores):
            pen.box(x + 150 + 62 * j, y + 37, 54, 26, _short(s), "c1 tint")
    with pen.group(frame=_in_tile(i)[1], default=4):
        for j, s in enumerate(scores):
            weight = _short(math.exp(s - tile["m"]))
            pen.box(x + 150 + 62 * j, y + 73, 54, 26, weight, "c1 tint")
        if i:
            shrink = f"{tile['shrink']:.2f}"
            pen.box(x + 150, y + 109, 54, 26, shrink, "c2 tint")


def _registers(pen: Pen, x, y, state) -> None:
    for i, (name, value) in enumerate(zip("mℓÕ", state, strict=True)):
        left = x + 90 * i
        pen.text(left, y, name, "italic large", anchor="start")
        pen.box(left, y + 14, 78, 34, _short(value), "c3 tint large")


def _ways(pen: Pen, into, out) -> None:
    """The ways between the memories, each shown while it is used."""
    with pen.group(frame=range(1, LAST, 2), default=4):
        pen.elbow(into, "c1")
    with pen.group(frame=LAST, default=4):
        pen.elbow(out, "c2")
