"""`llmnotes plan`: what training takes, as a table, with its formulas."""

import argparse
from collections.abc import Iterator, Sequence

from llmnotes.plan import NUMBER, SHAPES, Plan, Shape, plans

SHOWN = 12  # layouts, unless all are asked for
HEAD = (
    "data", "tensor", "stages", "ZeRO", "again", "states", "activations",
    "logits", "GB", "fits", "bubble", "GB sent", "tokens/day",
)  # fmt: skip
FORMULAS = """formulas, each proved in its chapter
  states       parallel.zero.memory: 2 + 2 + 12 bytes a parameter, cut by ZeRO
               among data ranks, by tensor and stages before; with ZeRO-3 the
               largest unit on top
  activations  plan.Shape.kept bytes a token and layer, over tensor ranks
               (sequence parallel too), times live micro-batches of 1F1B
               (parallel.pipeline.live); "again" yes: a layer's input only
  logits       length · vocabulary · (2 + 4) bytes on the last stage
  bubble       parallel.pipeline.bubble: (p − 1)/m, waiting over work
  GB sent      a step and rank: parallel.zero.traffic, 8bsh(t − 1)/t a layer
               (parallel.tensor_parallel.traffic), parallel.pipeline.traffic
  tokens/day   peak · mfu / (6 operations a parameter and token, and
               attention), 4/3 of them if computed again, over 1 + bubble;
               sending is taken to cost no time"""


def show(options: argparse.Namespace) -> None:
    """Print the plan that the options ask for."""
    shape = SHAPES[options.model]
    found = plans(
        shape, options.gpus, options.batch, options.length,
        peak=options.peak * 1e12, mfu=options.mfu,
    )  # fmt: skip
    print("\n".join(lines(shape, found, options)))


def lines(
    shape: Shape, found: list[Plan], options: argparse.Namespace
) -> Iterator[str]:
    """The answer, line by line."""
    room = options.memory
    fits = [one for one in found if one.memory <= room]
    yield (
        f"{options.model}: {shape.parameters:,} parameters; a step is "
        f"{options.batch} sequences of {options.length:,} tokens"
    )
    yield (
        f"assumed: {options.peak:g} TFLOP/s a GPU, {options.mfu:.0%} of them "
        f"used; {NUMBER} bytes a number, Adam in float32; one sequence a "
        "micro-batch"
    )
    yield f"{len(fits)} of {len(found)} layouts fit into {room / 1e9:g} GB"
    chosen = found if options.all else fits or sorted(found, key=size)
    rows = [row(one, room) for one in chosen]
    rows = rows if options.all else rows[:SHOWN]
    yield from table([HEAD, *rows])
    if not fits:
        yield "nothing fits; the smallest are shown"
    elif len(rows) < len(fits):
        yield f"{len(fits) - len(rows)} more fit; --all shows all"
    yield FORMULAS


def size(one: Plan) -> float:
    """What the fullest rank holds."""
    return one.memory


def row(one: Plan, room: float) -> tuple[str, ...]:
    """One layout in words."""
    ways, gb = one.layout, 1e9
    return (
        f"{ways.data}", f"{ways.tensor}", f"{ways.stages}", f"{ways.zero}",
        "yes" if ways.recompute else "no",
        f"{(one.states + one.gathered) / gb:.1f}",
        f"{one.activations / gb:.1f}", f"{one.logits / gb:.1f}",
        f"{one.memory / gb:.1f}", "yes" if one.memory <= room else "no",
        f"{float(one.bubble):.3f}", f"{sum(one.traffic.values()) / gb:.1f}",
        f"{one.tokens_per_day:.2e}",
    )  # fmt: skip


def table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows with their columns under each other, numbers on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        yield "  ".join(
            cell.rjust(width)
            for cell, width in zip(cells, widths, strict=True)
        )
