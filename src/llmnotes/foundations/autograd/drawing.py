"""A graph as a picture: one box per node, sources above what they make.

rank     = row of a box: one below its lowest source; leaves stand one
           above what uses them first
value    = what a node holds, in ink
gradient = what came back to it, in the accent colour, after ∂
"""

from collections import Counter
from html import escape

import numpy as np

from llmnotes.foundations.autograd.backward import (
    gradients,
    topological_order,
)

WIDTH, BOX, TALL, GAP, LINE = 380, 112, 62, 32, 18  # in units of the SVG
HEAD = """<svg role="img" aria-label="{alt}" viewBox="0 0 {width} {height}">
<title>{alt}</title><g font-size="12.5" fill="currentColor"
 text-anchor="middle">"""
BACK = 'fill="var(--accent, #9a2f1c)"'


def svg(output, names, alt):
    """Draw the graph of `output` with values and gradients.

    `names` maps leaves to their names; `alt` says in words what the picture
    shows. The picture takes its colours from the page.
    """
    order = topological_order(output)
    arrived = dict(zip(order, gradients(output, order), strict=True))
    places = layout(order)
    height = max(y for _, y in places.values()) + TALL + 1
    lines = [HEAD.format(alt=escape(alt), width=WIDTH, height=height)]
    for tensor in order:
        lines += edges(tensor, places)
    for tensor in order:
        title = names.get(tensor, tensor.op)
        lines += box(title, tensor.data, arrived[tensor], *places[tensor])
    return "\n".join([*lines, "</g></svg>"]) + "\n"


def ranks(order):
    """The row of each node: {tensor: 0 at the top, …}."""
    found, users = {}, {}
    for tensor in order:
        above = [found[source] for source, _ in tensor.edges]
        found[tensor] = 1 + max(above, default=-1)
        for source, _ in tensor.edges:
            users.setdefault(source, found[tensor])
    for tensor, first in users.items():
        if not tensor.edges:
            found[tensor] = first - 1
    return found


def layout(order):
    """The middle of the upper edge of each box: {tensor: (x, y)}.

    In a row, what is used first stands left.
    """
    used = [source for tensor in order[::-1] for source, _ in tensor.edges]
    rank, rows, places = ranks(order), {}, {}
    for tensor in dict.fromkeys([order[-1], *used]):
        rows.setdefault(rank[tensor], []).append(tensor)
    for row, tensors in rows.items():
        for i, tensor in enumerate(tensors):
            x = WIDTH * (2 * i + 1) / (2 * len(tensors))
            places[tensor] = round(x, 1), row * (TALL + GAP) + 1
    return places


def edges(tensor, places):
    """The lines from a node's sources; equal ones side by side."""
    x, y = places[tensor]
    count = Counter(source for source, _ in tensor.edges)
    for source, lines in count.items():
        from_x, from_y = places[source]
        top, middle = from_y + TALL, (from_y + TALL + y) / 2
        for i in range(lines):
            aside = 36 * (i - (lines - 1) / 2)
            to_x = x + aside + (from_x - x) * 0.12
            yield (
                f'<path d="M{from_x + aside:.1f} {top}C{from_x + aside:.1f} '
                f'{middle} {to_x:.1f} {middle} {to_x:.1f} {y - 7}" '
                'fill="none" stroke="currentColor" stroke-width="1.2"/>'
                f'<path d="M{to_x - 4:.1f} {y - 8}h8l-4 7z" '
                'fill="currentColor"/>'
            )


def box(title, value, gradient, x, y):
    """A rounded box with name and shape, value, and gradient."""
    yield (
        f'<rect x="{x - BOX / 2:.1f}" y="{y}" width="{BOX}" height="{TALL}" '
        'rx="5" fill="var(--md-default-bg-color)" stroke="currentColor"/>'
    )
    shape = " × ".join(map(str, np.shape(value))) or "one number"
    words = [
        (f"<tspan font-weight='700'>{escape(title)}</tspan>  {shape}", ""),
        (numbers(value), ""),
        (f"∂ {numbers(gradient)}", BACK),
    ]
    for i, (text, style) in enumerate(words):
        down = y + LINE * (i + 1) - 1
        yield f'<text x="{x}" y="{down}" {style}>{text}</text>'


def numbers(array):
    """A small array in one line: (1, −1), (2, −3)."""
    array = np.asarray(array)
    if array.ndim == 0:
        return f"{array:g}".replace("-", "−")
    if array.ndim == 1 or len(array) > 1:
        inner = ", ".join(map(numbers, array))
        return inner if array.ndim > 1 else f"({inner})"
    return numbers(array[0])
