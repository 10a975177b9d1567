"""What four ranks hold at each stage; and weights as one vector, cut.

A filled bar is memory of this rank, an outlined one is another rank's. Bars
are as high as their bytes in mixed precision: 2 for a weight, 2 for its
gradient, 12 for the optimizer's states.
"""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, MEMORY, QUERY

RANKS = 4
PARTS = (("weights", QUERY, 2), ("gradients", KEY, 2), ("states", MEMORY, 12))
STAGES = (  # name, how many parts are cut (the last ones first), code
    ("nothing is cut", "16 B", ""),
    ("stage 1", "7 B", "parallel.zero.optimizer:ShardedOptimizer"),
    ("stage 2", "5.5 B", "parallel.zero.gradients:ShardedGradients"),
    ("stage 3", "4 B", "parallel.zero.parameters:ShardedParameters"),
)
BYTE, BAR, GAP = 9, 24, 6  # px of a byte's height, of a rank, between ranks
GROUP = RANKS * (BAR + GAP)
SIZES = (
    ("weight 2 × 3", QUERY, 6),
    ("bias", KEY, 3),
    ("weight 2 × 2", MEMORY, 4),
)
SHARD = 4  # ⌈13 / 4⌉ numbers
HIGH = 26  # px of a number


def stages(page) -> Drawing:
    """All four, side by side or two by two."""
    wide, narrow = Pen(640, 246), Pen(343, 492)
    for i in range(len(STAGES)):
        _stage(wide, page, 84 + i * 142, 20, i)
        _stage(narrow, page, 70 + i % 2 * 146, 20 + i // 2 * 246, i)
    _names(wide, 0, 20)
    for row in (0, 246):
        _names(narrow, 0, 20 + row)
    return Drawing(wide, narrow)


def _names(pen, x, y) -> None:
    """What the bars are, on the left."""
    for name, kind, size in PARTS:
        pen.text(x, y + size * BYTE / 2, name, f"small {kind}", "start")
        y += size * BYTE + 4


def _stage(pen, page, x, y, stage: int) -> None:
    """The bars of four ranks, what they are called and what they weigh."""
    name, size, symbol = STAGES[stage]
    for rank in range(RANKS):
        _rank(pen, x + rank * (BAR + GAP), y, stage, rank)
    low = y + sum(part[2] * BYTE + 4 for part in PARTS)
    middle = x + (GROUP - GAP) / 2
    with signs.linked(pen, page, symbol):
        pen.text(middle, low + 18, name, "go" if symbol else "")
    pen.text(middle, low + 38, f"{size} a number", "small soft")


def _rank(pen, x, y, stage: int, rank: int) -> None:
    """The three bars of a rank."""
    for i, (_, kind, size) in enumerate(PARTS):
        high = size * BYTE
        cut = i >= len(PARTS) - stage
        look = "ghost" if cut else "solid"
        pen.put(
            "rect", f"box {kind} {look}", x=x, y=y, width=BAR,
            height=high, rx=2,
        )  # fmt: skip
        if cut:
            part = high / RANKS
            pen.put(
                "rect", f"box {kind} solid", x=x, y=y + rank * part,
                width=BAR, height=part, rx=1,
            )  # fmt: skip
        y += high + 4


def cut(page) -> Drawing:
    """Thirteen numbers of three weights, as four shards of four."""
    wide, narrow = Pen(640, 128), Pen(343, 206)
    _cut(wide, page, 8, 34)
    _cut(narrow, page, 4, 34)
    return Drawing(wide, narrow)


def _cut(pen, page, columns: int, cell: float) -> None:
    """Numbers in a row, so many shards in each line of the picture."""
    kinds = [kind for _, kind, size in SIZES for _ in range(size)]
    lines = 4 // (2 if columns == 4 else 4)
    per_line = 4 // (lines if columns == 4 else 1)
    with signs.linked(pen, page, "parallel.zero.flat:Flat.pieces"):
        for rank in range(RANKS):
            line, place = divmod(rank, per_line)
            x = 6 + place * (SHARD * cell + 14)
            y = 46 + line * 84
            pen.text(
                x + SHARD * cell / 2, y + HIGH + 14,
                f"shard of rank {rank}", "small go",
            )  # fmt: skip
            for i in range(SHARD):
                number = rank * SHARD + i
                inside = number < len(kinds)
                look = f"{kinds[number]} solid" if inside else "soft dashed"
                pen.put(
                    "rect", f"box {look}", x=x + i * cell, y=y,
                    width=cell - 2, height=HIGH, rx=2,
                )  # fmt: skip
    x = 6
    for name, kind, _ in (*SIZES, ("padding", "soft", 3)):
        pen.text(x, 16, name, f"small {kind}", "start")
        x += 8 * len(name) + 6 if columns == 4 else 8 * len(name) + 30
