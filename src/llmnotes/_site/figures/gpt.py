"""GPT's block: a stream that attention and MLP read from and add to."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import MLP, QUERY, STREAM, count

PARTS = "transformer/gpt_drawn:parts"
MODEL = "GPT-2 small"
CODE = "transformer.gpt.model"
RAIL, LEFT, WIDE = 40, 92, 178  # x of the stream and of the boxes
TOP, HIGH, BOTTOM = 96, 126, 358  # of the block and of each sublayer
NAMES = ("Pre-norm: GPT-2", "Post-norm: GPT-1")
SAYS = [
    "Pre-norm: a sublayer reads a normalised copy; nothing but sums stands "
    "on the stream, until one last norm.",
    "Post-norm: each sum is normalised on the stream itself, so the way back "
    "for gradients leads through every norm. No last norm is needed.",
]


def block(page) -> Drawing:
    """Embedding, one block with the norm before or after, head."""
    counts = parts(page)
    wide, narrow = Pen(680, 482), Pen(343, 612)
    for pen, x, y in ((wide, 396, 30), (narrow, 8, 514)):
        _model(pen, page, counts)
        _shares(pen, x, y, counts, pen is wide)
    return Drawing(
        wide, narrow, frames=SAYS, choices=NAMES, reads=(PARTS, signs.MASKS)
    )


def parts(page) -> dict:
    """Return the parameters of each part, and the shape of the model."""
    found = [r for r in rows(page, PARTS) if r["model"] == MODEL]
    counts = {r["part"]: r["parameters"] for r in found}
    return counts | {"layers": found[0]["layers"], "width": found[0]["width"]}


def _model(pen, page, counts) -> None:
    layers = counts["layers"]
    pen.box(RAIL - 32.0, TOP - 14, 312, BOTTOM - TOP + 10, "", "ghost", rx=8)
    pen.text(312, TOP + 6, f"× {layers}", "bold", "end")
    signs.rail(pen, RAIL, 60, 468)
    _embedding(pen, page, counts)
    causal = signs.seen(page, "causal")
    for i, (title, part, kind, norm, symbol) in enumerate(
        (
            ("attention", "attention", QUERY, "first norm", "Attention"),
            ("MLP", "mlp", MLP, "second norm", "MLP"),
        )
    ):
        y = TOP + i * HIGH
        _sublayer(pen, page, y, title, counts[part], kind, symbol)
        _norms(pen, page, y, counts[norm])
        if i == 0:
            signs.mask(pen, LEFT + WIDE - 52, y + 47, causal, 5)
    _head(pen, page, counts)


def _embedding(pen, page, counts) -> None:
    with signs.linked(pen, page, f"{CODE}:GPT.__init__"):
        pen.box(8, 6, 146, 48, kind=STREAM)
        pen.text(81, 22, "token embedding", "go")
        pen.text(81, 40, count(counts["tokens"]), "small")
        pen.box(190, 6, 118, 48, kind=STREAM)
        pen.text(249, 22, "positions", "go")
        pen.text(249, 40, count(counts["positions"]), "small")
    pen.line(RAIL, 54, RAIL, 62, f"{STREAM} rail")
    pen.elbow([(249, 54), (249, 70), (RAIL + 9, 70)])
    signs.plus(pen, RAIL, 70)


def _sublayer(pen, page, y, title, number, kind, symbol) -> None:
    """A box beside the stream, with the arrows from it and back to it."""
    pen.dot(RAIL, y + 12, 4)
    with signs.linked(pen, page, f"{CODE}:{symbol}"):
        pen.box(LEFT, y + 41, WIDE, 52, kind=f"{kind} tint")
        middle = LEFT + (WIDE - 56 if title == "attention" else WIDE) / 2
        pen.text(middle, y + 58, title, "go")
        pen.text(middle, y + 77, count(number), "small")
    pen.elbow([(LEFT, y + 80), (RAIL + 9, y + 80)])
    signs.plus(pen, RAIL, y + 80)


def _norms(pen, page, y, number) -> None:
    """The norm in front of a sublayer, or on the stream behind the sum."""
    words = f"norm   {count(number)}"
    with pen.group(frame=0):
        pen.elbow([(RAIL, y + 12), (LEFT, y + 12)])
        with signs.linked(pen, page, f"{CODE}:Block.forward"):
            pen.box(LEFT, y, WIDE, 24, words, "small")
        pen.arrow(LEFT + WIDE / 2, y + 24, LEFT + WIDE / 2, y + 41)
    with pen.group(frame=1):
        turn = LEFT + WIDE / 2
        pen.elbow([(RAIL, y + 12), (turn, y + 12), (turn, y + 41)])
        with signs.linked(pen, page, f"{CODE}:PostNormBlock.forward"):
            pen.box(RAIL - 26, y + 98, 120, 24, words, "small")


def _head(pen, page, counts) -> None:
    with pen.group(frame=0):
        with signs.linked(pen, page, f"{CODE}:GPT.last_norm"):
            words = f"last norm   {count(counts['last norm'])}"
            pen.box(RAIL - 26, 372, 150, 24, words, "small")
    with signs.linked(pen, page, f"{CODE}:GPT.forward"):
        pen.box(8, 406, 312, 42, kind=STREAM)
        pen.text(164, 419, "compared with every token’s embedding", "small go")
        pen.text(164, 436, "the same numbers again: 0 more", "small soft")
    pen.head(RAIL, 474, 1.5708, STREAM)
    pen.text(RAIL + 14, 465, "scores of the next token", "small", "start")


def _shares(pen, x, y, counts, tall: bool) -> None:
    """All parameters as one bar, to scale."""
    layers, total = counts["layers"], counts["all"]
    shares = [
        ("token embedding", counts["tokens"], f"{STREAM} solid"),
        (
            f"{layers} attentions",
            layers * counts["attention"],
            f"{QUERY} solid",
        ),
        (f"{layers} MLPs", layers * counts["mlp"], f"{MLP} solid"),
    ]
    pen.text(x, y - 14, f"{MODEL}: {count(total)} parameters", "bold", "start")
    at, long = 0.0, 430.0 if tall else 327.0
    for i, (name, number, kind) in enumerate(shares):
        size = number / total * long
        if tall:
            pen.put(
                "rect", f"{kind} cell", x=x, y=y + at, width=56, height=size
            )
            pen.text(x + 70, y + at + size / 2 - 9, name, "", "start")
            words = f"{number / 1e6:.1f} million, {number / total:.0%}"
            pen.text(
                x + 70, y + at + size / 2 + 9, words, "small soft", "start"
            )
        else:
            pen.put(
                "rect", f"{kind} cell", x=x + at, y=y, width=size, height=24
            )
            words = f"{name}: {number / 1e6:.1f} million, {number / total:.0%}"
            pen.put("rect", kind, x=x, y=y + 36 + i * 20, width=10, height=10)
            pen.text(x + 18, y + 42 + i * 20, words, "small", "start")
        at += size
