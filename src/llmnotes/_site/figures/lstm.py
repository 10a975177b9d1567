"""The LSTM's cell as a belt with valves, in the example by hand."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import MEMORY, QUERY, VALUE, short

BY_HAND = "sequence/lstm_drawn:by_hand"
CODE = "sequence.lstm.model"
UNIT = 24  # px of a belt's width for 1
FORGET, IN, JOIN, OUT = 82, 152, 196, 262  # x on a phone
BELT, FLOOR = 92, 322  # y of the memory as it comes in, and of the product


def cell(page) -> Drawing:
    """The memory comes in on the left, is cut, added to and shown."""
    numbers = {r["what"]: r["value"] for r in rows(page, BY_HAND)}
    pens = Pen(680, 360), Pen(343, 360)
    for pen in pens:
        _Cell(pen, page, numbers).draw()
    return Drawing(*pens, reads=(BY_HAND,))


class _Cell:
    """One picture; `at` stretches a place on the phone to the pen's width."""

    def __init__(self, pen, page, numbers):
        self.pen, self.page, self.numbers = pen, page, numbers

    def at(self, x) -> float:
        return x * self.pen.width / 343

    def wide(self, name) -> float:
        return UNIT * self.numbers[name]

    def says(self, letter, name) -> str:
        """A letter and its number, where there is room with its name."""
        full = self.pen.width > 400 and name.split()[-1] in (
            "gate",
            "candidate",
        )
        letter = f"{name} {letter}" if full else letter
        return f"{letter} = {short(self.numbers[name])}"

    def draw(self) -> None:
        self._product()
        with signs.linked(self.pen, self.page, f"{CODE}:lstm_step"):
            self._keep()
            self._pay_in()
            self._show()

    def _product(self) -> None:
        """What decides: one product, whose four parts go to four places."""
        pen, at = self.pen, self.at
        with signs.linked(pen, self.page, f"{CODE}:lstm_cell"):
            pen.box(1, FLOOR, pen.width - 2, 30)
            words = "one product with x_{t} and h_{t−1} decides all four"
            pen.text(pen.width / 2, FLOOR + 15, words, "go")
        for x, y in (
            (at(FORGET), BELT + 44),
            (at(IN) - 40, 200),
            (at(IN), 266),
            (at(OUT) - 34, 220),
        ):
            pen.arrow(x, FLOOR, x, y, "soft dashed")
        pen.arrow(at(IN) - 40, 200, at(IN) - 22, 200, "soft")
        pen.arrow(at(OUT) - 34, 220, at(OUT) - 22, 220, "soft")

    def _keep(self) -> None:
        """The forget gate lets a part of the memory through."""
        pen, at, x = self.pen, self.at, self.at(FORGET)
        before, kept = self.wide("before"), self.wide("kept")
        gone = before - kept
        signs.flow(pen, 0, BELT, before, x, BELT, before)
        top = BELT - before / 2
        pen.path(
            f"M{x} {top:g}C{x + 30} {top:g} {x + 30} 30 {x + 44} 0"
            f"H{x + 44 + gone:g}C{x + 60} 60 {x + 60} {top + gone:g} {x} "
            f"{top + gone:g}Z",
            f"{MEMORY} gone",
        )
        low = BELT + before / 2 - kept / 2
        signs.flow(pen, x, low, kept, at(JOIN), low, kept)
        signs.gate(pen, x, BELT, before, self.numbers["forget gate"])
        pen.text(8, BELT - 8, "c_{t−1}", "italic", "start")
        pen.text(8, BELT + 12, short(self.numbers["before"]), "bold", "start")
        words = f"let go: {short(self.numbers['before'] - kept / UNIT)}"
        pen.text(x + 84, 14, words, "small", "start")
        words = self.says("f", "forget gate")
        pen.text(x - 8, 50, words, "small go", "end")
        words = f"kept: {short(self.numbers['kept'])}"
        pen.text(x + 14, low - 16, words, "small", "start")

    def _pay_in(self) -> None:
        """The input gate lets a part of the candidate in."""
        pen, x, join = self.pen, self.at(IN), self.at(JOIN)
        full, added = self.wide("candidate"), self.wide("added")
        low = BELT + self.wide("before") / 2 + added / 2
        pen.box(x - 24, 244, 48, 22, "tanh", f"{VALUE} small")
        signs.upright(pen, x, 244, 200, full, VALUE)
        shift = x + (full - added) / 2
        signs.turn(pen, shift, 200, join, low, added, VALUE)
        signs.gate(pen, x, 200, full, self.numbers["input gate"], False)
        pen.text(
            x + 20, 208, self.says("i", "input gate"), "small go", "start"
        )
        words = self.says("g", "candidate")
        pen.text(x + 20, 230, words, f"{VALUE} small", "start")
        words = f"added: {short(self.numbers['added'])}"
        pen.text(x + 16, 162, words, f"{VALUE} small", "start")

    def _show(self) -> None:
        """The new memory goes on; a part of its tanh is shown."""
        pen, at, x = self.pen, self.at, self.at(OUT)
        memory, end = self.wide("memory"), pen.width - 10
        y = BELT + self.wide("before") / 2 + self.wide("added") - memory / 2
        signs.flow(pen, at(JOIN), y, memory, end, y, memory)
        pen.head(end + 9, y, 0, MEMORY)
        pen.text(end, y - 24, self.says("c_{t}", "memory"), "bold", "end")
        pen.dot(x, y, 4)
        pen.arrow(x, y, x, 160)
        pen.box(x - 24, 160, 48, 22, "tanh", "small")
        squashed, shown = self.wide("squashed"), self.wide("shown")
        signs.upright(pen, x, 182, 220, squashed, QUERY)
        shift = x + (squashed - shown) / 2
        signs.turn(pen, shift, 220, end, 268, shown, QUERY)
        pen.head(end + 9, 268, 0, QUERY)
        signs.gate(pen, x, 220, squashed, self.numbers["output gate"], False)
        words = self.says("o", "output gate")
        pen.text(x + 22, 220, words, "small go", "start")
        words = short(self.numbers["squashed"])
        pen.text(x + 16, 196, words, f"{QUERY} small", "start")
        words = self.says("h_{t}", "shown")
        pen.text(end, 292, words, f"{QUERY} bold", "end")
