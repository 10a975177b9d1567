"""Data parallel: the same model on every rank, and the ring between them."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows as rows_of
from llmnotes._site.figures.pen import Pen

RANKS = 3
COLOURS = "c1", "c2", "c3"
CODE = "parallel.data_parallel"
OVERLAP = "parallel/data_parallel_speed:overlap"
SAID = [
    "At the start every rank has numbers of its own, in all three parts.",
    "Each rank sends one part to the right, where it is added.",
    "It passes on what it has just added to: the last rank of each part "
    "completes its sum.",
    "From here on sums are only copied to the right …",
    "… until every rank has all three: four steps of a third each.",
]


def step(page) -> Drawing:
    """Each rank: its rows, its copy of the model, its gradient."""
    pens = Pen(640, 292), Pen(343, 292)
    for pen in pens:
        _step(pen, page)
    return Drawing(*pens)


def _step(pen, page) -> None:
    wide = (pen.width - 8) / RANKS
    for rank, colour in enumerate(COLOURS):
        x, width = 4 + rank * wide, wide - 14
        middle = x + width / 2
        pen.text(middle, 12, f"rank {rank}", "bold")
        with signs.linked(pen, page, f"{CODE}.shares:share"):
            words = f"rows {3 * rank}–{3 * rank + 2}"
            pen.box(x, 28, width, 34, words, f"{colour} tint small")
        pen.arrow(middle, 62, middle, 80)
        pen.box(x, 80, width, 56, "weights θ\nall of them", "c6 small")
        pen.arrow(middle, 136, middle, 154)
        pen.box(x, 154, width, 34, f"gradient g_{{{rank}}}", f"{colour} tint")
        pen.arrow(middle, 188, middle, 206)
        pen.arrow(middle, 240, middle, 258)
        pen.text(middle, 274, "the same step", "small")
    with signs.linked(pen, page, f"{CODE}.buckets:Buckets.finish"):
        pen.box(
            4, 206, pen.width - 22, 34, "g_{0} + g_{1} + g_{2}  on every rank",
            "c4 tint",
        )  # fmt: skip


def ring(page) -> Drawing:
    """Three parts go round, and are sums after two steps."""
    wide, narrow = Pen(600, 190), Pen(343, 190)
    for pen in (wide, narrow):
        _ring(pen, page)
    return Drawing(wide, narrow, frames=SAID, default=2)


def _ring(pen, page) -> None:
    gap = 46 if pen.width > 400 else 30
    width = (pen.width - gap * RANKS) / RANKS
    places = [gap / 2 + rank * (width + gap) for rank in range(RANKS)]
    for rank, x in enumerate(places):
        pen.text(x + width / 2, 12, f"rank {rank}", "bold")
    for frame, (held, sent) in enumerate(states()):
        with pen.group(frame=frame, default=2):
            for rank, x in enumerate(places):
                for part in range(RANKS):
                    _cell(pen, x, 30 + part * 52, width, held[rank][part])
            for rank, part in sent:
                _sent(pen, places[rank] + width, 52 + part * 52, gap, rank)


def _cell(pen, x, y, width, ranks) -> None:
    """One part: whose numbers are in it."""
    whole = len(ranks) == RANKS
    words = "+".join(f"{r}" for r in sorted(ranks))
    words = "the sum" if whole else f"of {words}"
    kind = (
        "c4 tint thick" if whole else "c1 tint" if len(ranks) > 1 else "soft"
    )
    pen.box(x, y, width, 44, words, f"{kind} small")


def _sent(pen, x, y, gap, rank) -> None:
    """An arrow to the right; from the last rank to the first, in halves."""
    if rank < RANKS - 1:
        pen.arrow(x + 3, y, x + gap - 3, y, "thick")
        return
    pen.arrow(x + 3, y, x + gap / 2, y, "thick")
    pen.arrow(0, y, gap / 2 - 3, y, "thick")


def states() -> list[tuple[list, list]]:
    """For each frame: whose numbers are where, and what is sent next."""
    held = [[{rank} for _ in range(RANKS)] for rank in range(RANKS)]
    found = []
    for step in range(2 * RANKS - 2):
        back = 1 if step < RANKS - 1 else 0
        step %= RANKS - 1
        sent = [(r, (r - step - back) % RANKS) for r in range(RANKS)]
        found.append((held, sent))
        after = [list(map(set, parts)) for parts in held]
        for rank, part in sent:
            after[(rank + 1) % RANKS][part] |= held[rank][part]
        held = after
    return [*found, (held, [])]


def overlap(page) -> Drawing:
    """Backward, and the sums of its buckets, in time."""
    rows = list(rows_of(page, OVERLAP))
    pens = Pen(640, 150), Pen(343, 150)
    for pen in pens:
        _overlap(pen, rows)
    return Drawing(*pens, reads=(OVERLAP,))


def _overlap(pen, rows) -> None:
    end = max(row["end"] for row in rows)
    left = 92
    scale = (pen.width - left - 8) / end
    for lane, (what, kind) in enumerate(
        (("backward", "c1"), ("sums", "c4 solid"))
    ):
        y = 22 + lane * 48
        pen.text(2, y + 15, what, "small", "start")
        for row in rows:
            if row["what"] == what:
                x = left + row["start"] * scale
                wide = max(1.5, (row["end"] - row["start"]) * scale)
                pen.box(x, y, wide, 30, "", f"{kind} tint", rx=2)
    for share in (0, 0.5, 1):
        at = left + share * end * scale
        anchor = "start" if share == 0 else "end" if share == 1 else "middle"
        pen.text(at, 132, f"{1000 * share * end:.0f} ms", "small", anchor)
