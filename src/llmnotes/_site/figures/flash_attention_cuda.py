"""A thread block: its queries, tiles that pass by, what each thread keeps.

ONCE … WRITE = the frames: one round of the kernel's loop, and its ends
A number is `UNIT` px wide and high in shared memory.
"""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, QUERY, VALUE, count

MACHINE = "kernels/flash_attention_cuda:machine_code"
CODE = "kernels.flash_attention_cuda"
LIMIT = 48 * 1024  # bytes that a block has without asking
QUERIES, KEYS, WIDTH, SIDE = 64, 32, 64, 16  # of a tile; threads of a side
LENGTH = 320  # of the picture: five blocks, ten tiles of keys
BLOCK, TILE = 2, 3  # the ones that are shown
UNIT = 1.1
ONCE, PASS, SCORE, SOFTMAX, PRODUCT, WRITE = range(6)
DEFAULT = PASS
SHAPES = {
    "Q": (QUERIES, WIDTH + 1),
    "K": (KEYS, WIDTH + 1),
    "V": (KEYS, WIDTH + 1),
    "P": (QUERIES, KEYS + 1),
    "f": (QUERIES, 1),
}
COLOURS = {"Q": VALUE, "K": QUERY, "V": QUERY, "P": KEY, "f": KEY, "O": KEY}
CELLS = QUERIES * WIDTH // SIDE**2, QUERIES * KEYS // SIDE**2  # of O, of S
SAYS = [
    f"Once: the block fetches its {QUERIES} queries.",
    f"A tile of {KEYS} keys and values comes in. Barrier.",
    f"Each of {SIDE**2} threads works out {CELLS[1]} scores in its registers "
    "and leaves them in P. Barrier.",
    f"{QUERIES} threads, one for a row, update m and ℓ, turn scores into "
    "weights and leave a factor. Barrier.",
    f"Each thread shrinks its {CELLS[0]} numbers of O by the factor of "
    "their row and adds P·V. Barrier, and the next tile.",
    "After the last tile: O / ℓ is written, once, and m + log ℓ.",
]


def size(name: str) -> int:
    """Return the bytes of an array in shared memory, all of it float32."""
    high, wide = SHAPES[name]
    return 4 * high * wide


def block(page) -> Drawing:
    """Slow memory, shared memory, registers, and one round of the loop."""
    found = next(
        r
        for r in rows(page, MACHINE)
        if r["kernel"] == "flash forward" and r["architecture"] == "sm_90"
    )
    wide, narrow = Pen(680, 312), Pen(343, 476)
    _slow(wide, 0, 0, 0.64, False)
    _shared(wide, page, 228, 0, found["shared"])
    _registers(wide, page, 500, 0, found["registers"])
    _ways(wide, WAYS)
    _slow(narrow, 44, 0, 0.88, True)
    _shared(narrow, page, 2, 184, found["shared"])
    _registers(narrow, page, 221, 184, found["registers"])
    _ways(narrow, NARROW_WAYS)
    return Drawing(
        wide, narrow, frames=SAYS, default=DEFAULT, reads=(MACHINE,)
    )


def _slow(pen, x, y, scale, flat) -> None:
    """Q, K, V and O, cut into tiles; `flat` lays them on their side."""
    pen.text(x if not flat else 4, y + 10, "slow memory", "soft", "start")
    for i, name in enumerate("QKVO"):
        cut = QUERIES if name in "QO" else KEYS
        top, high = (26 + 32 * i, 22) if flat else (44, 22)
        for j in range(LENGTH // cut):
            start, long = j * cut * scale, cut * scale
            if flat:
                place = (x + start, y + top, long, high)
            else:
                place = (x + 32 + 42 * i, y + top + start, 30, long)
            pen.box(*place, kind="ghost" if name == "O" else "thin", rx=1)
            _lit(pen, place, name, j)
            if name == "Q":
                _number(pen, place, j, flat)
        middle = (x - 16, y + top + 11) if flat else (x + 47 + 42 * i, y + 33)
        pen.text(*middle, name, "italic")


def _number(pen, place, j, flat) -> None:
    """Which block owns this tile of queries."""
    left, top, wide, high = place
    x, y = left + wide / 2, top + high / 2
    kind = "small bold" if j == BLOCK else "small soft"
    pen.text(x, y, f"{j + 1}", kind)


def _lit(pen, place, name, j) -> None:
    """Colour the tile while it is fetched or written."""
    kind = f"{COLOURS[name]} tint"
    frames = {
        "Q": range(WRITE + 1) if j == BLOCK else (),
        "O": [WRITE] if j == BLOCK else (),
    }.get(name, range(PASS, WRITE) if j == TILE else ())
    if frames:
        with pen.group(frame=frames, default=DEFAULT):
            pen.box(*place, kind=kind, rx=1)


PLACES = {"Q": (14, 44), "K": (100, 44), "V": (100, 92)}
PLACES |= {"P": (14, 142), "f": (68, 142)}
USED = {
    "Q": (ONCE, SCORE),
    "K": (PASS, SCORE),
    "V": (PASS, PRODUCT),
    "P": (SCORE, SOFTMAX, PRODUCT),
    "f": (SOFTMAX, PRODUCT),
}


def _shared(pen, page, x, y, used) -> None:
    """The arrays of one block, to scale, and the bytes that they take."""
    pen.text(x, y + 10, f"shared memory of block {BLOCK + 1}", "soft", "start")
    pen.box(x, y + 26, 190, 208, kind="floor")
    for name, (left, top) in PLACES.items():
        high, wide = (n * UNIT for n in SHAPES[name])
        place = (x + left, y + top, wide, high)
        pen.box(*place, rx=0)
        with pen.group(frame=USED[name], default=DEFAULT):
            pen.box(*place, kind=f"{COLOURS[name]} tint", rx=0)
        if name == "f":
            words = f"factors {count(size(name))}"
            pen.text(x + left + 8, y + top + 10, words, "small", "start")
            continue
        middle = x + left + wide / 2, y + top + high / 2
        words = f"{name}\n{count(size(name))}"
        pen.text(*middle, words, "small")
    with signs.linked(pen, page, f"{CODE}.tiling:Tiling.forward_shared"):
        pen.box(x, y + 246, 190, 12, rx=0)
        pen.put(
            "rect", "soft flow", x=x, y=y + 246,
            width=190 * used / LIMIT, height=12,
        )  # fmt: skip
        words = f"{count(used)} of {count(LIMIT)} bytes"
        pen.text(x, y + 272, words, "small go", "start")


SQUARE = 7.5  # px of a thread
ONE = (3, 11)  # column and row of the thread that is shown


def _registers(pen, page, x, y, number) -> None:
    """The threads, and what one of them keeps."""
    pen.text(x, y + 10, f"{SIDE**2} threads", "soft", "start")
    rows_of = QUERIES // SIDE
    signs.ruled(pen, x, y + 26, SIDE, SIDE, SQUARE, "soft tint")
    pen.box(x, y + 26, SIDE * SQUARE, rows_of * SQUARE, rx=0)
    with pen.group(frame=SOFTMAX, default=DEFAULT):
        wide, high = SIDE * SQUARE, rows_of * SQUARE
        pen.box(x, y + 26, wide, high, kind="c2 tint", rx=0)
    middle = x + SIDE * SQUARE / 2, y + 26 + rows_of * SQUARE / 2
    pen.text(*middle, f"{QUERIES} keep m and ℓ", "small")
    left, top = x + ONE[0] * SQUARE, y + 26 + ONE[1] * SQUARE
    pen.put("rect", "solid", x=left, y=top, width=SQUARE, height=SQUARE)
    low, right = y + 170, x + SIDE * SQUARE
    pen.line(left, top, x, low, "thin")
    pen.line(left + SQUARE, top, right, low, "thin")
    pen.box(x, y + 170, 120, 68, kind="floor", rx=0)
    for name, at, across, frames in (
        ("O", 8, 4, (PRODUCT, WRITE)),
        ("S", 76, 2, (SCORE,)),
    ):
        cells = CELLS[name == "S"]
        place = (x + at, y + 178, cells // across, across, 9)
        signs.ruled(pen, *place, "soft flow")
        with pen.group(frame=frames, default=DEFAULT):
            signs.ruled(pen, *place, "c2 flow")
        words = f"{cells} of {name}"
        pen.text(x + at, y + 226, words, "small", "start")
    with signs.linked(pen, page, f"{CODE}.kernels:flash_forward"):
        words = f"{number} registers each"
        pen.text(x, y + 253, words, "small go", "start")


# From slow to shared memory, to the threads, back, and out; and the frames
# that take them.
IN, TO = [(200, 130), (228, 130)], [(418, 80), (500, 80)]
BACK = [(500, 130), (418, 130)]
OUT = [(620, 204), (650, 204), (650, 298), (173, 298), (173, 254)]
WAYS = (IN, TO, BACK, OUT)
NARROW_WAYS = (
    [(176, 150), (176, 210)],
    [(192, 264), (221, 264)],
    [(221, 314), (192, 314)],
    [(320, 210), (320, 168), (204, 168), (204, 150)],
)
TAKEN = ((ONCE, PASS), (SCORE, SOFTMAX, PRODUCT), (SCORE, SOFTMAX), (WRITE,))


def _ways(pen, ways) -> None:
    """All ways, pale; those of the frame in colour."""
    for way, frames in zip(ways, TAKEN, strict=True):
        pen.elbow(way, "soft thin")
        with pen.group(frame=frames, default=DEFAULT):
            pen.elbow(way, "accent thick")
