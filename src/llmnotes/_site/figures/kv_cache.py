"""The cache as it fills, step by step; and the blocks it may lie in.

A filled cell is a key and a value that this step computes and keeps, a
tinted one is read from the cache, an outlined one was just written.
"""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, MEMORY, QUERY

WORDS = ("the", "cat", "sat", "on", "the", "mat", "and", "ate")
PROMPT = 4  # words that are read at once
HIGH, TOP = 34, 40  # px of a step; where the first begins
SIZE = 4  # places of a block
TEXTS = {  # colour, tokens, and its blocks in order
    "text A": (QUERY, 10, (2, 5, 0)),
    "text B": (KEY, 6, (6, 3)),
}
BLOCKS = 8
CELL = 17  # px of a place
BLOCK = SIZE * CELL + 12  # px from one block to the next


def steps(page) -> Drawing:
    """One prefill and three steps of decoding."""
    pens = Pen(640, 180), Pen(343, 180)
    for pen in pens:
        _steps(pen, page)
    return Drawing(*pens)


def _steps(pen, page) -> None:
    left = 84 if pen.width > 400 else 58
    wide = (pen.width - left - 4) / len(WORDS)
    for i, word in enumerate(WORDS):
        pen.text(left + (i + 0.5) * wide, 18, word, "small")
    with signs.linked(pen, page, "models.kv_cache.generation:Cached.__call__"):
        for step in range(4):
            name = "decode" if step else "prefill"
            pen.text(2, TOP + (step + 0.5) * HIGH, name, "small go", "start")
    with signs.linked(pen, page, "models.kv_cache.cache:KVCache.extend"):
        for step in range(4):
            _step(pen, left, TOP + step * HIGH, wide, step)


def _step(pen, left, y, wide, step) -> None:
    """What this step reads, computes and writes."""
    read = PROMPT + step
    first = read - 1 if step else 0  # what is computed now
    for i in range(read + 1):
        look = "tint" if i < first else "solid" if i < read else "dashed"
        pen.put(
            "rect", f"box {MEMORY} {look}", x=left + i * wide + 2, y=y + 3,
            width=wide - 4, height=HIGH - 6, rx=3,
        )  # fmt: skip


def blocks(page) -> Drawing:
    """Two texts, their tables, and the pool that holds both."""
    wide, narrow = Pen(656, 186), Pen(343, 266)
    _blocks(wide, page, columns=8)
    _blocks(narrow, page, columns=4)
    return Drawing(wide, narrow)


def _blocks(pen, page, columns: int) -> None:
    """Tables above, the pool below, a line from each entry to its block."""
    starts = _tables(pen, page, columns)
    low = 140 if columns == 8 else 160
    with signs.linked(pen, page, "models.kv_cache.paged:Pool"):
        pen.text(6, low - 24, "the pool", "small go halo", "start")
    owner = {
        b: (name, i)
        for name, (_, _, t) in TEXTS.items()
        for i, b in enumerate(t)
    }
    for block in range(BLOCKS):
        x = 6 + block % columns * BLOCK
        y = low + block // columns * 62
        name, i = owner.get(block, (None, 0))
        _places(pen, x, y, name, i)
        pen.text(x + SIZE * CELL / 2, y + 30, f"{block}", "small mono")
        if name:
            signs.bend(
                pen, *starts[block], x + SIZE * CELL / 2, y - 3,
                f"{TEXTS[name][0]} thin",
            )  # fmt: skip


def _tables(pen, page, columns: int) -> dict:
    """Write each text's table; where the line of each block begins."""
    starts = {}
    for row, (name, (kind, _, table)) in enumerate(TEXTS.items()):
        x = 6 + row * 4 * BLOCK if columns == 8 else 6
        y = 10 if columns == 8 else 10 + row * 50
        with signs.linked(pen, page, "models.kv_cache.paged:Row"):
            pen.text(x, y + 12, f"{name}: blocks", f"small go {kind}", "start")
        for i, block in enumerate(table):
            at = x + 104 + i * 34
            pen.box(at, y, 28, 24, f"{block}", f"{kind} tint small")
            starts[block] = at + 14, y + 26
    return starts


def _places(pen, x, y, name, i: int) -> None:
    """One block: places that hold a token, and those that do not."""
    kind, tokens, _ = TEXTS.get(name, ("soft", 0, ()))
    for slot in range(SIZE):
        full = i * SIZE + slot < tokens
        look = f"{kind} solid" if full else f"{kind} ghost"
        pen.put(
            "rect", f"box {look}", x=x + slot * CELL, y=y,
            width=CELL - 2, height=CELL, rx=2,
        )  # fmt: skip
