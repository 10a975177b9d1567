"""The step's calls cut into tasks, by sequences and by rows of weights.

    block  = some sequences of the batch: what most calls are cut into
    halves = the two products of `matmul_backward`. That of the inputs is cut
             by blocks; that of the weights sums over all tokens, so it is cut
             by rows of the weight and waits for all blocks
    ROWS   = rows of a weight in a task, a multiple of what kernels take at
             once
    kernels may be called here that the serial step has not:
    clear(x)                               x = 0
    finite(losses)                         refuse a loss that is no number
    matmul_backward_input(dinp, dout, weight)
    matmul_backward_weight(dweight, dbias, dout, inp, first, last)

Sums over tokens keep the order of the serial step: a weight's gradient is one
task's, and what blocks add to, they add to one after another, the first
block first.
"""

from collections.abc import Iterator, Set

from llmnotes.checks import check_sizes
from llmnotes.parallel.gpt2_parallel.graph import Piece, Task
from llmnotes.transformer.gpt2_by_hand import calls
from llmnotes.transformer.gpt2_by_hand.calls import At, Call
from llmnotes.transformer.gpt2_by_hand.layout import Shapes

ROWS = 3072
LOSS = Piece("loss")  # stands for: the loss is known to be a number


class Cutter:
    """Cuts calls for a model of these shapes into `blocks` pieces.

    Raises `ValueError` for more blocks than sequences.
    """

    def __init__(self, weights: Shapes, acts: Shapes, blocks: int):
        batch = acts["losses"][0]
        check_sizes(blocks=blocks)
        if blocks > batch:
            raise ValueError(
                f"blocks: got {blocks}, expected at most {batch}, one for "
                "each sequence"
            )
        self.weights, self.acts = weights, acts
        edges = [batch * i // blocks for i in range(blocks + 1)]
        self.blocks = list(zip(edges[:-1], edges[1:], strict=True))

    def step(self, layers: int, sets: Set[str] = frozenset()) -> list[Task]:
        """A whole step: forward, clear, backward with its updates.

        `sets` are kernels that have a twin which sets.
        """
        forward = calls.forward(layers)
        tasks = [
            *(t for call in forward for t in self.tasks(call)),
            self.finite(),
            *self.clear_parameters(layers),
            *self.backward(layers),
        ]
        return set_first(tasks, sets)

    def backward(self, layers: int) -> Iterator[Task]:
        """Backward; whatever is whole is updated at once."""
        todo = calls.backward(layers)
        last = last_writers(todo, self.weights)
        for number, call in enumerate(todo):
            for place in call.writes:
                if self.begins(place, number, todo):
                    yield from self.clear(place)
            yield from self.tasks(call)
            for place in call.writes:
                if place is not None and last.get(place) == number:
                    yield from self.update(place)

    def tasks(self, call: Call) -> Iterator[Task]:
        """The pieces of one call."""
        if call.name == "matmul_backward":
            yield from self.halves(call)
            return
        for block in range(len(self.blocks)):
            reads, writes = (
                tuple(self.piece(place, block) for place in places)
                for places in (call.reads, call.writes)
            )
            yield task(call.name, call.layer, block, writes + reads,
                       reads, writes)  # fmt: skip

    def piece(self, place: At | None, block: int | None) -> Piece | None:
        """A block of an activation; parameters and numbers are whole."""
        if place is None or block is None or not self.by_tokens(place.name):
            return place and Piece(*place)
        return Piece(*place, *self.blocks[block])

    def by_tokens(self, name: str) -> bool:
        """Whether a tensor has a part for each sequence."""
        return (
            name in ("inputs", "targets")
            or name in self.acts
            or name.removeprefix("d") in self.acts
        )

    def halves(self, call: Call) -> Iterator[Task]:
        """Dinp block by block, then dweight and dbias row by row."""
        (dinp, dweight, dbias), (dout, inp, weight) = call.writes, call.reads
        for block in range(len(self.blocks)):
            first, *rest = (self.piece(x, block) for x in (dinp, dout, weight))
            yield task("matmul_backward_input", call.layer, block,
                       (first, *rest), rest, [first])  # fmt: skip
        places = dweight, dbias, dout, inp
        whole = tuple(self.piece(place, None) for place in places)
        for block, rows in enumerate(self.rows(dweight)):
            writes = [x and x._replace(start=rows[0], stop=rows[1])
                      for x in whole[:2]]  # fmt: skip
            yield task("matmul_backward_weight", call.layer, block,
                       (*whole, *rows), whole[2:], writes)  # fmt: skip

    def rows(self, place: At) -> list[tuple[int, int]]:
        """Stretches of a parameter's rows, at most ROWS long."""
        shape = self.weights[place.name.removeprefix("d")]
        size = shape[0 if place.layer is None else 1]
        return [(i, min(i + ROWS, size)) for i in range(0, size, ROWS)]

    def begins(self, place: At | None, number: int, todo: list[Call]) -> bool:
        """Whether a call is the first to add to an activation's gradient."""
        return (
            place is not None
            and self.by_tokens(place.name)
            and not any(place in call.writes for call in todo[:number])
        )

    def clear(self, place: At) -> Iterator[Task]:
        """Zero a gradient, block by block."""
        for block in range(len(self.blocks)):
            piece = self.piece(place, block)
            yield task("clear", place.layer, block, [piece], [], [piece])

    def clear_parameters(self, layers: int) -> Iterator[Task]:
        """Zero every gradient of a parameter, in rows."""
        written = last_writers(calls.backward(layers), self.weights)
        for place in written:
            for block, rows in enumerate(self.rows(place)):
                piece = Piece(*place, *rows)
                yield task("clear", place.layer, block, [piece], [], [piece])

    def finite(self) -> Task:
        """Nothing may be updated before the loss is known."""
        losses = [Piece("losses")]
        return task("finite", None, 0, losses, losses, [LOSS])

    def update(self, place: At) -> Iterator[Task]:
        """AdamW for one parameter whose gradient is whole."""
        name = place.name.removeprefix("d")
        call = calls.update_of(name, place.layer)
        tensors = name, place.name, "m." + name, "v." + name
        for block, rows in enumerate(self.rows(place)):
            pieces = {
                At(n, place.layer): Piece(n, place.layer, *rows)
                for n in tensors
            }
            arguments = [pieces.get(x, Piece(*x)) for x in call.arguments]
            writes = [pieces[x] for x in call.writes]
            reads = [LOSS, pieces[place]]
            yield task("adamw", place.layer, block, arguments, reads, writes)


def task(name, layer, block, arguments, reads, writes) -> Task:
    """A task; what is None is neither read nor written."""
    touched = (tuple(filter(None, places)) for places in (reads, writes))
    return Task(name, layer, block, tuple(arguments), *touched)


def last_writers(todo: list[Call], weights: Shapes) -> dict[At, int]:
    """For each parameter's gradient the call after which it is whole."""
    return {
        place: number
        for number, call in enumerate(todo)
        for place in call.writes
        if place is not None and place.name.removeprefix("d") in weights
    }


def set_first(tasks: list[Task], sets: Set[str]) -> list[Task]:
    """Where a task adds to zeros only, set instead and clear nothing."""
    zeros: dict[Piece, int] = {}
    found: list[Task | None] = []
    for one in tasks:
        if one.name in sets and all(p in zeros for p in one.writes):
            for piece in one.writes:
                found[zeros[piece]] = None
            one = one._replace(name=f"{one.name}_first")
        for piece in one.reads + one.writes:
            zeros.pop(piece, None)
        if one.name == "clear":
            zeros[one.writes[0]] = len(found)
        found.append(one)
    return [one for one in found if one is not None]
