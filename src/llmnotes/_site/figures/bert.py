"""BERT: three tables are added, everybody sees everybody, a word is asked."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import MLP, QUERY, STREAM, count

PARTS = "transformer/bert_drawn:parts"
REACH = "transformer/bert:reach"
CODE = "transformer.bert.model"
WORDS = ("[CLS]", "to", "[MASK]", "or", "[SEP]", "not", "[SEP]")
TEXTS = "AAAAABB"
ASKED = 2
LAYERS, VOCABULARY = 12, 30522  # of BERT base
FAN = 80  # px from what is asked to where the answers are added


def reading(page) -> Drawing:
    """From the tables through one layer to the word that was hidden."""
    counts = {r["part"]: r["parameters"] for r in rows(page, PARTS)}
    wide, narrow = Pen(680, 498), Pen(343, 552)
    for pen, left, apart in ((wide, 140, 76), (narrow, 1, 48.5)):
        _Columns(pen, page, counts, left, apart).draw()
    return Drawing(wide, narrow, reads=(PARTS, REACH))


class _Columns:
    """Seven tokens side by side; names in the margin, or above on a phone."""

    def __init__(self, pen, page, counts, left, apart):
        self.pen, self.page, self.counts = pen, page, counts
        self.left, self.apart, self.y = left, apart, 4
        self.margin = left > 100
        self.middles = [left + (i + 0.5) * apart for i in range(len(WORDS))]

    def draw(self) -> None:
        """Draw from top to bottom."""
        said = (WORDS, TEXTS, range(len(WORDS)))
        parts = (("tokens", "tokens"), ("texts", "types"))
        parts += (("positions", "positions"),)
        for (name, part), words in zip(parts, said, strict=True):
            self._table(name, part, words)
        top = self.y
        for x in self.middles:
            signs.rail(
                self.pen, x, top - 6, top + (276 if self.margin else 312)
            )
        self._norm("table norm")
        self._layer()
        self._answer()

    def _name(self, name, part, symbol, deep=30) -> None:
        """Say what a row is, and how many parameters it has."""
        number = count(self.counts[part])
        with signs.linked(self.pen, self.page, f"{CODE}:{symbol}"):
            if self.margin:
                x, y = self.left - 14, self.y + deep / 2
                self.pen.text(x, y - 8, name, "go", "end")
                self.pen.text(x, y + 9, number, "small", "end")
            else:
                words = f"{name}: {number}"
                self.pen.text(2, self.y + 6, words, "small go halo", "start")
                self.y += 18

    def _table(self, name, part, words) -> None:
        self._name(name, part, "Embeddings")
        for x, word in zip(self.middles, words, strict=True):
            hidden, second = word == WORDS[ASKED], word == "B"
            look = "accent tint" if hidden else f"{STREAM} tint" * second
            wide = self.apart - 4
            self.pen.box(
                x - wide / 2, self.y, wide, 28, str(word), f"{look} small"
            )
            if name != "positions" and self.margin:
                self.pen.text(x, self.y + 37, "+")
        self.y += 46 if self.margin else 36

    def _norm(self, part) -> None:
        words = f"norm {count(self.counts[part])}"
        wide = self.apart * len(WORDS) - 4
        self.pen.box(self.left + 2.0, self.y, wide, 20, words, "small")
        self.y += 20

    def _layer(self) -> None:
        pen, top = self.pen, self.y + 12
        self.y += 26
        words = f"× {LAYERS}"
        if self.margin:
            pen.text(self.left - 14, top + 12, words, "bold", "end")
        else:
            pen.text(335, self.y + 6, words, "bold halo", "end")
        self._attention()
        self._norm("first norm")
        self.y += 14
        self._mlp()
        self._norm("second norm")
        self.y += 10
        pen.box(
            self.left - 0.5, top, self.apart * len(WORDS) + 1, self.y - top,
            "", "ghost", rx=8,
        )  # fmt: skip

    def _attention(self) -> None:
        """A line from every column to every other."""
        pen = self.pen
        self._name("attention", "attention", "SelfAttention", FAN)
        y, end = self.y + 6, self.y + FAN
        asked = self.middles[ASKED]
        signs.fan(pen, self.middles, y, self.middles, end, f"{QUERY} thin")
        signs.fan(pen, self.middles, y, [asked], end, QUERY)
        for x in self.middles:
            pen.dot(x, y, 4, QUERY)
            signs.plus(pen, x, end)
        self.y = end + 16

    def _mlp(self) -> None:
        """Each column on its own, beside its stream."""
        self._name("MLP", "mlp", "Layer", 52)
        pen, y = self.pen, self.y + 2
        for x in self.middles:
            pen.dot(x, y, 4)
            pen.curve([(x, y), (x + 16, y), (x + 16, y + 10)])
            pen.box(x + 8, y + 11, 16, 16, kind=f"{MLP} tint", rx=2)
            pen.elbow([(x + 16, y + 28), (x + 16, y + 40), (x + 9, y + 40)])
            signs.plus(pen, x, y + 40)
        self.y += 58

    def _answer(self) -> None:
        pen, x = self.pen, self.middles[ASKED]
        y = self.y + 30
        pen.line(x, self.y, x, y - 8, "accent thick")
        pen.head(x, y - 1, 1.5708, "accent")
        with signs.linked(pen, self.page, f"{CODE}:Predictions"):
            pen.box(self.left + 2, y, 196, 58, kind="accent")
            at = self.left + 12
            pen.text(at, y + 14, "Which word was here?", "go", "start")
            words = f"{count(VOCABULARY)} scores"
            pen.text(at, y + 31, words, "small", "start")
            words = f"head: {count(self.counts['head'])}"
            pen.text(at, y + 46, words, "small soft", "start")
        self._masks(self.left + self.apart * len(WORDS), y)

    def _masks(self, right, y) -> None:
        """The layer's mask, and that of GPT-1 for comparison."""
        for i, name in enumerate(("BERT", "GPT-1")):
            found = [
                r for r in rows(self.page, REACH) if r["model"][:4] == name[:4]
            ]
            x = right - 112 + i * 62
            cells = signs.matrix(found, "output", "token", "moves")
            signs.mask(self.pen, x, y, cells, 5)
            self.pen.text(x + 20, y + 50, name, "small")
