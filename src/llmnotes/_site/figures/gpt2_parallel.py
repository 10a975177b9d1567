"""A layer's backward as a graph of tasks, and three timelines of real runs.

The graph is that of the library, its edges read from a result; the timelines
are one step each, with what every thread, rank or message did when.
"""

from itertools import groupby

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, MEMORY, MLP, QUERY, VALUE

LAYER = "parallel/gpt2_parallel:layer"
TIMES = "parallel/gpt2_parallel_speed:timeline"
CODE = "parallel.gpt2_parallel."
SHORT = {
    "residual_backward": "residual",
    "matmul_backward_input": "dx",
    "gelu_backward": "gelu",
    "layernorm_backward": "layernorm",
    "attention_backward": "attention",
}
STEP, WIDE, HIGH = 40, 104, 24  # px, of rows and boxes


def layer(page) -> Drawing:
    """Two chains of blocks; to their right what nobody waits for."""
    tasks = list(rows(page, LAYER))
    wide, narrow = Pen(656, 428), Pen(343, 428)
    for pen, columns, size in (
        (wide, (20, 160, 340, 500), WIDE),
        (narrow, (0, 88, 176, 264), 79),
    ):
        _heads(pen, columns, size)
        _graph(pen, page, tasks, columns, size)
    return Drawing(wide, narrow, reads=(LAYER,))


def _heads(pen, columns, size) -> None:
    """What each column holds."""
    words = "block 0", "block 1", "weights", "update"
    for x, word in zip(columns, words, strict=True):
        pen.text(x + size / 2, 12, word, "small bold")


def _places(tasks) -> dict:
    """{task: (column, row)}: a chain's calls below each other."""
    places, row = {}, -1
    for task in tasks:
        name, block = task["name"], task["block"]
        if name == "matmul_backward_weight":
            places[task["task"]] = 2, row
        elif name == "adamw":
            if task["writes"].endswith("w"):
                places[task["task"]] = 3, row
        else:
            row += block == 0
            places[task["task"]] = block, row
    return places


def _graph(pen, page, tasks, columns, size) -> None:
    """Boxes, and a line to each from what it waits for."""
    places = _places(tasks)

    def corner(number):
        column, row = places[number]
        return columns[column], 30 + STEP * row

    for task in tasks:
        if task["task"] not in places:
            continue
        for need in map(int, task["needs"].split()):
            if need in places:
                _edge(pen, corner(need), corner(task["task"]), size)
    for task in tasks:
        if task["task"] in places:
            _box(pen, page, task, corner(task["task"]), size)


def _edge(pen, start, end, size) -> None:
    """Down within a column, else from side to side."""
    (x, y), (u, v) = start, end
    if x == u:
        pen.arrow(x + size / 2, y + HIGH, u + size / 2, v, "soft")
    elif u > x:
        pen.arrow(x + size, y + HIGH / 2, u, v + HIGH / 2, "soft")
    else:
        pen.arrow(x, y + HIGH / 2, u + size, v + HIGH / 2, "soft")


def _box(pen, page, task, corner, size) -> None:
    """One task."""
    name, writes = task["name"], task["writes"]
    words, kind, code = SHORT.get(name, writes), KEY, "cutting:Cutter.tasks"
    if name == "matmul_backward_weight":
        kind, code = VALUE, "cutting:Cutter.halves"
    elif name == "adamw":
        kind, code = MEMORY, "cutting:Cutter.update"
    elif name == "matmul_backward_input":
        words, code = f"dx: {writes}", "cutting:Cutter.halves"
    with signs.linked(pen, page, CODE + code):
        small = "small"
        label = words if size > 90 else words.removeprefix("dx: ")
        pen.box(*corner, size, HIGH, label, f"{kind} tint {small}")


LANES = {"fork-join": 2, "tasks": 2, "processes": 4}
NAMES = "thread 0", "thread 1"
RANKS = "rank 0", "rank 1", "sent by 0", "sent by 1"
ROW, LEFT = 20, 62
PHASES = {"forward": QUERY, "backward": KEY, "update": MEMORY, "sent": MLP}


def timelines(page) -> Drawing:
    """Three runs of one step, each as long as it took."""
    found = {
        way: [call for call in group if call["start"] >= 0]
        for way, group in groupby(rows(page, TIMES), lambda r: r["way"])
    }
    high = sum(30 + ROW * LANES[way] for way in found) + 54
    pens = Pen(656, high), Pen(343, high + 20)
    for pen in pens:
        top = 0
        for way, calls in found.items():
            _run(pen, page, top, way, calls)
            top += 30 + ROW * LANES[way]
        _legend(pen, top + 10)
    return Drawing(*pens, reads=(TIMES,))


def _run(pen, page, top, way, calls) -> None:
    """A title, and a row for each thread, rank or its messages."""
    end = max(call["stop"] for call in calls)
    scale = (pen.width - LEFT - 2) / end
    code = {
        "fork-join": "team:Team.run",
        "tasks": "tasks:work",
        "processes": "replicas:Replicas.backward",
    }[way]
    with signs.linked(pen, page, CODE + code):
        pen.text(0, top + 10, way, "small bold go", "start")
    pen.text(pen.width - 2, top + 10, f"{end:.2f} s", "small", "end")
    names = RANKS if way == "processes" else NAMES
    for lane, name in enumerate(names):
        y = top + 24 + ROW * lane
        pen.text(0, y + ROW / 2 - 2, name, "small", "start")
    for call in calls:
        _bar(pen, top + 24, scale, call)


def _bar(pen, top, scale, call) -> None:
    """A call as long as it took; below it a line if it was critical."""
    x, y = LEFT + call["start"] * scale, top + ROW * call["lane"]
    size = max((call["stop"] - call["start"]) * scale, 0.5)
    kind = PHASES[_phase(call["call"])]
    pen.put("rect", f"box thin {kind} tint", x=x, y=y, width=size,
            height=ROW - 6)  # fmt: skip
    if call["critical"]:
        pen.line(x, y + ROW - 4, x + size, y + ROW - 4, "thick")


def _phase(call: str) -> str:
    """Of which part of the step a call is."""
    if call in ("send", "spread"):
        return "sent"
    if "forward" in call or call == "finite":
        return "forward"
    return "update" if call in ("adamw", "clear") else "backward"


def _legend(pen, y) -> None:
    """Which colour is what."""
    words = {
        "forward": "forward",
        "backward": "backward",
        "update": "update",
        "sent": "on its way",
    }
    step = 120 if pen.width > 400 else 84
    for i, (phase, word) in enumerate(words.items()):
        pen.put("rect", f"box thin {PHASES[phase]} tint", x=step * i, y=y,
                width=12, height=12)  # fmt: skip
        pen.text(step * i + 17, y + 6.5, word, "small", "start")
    pen.line(0, y + 30, 12, y + 30, "thick")
    pen.text(17, y + 30, "the critical path of the tasks", "small", "start")
