"""Two roads from what is read to what is written, and the beam's tree."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import MEMORY, QUERY, short

LOOKS = "sequence/seq2seq:alignment"
TREE = "sequence/seq2seq_drawn:beam"
MODEL = "Luong's attention"
SHOWN = 9  # the row that stands without scripts: the last digit of the day
ONE, TWO = 48, 236  # y of what is read, on each road
DEEP = 84  # px from what is read to what is written


def roads(page) -> Drawing:
    """The last state only, and all states weighted anew each time."""
    looks = {}
    for row in rows(page, LOOKS):
        if row["model"] == MODEL:
            looks.setdefault(row["written"], {})[row["read"]] = row["weight"]
    pens = Pen(680, 372), Pen(343, 372)
    for pen in pens:
        _one_vector(pen, page, looks)
        _attention(pen, page, looks)
    says = [_words(said, weights) for said, weights in looks.items()]
    return Drawing(
        *pens, frames=says, default=SHOWN, slide="written", reads=(LOOKS,)
    )


def _words(said: str, weights: dict) -> str:
    """Say where this character is looked up."""
    most = max(weights, key=weights.get)
    return (
        f"Written: “{_last(said)}”, number {said.split()[0]}. Most is taken "
        f"at character {most.split()[0]}, “{_last(most)}”: "
        f"{weights[most]:.0%}."
    )


def _last(name: str) -> str:
    return name.split()[-1]


def _spread(pen, many: int, share: float) -> list[float]:
    """Middles of so many places over a share of the width, centred."""
    wide = pen.width * share
    left = (pen.width - wide) / 2
    return [left + (i + 0.5) * wide / many for i in range(many)]


def _row(pen, places, names, y) -> None:
    for x, name in zip(places, names, strict=True):
        pen.text(
            x,
            y,
            _last(name),
            "small mono" if len(_last(name)) < 2 else "small",
        )


def _states(pen, places, y, kind) -> None:
    """Dots, each made from the one before."""
    for a, b in zip(places, places[1:], strict=False):
        pen.line(a, y, b, y, "soft")
    for x in places:
        pen.dot(x, y, 4, kind)


def _places(pen, looks) -> tuple[list[float], list[float]]:
    """Where stands what is read, and where what is written."""
    read = next(iter(looks.values()))
    return _spread(pen, len(read), 1), _spread(pen, len(looks), 0.72)


def _both(pen, looks, y) -> None:
    """What is read above, what is written below."""
    read = list(next(iter(looks.values())))
    above, below = _places(pen, looks)
    _row(pen, above, read, y - 16)
    _states(pen, above, y, MEMORY)
    _states(pen, below, y + DEEP, QUERY)
    _row(pen, below, looks, y + DEEP + 17)


def _one_vector(pen, page, looks) -> None:
    words = "One vector: only the last state is handed over"
    with signs.linked(pen, page, "sequence.seq2seq.model:Seq2Seq"):
        pen.text(2, 12, words, "bold go", "start")
    _both(pen, looks, ONE)
    above, below = _places(pen, looks)
    x, y = above[-1], ONE
    pen.path(
        f"M{x:g} {y + 6}C{x:g} {y + 44} {below[0]:g} {y + 34} "
        f"{below[0]:g} {y + DEEP - 14}",
        f"{MEMORY} thick",
    )
    pen.head(below[0], y + DEEP - 6, 1.5708, MEMORY)


def _attention(pen, page, looks) -> None:
    words = "Attention: all of them, weighed anew each time"
    with signs.linked(pen, page, "sequence.seq2seq.scores:mix"):
        pen.text(2, TWO - 36, words, "bold go", "start")
    above, below = _places(pen, looks)
    for i, weights in enumerate(looks.values()):
        with pen.group(frame=i, default=SHOWN):
            x = below[i]
            for a, weight in zip(above, weights.values(), strict=True):
                if weight > 0.005:
                    pen.line(
                        a, TWO, x, TWO + DEEP, f"{QUERY} round",
                        style=f"stroke-width:{max(0.6, 9 * weight):.1f}px",
                    )  # fmt: skip
            pen.put(
                "rect", f"{QUERY} thick", x=x - 9, y=TWO + DEEP + 8,
                width=18, height=19, rx=3,
            )  # fmt: skip
    _both(pen, looks, TWO)
    pen.text(
        2, TWO + DEEP + 44, "read above, written below", "small soft", "start"
    )


def beam(page) -> Drawing:
    """What a beam of two tries, keeps and drops."""
    tree = list(rows(page, TREE))
    pens = Pen(680, 240), Pen(343, 240)
    for pen in pens:
        _tree(pen, page, tree)
    return Drawing(*pens, reads=(TREE,))


def _tree(pen, page, tree) -> None:
    steps = max(r["step"] for r in tree)
    across = (pen.width - 76) / steps
    heights = {"": 118, "A": 66, "B": 170, "A A": 34, "A B": 92}
    heights |= {"B A": 144, "B B": 202, "A A end": 34, "B B end": 202}
    best = max(r["chance"] for r in tree if r["step"] == steps)
    with signs.linked(pen, page, "sequence.seq2seq.decoding:extend"):
        for i in range(steps):
            name = f"step {i + 1}"
            pen.text(38 + (i + 1) * across, 10, name, "small soft")
    for row in tree:
        x = 38 + row["step"] * across
        a, b = heights[row["after"]], heights[row["tried"]]
        kind = "" if row["kept"] else "ghost"
        wide = f"stroke-width:{max(1.0, 9 * row['chance']):.1f}px"
        style = {"style": wide} if row["kept"] else {}
        pen.line(x - across + 36, a, x - 37, b, f"{QUERY} {kind}", **style)
    pen.box(2, 104, 72, 28, "start", "small")
    for row in tree:
        _node(pen, 38 + row["step"] * across, heights, row, best)


def _node(pen, x, heights, row, best) -> None:
    y = heights[row["tried"]]
    kind = "tint" if row["kept"] else "ghost"
    if row["tried"].endswith("end"):
        first = row["chance"] == best
        kind = "tint thick" if first else "tint"
        words = "the likeliest end" if first else "greedy ends here"
        pen.text(x + 37, y + 26, words, "small", "end")
    pen.box(x - 37, y - 16, 74, 32, kind=f"{QUERY} {kind}")
    tokens = row["tried"].removesuffix(" end")
    words = f"{tokens} {short(row['chance'], 2)}"
    pen.text(x, y, words, "small" if row["kept"] else "small soft")
