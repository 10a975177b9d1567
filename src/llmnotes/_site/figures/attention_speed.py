"""What plain attention moves through memory, and what a fused one moves."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, QUERY, VALUE, count

TIMES = "kernels/attention_speed:forward"
CODE = "kernels.attention_speed.counts"
LENGTH, HEAD_DIM, HEADS = 4096, 64, 8
SQUARE, STRIP = LENGTH * LENGTH, LENGTH * HEAD_DIM  # numbers in S, in Q
THICK = 28  # px of a belt for the numbers of a square
TOP, LOW, HIGH = 62, 168, 238  # y of the two bars; height of a panel


def traffic(page) -> Drawing:
    """Steps with whole matrices, and one pass tile by tile."""
    seconds = {
        r["method"]: r["seconds"]
        for r in rows(page, TIMES)
        if r["n"] == LENGTH and r["dtype"] == "float32"
    }
    wide, narrow = Pen(680, HIGH), Pen(343, 2 * HIGH)
    for pen, x, y in ((wide, 348, 0), (narrow, 2, HIGH)):
        _plain(pen, page, seconds["naive"])
        _fused(pen, page, x, y, seconds["numba_flash"])
    return Drawing(wide, narrow, reads=(TIMES,))


def _panel(pen, x, y, title, words, numbers, seconds) -> None:
    """Memory above, arithmetic below, and what it comes to."""
    pen.text(x, y + 10, title, "bold go", "start")
    pen.box(x, y + TOP - 36, 330, 26, "memory", "small")
    wide = 330 / len(words)
    for i, word in enumerate(words):
        pen.box(x + i * wide + 2, y + LOW, wide - 4, 26, word, "tint small")
    said = (
        f"{count(numbers)} numbers a head · {seconds:.2f} s for {HEADS} heads"
    )
    pen.text(x, y + LOW + 46, said, "small", "start")


def _belt(pen, x, y, name, numbers, up, kind) -> None:
    """A belt as wide as what it carries; `up` is into memory."""
    wide = max(0.8, THICK * numbers / SQUARE)
    top, low = y + TOP - 8, y + LOW - 2
    signs.upright(pen, x, top, low, wide, kind)
    turn = -1.5708 if up else 1.5708
    pen.head(x, top if up else low, turn, kind)
    away = wide / 2 + 4
    pen.text(x + away, y + (TOP + LOW) / 2 - 5, name, "small", "start")


def _plain(pen, page, seconds) -> None:
    belts = (
        (14, "Q", STRIP, False, QUERY),
        (40, "K", STRIP, False, KEY),
        (82, "S", SQUARE, True, ""),
        (137, "S", SQUARE, False, ""),
        (193, "P", SQUARE, True, ""),
        (246, "P", SQUARE, False, ""),
        (284, "V", STRIP, False, VALUE),
        (312, "O", STRIP, True, VALUE),
    )
    with signs.linked(pen, page, f"{CODE}:unfused_forward_traffic"):
        numbers = sum(belt[2] for belt in belts)
        words = ("scores", "softmax", "mean")
        _panel(pen, 2, 0, "Plain: whole matrices", words, numbers, seconds)
    for x, *belt in belts:
        _belt(pen, 2 + x, 0, *belt)


def _fused(pen, page, x, y, seconds) -> None:
    belts = (
        (60, "Q", STRIP, False, QUERY),
        (126, "K", STRIP, False, KEY),
        (192, "V", STRIP, False, VALUE),
        (258, "O", STRIP, True, VALUE),
    )
    with signs.linked(pen, page, f"{CODE}:fused_forward_traffic"):
        numbers = sum(belt[2] for belt in belts)
        words = ("all three, tile by tile",)
        _panel(pen, x, y, "Fused: one pass", words, numbers, seconds)
    for at, *belt in belts:
        _belt(pen, x + at, y, *belt)
