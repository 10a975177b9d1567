"""GPT-2's arenas to scale, and its step: every call and every tensor.

A bar lies where its tensor lies in the arena and is as long as the tensor.
Calls are those of `calls.forward` and `calls.backward`, shapes those of
`layout`, read off a model whose sizes are all different.
"""

from itertools import groupby

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, MEMORY, MLP, QUERY, STREAM
from llmnotes.transformer.gpt.model import GPTConfig
from llmnotes.transformer.gpt2_by_hand import calls
from llmnotes.transformer.gpt2_by_hand.layout import (
    activation_shapes,
    parameter_shapes,
)

PARAMETERS = "transformer/gpt2_by_hand:parameters"
ACTIVATIONS = "transformer/gpt2_by_hand:activations"
ROW, NAMES = 18, 84  # px of a bar's row, of the names on its left
LAYOUT = "transformer.gpt2_by_hand.layout"
KERNELS = "transformer.gpt2_by_hand.reference"
MODEL = GPTConfig(127, n_positions=11, n_embd=28, n_layer=5, n_head=7)
SIZES = {2: "B", 3: "T", 5: "L", 7: "NH", 11: "T_{max}", 28: "C", 84: "3C"}
SIZES |= {112: "4C", 131: "V_{p}"}
BOX, GAP, WIDE = 56, 6, 332  # px of a call: height, gap, width


def memory(page) -> Drawing:
    """Both arenas, side by side or one below the other."""
    model, acts = (list(rows(page, r)) for r in (PARAMETERS, ACTIVATIONS))
    high = [30 + ROW * len(x) for x in (model, acts)]
    wide, narrow = Pen(680, high[1] + 6), Pen(343, sum(high) + 24)
    words = "16 parameter tensors", "23 activation tensors"
    for pen, x, y in ((wide, 354, 10), (narrow, 0, high[0] + 24)):
        width = 326 if pen is wide else 343
        with signs.linked(pen, page, f"{LAYOUT}:parameter_shapes"):
            _stairs(pen, model, words[0], 0, 10, width)
        with signs.linked(pen, page, f"{LAYOUT}:activation_shapes"):
            _stairs(pen, acts, words[1], x, y, width)
    return Drawing(wide, narrow, reads=(PARAMETERS, ACTIVATIONS))


def _stairs(pen, tensors, words, x, y, width) -> None:
    """A row for each tensor, its bar where it lies."""
    total = tensors[-1]["offset"] + tensors[-1]["numbers"]
    scale = (width - NAMES - 3) / total
    said = f"{words}, {signs.count(total)} numbers"
    pen.text(x, y, said, "small bold go", "start")
    for i, one in enumerate(tensors):
        at, long = one["offset"] * scale, one["numbers"] * scale
        top = y + 14 + i * ROW
        pen.text(x, top + ROW / 2, one["tensor"], "small mono", "start")
        pen.put(
            "rect", f"box thin {_colour(one['tensor'])} solid",
            x=x + NAMES + at, y=top + 3, width=max(long, 1.5),
            height=ROW - 5, rx=1,
        )  # fmt: skip


def _colour(name: str) -> str:
    """What a tensor belongs to."""
    for begin, colour in (
        ("ln", KEY),
        ("fc", MLP),
        ("qkv", QUERY),
        ("att", QUERY),
        ("preatt", QUERY),
        ("residual", STREAM),
        ("encoded", STREAM),
    ):
        if name.startswith(begin):
            return colour
    return MEMORY


def step(page) -> Drawing:
    """Forward down the left, backward up the right; a phone: one column."""
    there, back = (_one_layer(f) for f in (calls.forward, calls.backward))
    wide = Pen(680, 46 + 15 * (BOX + GAP) + 8)
    narrow = Pen(343, 76 + 29 * (BOX + GAP) + 8)
    for pen in (wide, narrow):
        pen.text(4, 12, "forward, downwards", "small bold", "start")
        words = "shaded: once for each layer"
        pen.text(pen.width - 2, 12, words, "small", "end")
    wide.text(348, 12, "backward, upwards", "small bold", "start")
    _frame(wide, 0, 30, 1, 680)
    _frame(narrow, 0, 30, 1, 343)
    for i, one in enumerate(there):
        for pen in (wide, narrow):
            _call(pen, page, one, 4, 30 + i * (BOX + GAP))
    low = 30 + len(there) * (BOX + GAP) + 30
    narrow.text(4, low - 14, "backward, downwards", "small bold", "start")
    _frame(narrow, 0, low, 3, 343)
    for i, one in enumerate(back):
        at = 14 - i - (i > 0)  # one call goes back through the last two
        _call(wide, page, one, 348, 30 + at * (BOX + GAP))
        _call(narrow, page, one, 4, low + i * (BOX + GAP))
    return Drawing(wide, narrow)


def _one_layer(list_calls) -> list:
    """All calls of a model, of its layers the second one only."""
    return [c for c in list_calls(3) if c.layer in (None, 1)]


def _frame(pen, x, y, first, width) -> None:
    """What is done once for each layer."""
    pen.put(
        "rect", "box soft tint", x=x, y=y + first * (BOX + GAP) - GAP / 2,
        width=width, height=10 * (BOX + GAP), rx=6,
    )  # fmt: skip


def _call(pen, page, one, x, y) -> None:
    """A call: what it is, what it writes, what it reads."""
    back = one.name.endswith("_backward")
    adds = "adds to " if back and "softmax" not in one.name else ""
    with signs.linked(pen, page, f"{KERNELS}:{one.name}"):
        pen.box(x, y, WIDE - 4, BOX)
        pen.text(x + 8, y + 12, one.name, "small mono bold go", "start")
    words = adds + _shaped(one.writes)
    pen.text(x + 8, y + 29, words, f"small {_colour_of(one)}", "start")
    reads = _names(one.reads) if back else _shaped(one.reads)
    pen.text(x + 8, y + 45, f"from {reads}", "small", "start")


def _colour_of(one) -> str:
    """The colour of what a call writes first."""
    return _colour(one.writes[0].name.removeprefix("d"))


def _names(places) -> str:
    """Names alone."""
    return ", ".join(_name(place) for place in places if place)


def _name(place) -> str:
    """A name; of the first layer, what it reads and writes instead."""
    gradient = "d" if place.name.startswith("d") else ""
    below = place.layer == 0 and place.name.endswith("residual3")
    return place.name + (f" or {gradient}encoded" if below else "")


def _shaped(places) -> str:
    """Names, neighbours of one shape together, and their shapes."""
    found = []
    for shape, group in groupby([p for p in places if p], _shape):
        found.append(_names(group) + (f" ({shape})" if shape else ""))
    return ", ".join(found)


def _shape(place) -> str:
    """The shape of one layer's tensor, in letters."""
    known = parameter_shapes(MODEL, 131) | activation_shapes(MODEL, 2, 3, 131)
    known |= {"inputs": (2, 3), "targets": (2, 3)}
    name = place.name
    shape = known.get(name) or known.get(name.removeprefix("d"), ())
    if shape[:1] == (MODEL.n_layer,):
        shape = shape[1:]
    return ", ".join(SIZES[n] for n in shape)
