"""The GRU's cell as a belt with valves, in the example by hand."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import MEMORY, QUERY, VALUE, short

BY_HAND = "sequence/gru_drawn:by_hand"
UNIT = 40  # px of a belt's width for 1
UPDATE, RISE, JOIN = 84, 222, 262  # x on a phone
FIRST, SECOND, TANH = 66, 124, 182  # x of what the state passes, on a phone
BELT, ROAD = 70, 258  # y of the state, and of the road to the candidate
KINDS = ("after", "before")
CHOICES = ("Reset after the matrix", "Reset before it")


def cell(page) -> Drawing:
    """Unit 1 of the example, with the reset gate after and before."""
    found, says = list(rows(page, BY_HAND)), []
    pens = Pen(680, 312), Pen(343, 312)
    for i, kind in enumerate(KINDS):
        numbers = {
            (r["what"], r["unit"]): r["value"]
            for r in found
            if r["reset"] == kind
        }
        says.append(_words(kind, numbers))
        for pen in pens:
            with pen.group(frame=i):
                _Cell(pen, page, numbers, kind).draw()
    return Drawing(*pens, frames=says, choices=CHOICES, reads=(BY_HAND,))


def _words(kind: str, numbers: dict) -> str:
    """Say what this frame shows."""
    read, state = numbers["read", 1], numbers["state", 1]
    whose = "its own gate" if kind == "after" else "the other unit’s gate"
    return (
        f"What unit 1 reads of the other unit passes {whose}: "
        f"{short(read)} is left, and the new state is {short(state)}."
    )


class _Cell:
    """One frame; `at` stretches a place on the phone to the pen's width."""

    def __init__(self, pen, page, numbers, kind):
        self.pen, self.page, self.kind = pen, page, kind
        self.numbers = numbers

    def at(self, x) -> float:
        return x * self.pen.width / 343

    def number(self, name, unit=1) -> float:
        return self.numbers[name, unit]

    def says(self, letter, name, unit=1) -> str:
        """A letter and its number, where there is room with its name."""
        full = self.pen.width > 400 and name in ("update gate", "candidate")
        letter = f"{name} {letter}" if full else letter
        return f"{letter} = {short(self.number(name, unit))}"

    def draw(self) -> None:
        """The belt, then the road to the candidate."""
        step = {"after": "gru_step", "before": "gru_step_reset_before"}
        symbol = f"sequence.gru:{step[self.kind]}"
        with signs.linked(self.pen, self.page, symbol):
            self._keep()
            self._road()
            self._renew()

    def _keep(self) -> None:
        """The update gate keeps a part of the state."""
        pen, x, join = self.pen, self.at(UPDATE), self.at(JOIN)
        before = UNIT * self.number("before")
        kept = UNIT * self.number("kept")
        signs.flow(pen, 0, BELT, before, x, BELT, before)
        top, gone = BELT - before / 2, before - kept
        pen.path(
            f"M{x} {top:g}C{x + 30} {top:g} {x + 34} 20 {x + 44} 0"
            f"h{gone:g}C{x + 60} 30 {x + 50} {top + gone:g} {x} "
            f"{top + gone:g}Z",
            f"{MEMORY} gone",
        )
        low = BELT + before / 2 - kept / 2
        signs.flow(pen, x, low, kept, join, low, kept)
        signs.gate(pen, x, BELT, before, self.number("update gate"))
        pen.text(8, BELT - 9, "h_{t−1}", "italic", "start")
        pen.text(8, BELT + 11, short(self.number("before")), "bold", "start")
        pen.text(x - 8, 36, self.says("z", "update gate"), "small go", "end")
        words = f"let go: {short(gone / UNIT)}"
        pen.text(x + 72, 12, words, "small", "start")
        words = f"kept: {short(kept / UNIT)}"
        pen.text(x + 12, low, words, "small", "start")

    def _renew(self) -> None:
        """As much of the candidate comes in as was let go."""
        pen, x, join = self.pen, self.at(RISE), self.at(JOIN)
        full, added = (UNIT * self.number(n) for n in ("candidate", "added"))
        low = BELT + UNIT * self.number("before") / 2 + added / 2
        share = 1 - self.number("update gate")
        shift = x + (full - added) / 2
        signs.turn(pen, shift, 158, join, low, added, VALUE)
        signs.gate(pen, x, 158, full, share, False)
        words = f"1 − z = {short(share)}"
        pen.text(x + 28, 158, words, "small go", "start")
        words = f"added: {short(added / UNIT)}"
        pen.text(x - 24, 130, words, f"{VALUE} small", "end")
        self._result(low + added / 2)

    def _result(self, bottom) -> None:
        pen, end = self.pen, self.pen.width - 10
        state = UNIT * self.number("state")
        y = bottom - state / 2
        signs.flow(pen, self.at(JOIN), y, state, end, y, state)
        pen.head(end + 9, y, 0, MEMORY)
        words = self.says("h_{t}", "state")
        pen.text(end, y - state / 2 - 14, words, "bold", "end")

    def _road(self) -> None:
        """From the other unit's state to the candidate of this one."""
        pen, at = self.pen, self.at
        own = self.kind == "after"
        before, read = (
            UNIT * self.number("before", 2),
            UNIT * self.number("read"),
        )
        gate, matrix = (SECOND, FIRST) if own else (FIRST, SECOND)
        signs.flow(pen, 0, ROAD, before, at(gate), ROAD, before, QUERY)
        low = ROAD + before / 2 - read / 2
        signs.flow(pen, at(gate), low, read, at(TANH), ROAD, read, QUERY)
        unit = 1 if own else 2
        share = self.number("reset gate", unit)
        signs.gate(pen, at(gate), ROAD, before, share)
        name = "reset gate " * (pen.width > 400)
        words = f"{name}r_{{{unit}}} = {short(share)}"
        pen.text(at(gate), ROAD - 38, words, "small")
        pen.box(at(matrix) - 13, ROAD - 24, 26, 48, "W")
        whose = "other unit" if pen.width > 400 else "other"
        pen.text(6, ROAD - 8, whose, "small", "start")
        words = short(self.number("before", 2))
        pen.text(6, ROAD + 10, words, "bold", "start")
        pen.box(at(TANH) - 22, ROAD - 24, 44, 48, "tanh", f"{VALUE} small")
        pen.text(at(TANH), ROAD + 40, short(read / UNIT), "small")
        self._candidate()

    def _candidate(self) -> None:
        pen, x = self.pen, self.at(RISE)
        full, start = UNIT * self.number("candidate"), self.at(TANH) + 22
        half = full / 2
        pen.path(
            f"M{start:g} {ROAD - half:.1f}Q{x - half:.1f} {ROAD - half:.1f} "
            f"{x - half:.1f} {ROAD - 44}V158H{x + half:.1f}V{ROAD - 44}Q"
            f"{x + half:.1f} {ROAD + half:.1f} {start:g} {ROAD + half:.1f}Z",
            f"{VALUE} flow",
        )
        words = self.says("n", "candidate")
        pen.text(x + 28, 206, words, f"{VALUE} bold small", "start")
