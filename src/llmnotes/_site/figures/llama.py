"""GPT-2's block beside Llama's: the same stream, six parts changed."""

from contextlib import nullcontext

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, MLP, QUERY, STREAM

CODE = "models.llama.model"
RAIL, LEFT, WIDE = 26, 78, 248  # x of the stream and of the boxes
D = 15  # px of the model's width, for matrices drawn to scale
HEADS = 8
HIGH = 478  # px of one block
OLD = {
    "title": "GPT-2",
    "norm": "LayerNorm: mean, spread, bias",
    "attention": "with biases",
    "keys": HEADS,
    "mlp": "GELU, biases",
    "widths": (4, 4),
    "head": "head: the embedding again",
}
NEW = {
    "title": "Llama",
    "norm": "RMSNorm: size only",
    "attention": "Q, K turned",
    "keys": 2,
    "mlp": "SwiGLU",
    "widths": (8 / 3, 8 / 3, 8 / 3),
    "head": "head: a matrix of its own",
}


def blocks(page) -> Drawing:
    """Both blocks, side by side or one below the other."""
    wide, narrow = Pen(680, HIGH), Pen(343, 2 * HIGH + 24)
    for pen, there in ((wide, (346, 0)), (narrow, (4, HIGH + 24))):
        _Block(pen, page, 4, 0, OLD).draw()
        _Block(pen, page, *there, NEW).draw()
    return Drawing(wide, narrow)


class _Block:
    """One model, drawn from a corner on."""

    def __init__(self, pen, page, x, y, says):
        self.pen, self.page, self.x, self.y = pen, page, x, y
        self.says, self.new = says, says is NEW

    def linked(self, symbol):
        """A link to Llama's code; the other has a page of its own."""
        if not self.new:
            return nullcontext()
        return signs.linked(self.pen, self.page, f"{CODE}:{symbol}")

    def box(self, x, y, width, height, words="", kind="") -> None:
        self.pen.box(self.x + x, self.y + y, width, height, words, kind)

    def text(self, x, y, words, kind="", anchor="middle") -> None:
        self.pen.text(self.x + x, self.y + y, words, kind, anchor)

    def elbow(self, *points) -> None:
        self.pen.elbow([(self.x + a, self.y + b) for a, b in points])

    def draw(self) -> None:
        self.text(0, 11, self.says["title"], "large bold", "start")
        self.box(0, 92, 330, 288, kind="ghost")
        signs.rail(self.pen, self.x + RAIL, self.y + 60, self.y + 464)
        self.embedding()
        self.sublayer(102, QUERY, self.attention, "Attention")
        self.sublayer(240, MLP, self.mlp, "SwiGLU")
        self.ends()

    def embedding(self) -> None:
        self.box(0, 28, 150, 32, "token embedding", f"{STREAM} small")
        if not self.new:
            self.box(196, 28, 134, 32, "positions", f"{STREAM} small")
            self.elbow((263, 60), (263, 76), (RAIL + 9, 76))
            signs.plus(self.pen, self.x + RAIL, self.y + 76)

    def sublayer(self, y, kind, inside, symbol) -> None:
        """A norm, a box, and the arrows from the stream and back to it."""
        middle = LEFT + 40
        self.pen.dot(self.x + RAIL, self.y + y + 12, 4)
        self.elbow((RAIL, y + 12), (LEFT, y + 12))
        with self.linked("RMSNorm"):
            self.box(LEFT, y, WIDE, 24, self.says["norm"], "small")
        self.elbow((middle, y + 24), (middle, y + 40))
        with self.linked(symbol):
            self.box(LEFT, y + 40, WIDE, 74, kind=f"{kind} tint")
            inside(y + 40)
        self.elbow((LEFT, y + 96), (RAIL + 9, y + 96))
        signs.plus(self.pen, self.x + RAIL, self.y + y + 96)

    def attention(self, y) -> None:
        """Each query's line to the key that it asks."""
        self.text(LEFT + 52, y + 26, "attention", "bold")
        self.text(LEFT + 52, y + 48, self.says["attention"], "small")
        keys, step, first = self.says["keys"], 17, LEFT + 110
        share = HEADS // keys
        for i in range(HEADS):
            at = first + i * step
            key = first + (i // share * share + (share - 1) / 2) * step
            self.pen.line(
                self.x + at, self.y + y + 20, self.x + key, self.y + y + 54
            )
            self.box(at - 5.5, y + 10, 11, 11, kind=f"{QUERY} solid")
            if i % share == 0:
                self.box(key - 5.5, y + 54, 11, 11, kind=f"{KEY} solid")

    def mlp(self, y) -> None:
        """The matrices, their area to scale: it is the same."""
        self.text(LEFT + 52, y + 26, "MLP", "bold")
        self.text(LEFT + 52, y + 48, self.says["mlp"], "small")
        x = LEFT + 106
        for times in self.says["widths"]:
            self.box(x, y + 20, D * times, D, kind=f"{MLP} solid")
            x += D * times + 5
        words = "3 · d · 8/3 d" if self.new else "2 · d · 4 d"
        self.text(LEFT + 168, y + 54, words, "small")

    def ends(self) -> None:
        with self.linked("RMSNorm"):
            self.box(0, 392, 150, 24, "last norm", "small")
        with self.linked("Llama.head"):
            self.box(0, 428, 330, 28, self.says["head"], f"{STREAM} small")
        self.pen.head(self.x + RAIL, self.y + 472, 1.5708, STREAM)
        words = "scores of the next token"
        self.text(RAIL + 14, 467, words, "small", "start")
