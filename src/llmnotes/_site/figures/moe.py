"""Words, the two experts of each, and the queue in front of every expert.

A thick line is a word's first choice, a thin one its second. Beyond the
dashed line there is no room where an expert has an even share of places.
"""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen

WORDS = ("the", "cat", "sat", "on", "the", "mat", "and", "ate")
ROUTES = ((0, 1), (2, 0), (1, 2), (0, 3), (0, 1), (2, 0), (0, 1), (1, 2))
KINDS = ("c1", "c2", "c3", "c4")
PLACES = 4  # an even share: 8 words, 2 choices, 4 experts
ROUTER, EXPERT, FIRST = 48, 146, 184  # y of what is drawn
STEP = 24  # px from one place of a queue to the next
HIGH = 342


def queues() -> list[list[int]]:
    """For each expert the words in its queue, first choices first."""
    return [
        [w for rank in (0, 1) for w, r in enumerate(ROUTES) if r[rank] == e]
        for e in range(len(KINDS))
    ]


def routing(page) -> Drawing:
    """The whole of it, wide and narrow."""
    pens = Pen(640, HIGH), Pen(343, HIGH)
    for pen in pens:
        _words(pen)
        _lines(pen)
        _router(pen, page)
        _experts(pen, page)
        _room(pen)
    return Drawing(*pens)


def _column(pen, i: int, count: int) -> float:
    """Return the middle of the i-th of so many columns."""
    return 2 + (i + 0.5) * (pen.width - 4) / count


def _words(pen) -> None:
    wide = (pen.width - 4) / len(WORDS) - 6
    for i, word in enumerate(WORDS):
        x = _column(pen, i, len(WORDS))
        pen.box(x - wide / 2, 2, wide, 26, word, f"{signs.STREAM} tint small")
        pen.line(x, 28, x, ROUTER, "thin")


def _router(pen, page) -> None:
    with signs.linked(pen, page, "models.moe.routing:Router"):
        words = "router: a score for each expert, the best two are asked"
        if pen.width < 400:
            words = "router: the best two of four are asked"
        pen.box(2, ROUTER, pen.width - 4, 26, words, "small")


def _lines(pen) -> None:
    for i, experts in enumerate(ROUTES):
        x = _column(pen, i, len(WORDS))
        for rank, e in enumerate(experts):
            to = _column(pen, e, len(KINDS)) + (i - 3.5) * 5
            look = "thin" if rank else "thick"
            kind = f"{KINDS[e]} {look}"
            signs.bend(pen, x, ROUTER + 26, to, EXPERT - 2, kind)


def _experts(pen, page) -> None:
    wide = (pen.width - 4) / len(KINDS) - 12
    for e, queue in enumerate(queues()):
        x = _column(pen, e, len(KINDS)) - wide / 2
        with signs.linked(pen, page, "models.moe.experts:expert"):
            kind = f"{KINDS[e]} tint small bold"
            pen.box(x, EXPERT, wide, 28, f"expert {e}", kind)
        for place, word in enumerate(queue):
            look = "tint" if place < PLACES else "dashed"
            y = FIRST + place * STEP + (8 if place >= PLACES else 0)
            pen.box(
                x + 8, y, wide - 16, STEP - 4,
                WORDS[word], f"{KINDS[e]} {look} small",
            )  # fmt: skip


def _room(pen) -> None:
    y = FIRST + PLACES * STEP + 2
    pen.line(2, y, pen.width - 2, y, "dashed soft")
    words = "below: no room, where an\nexpert has 4 places"
    if pen.width > 400:
        words = "below the line: no room,\nwhere every expert has 4 places"
    pen.text(pen.width - 6, y + 24, words, "small soft", "end")
