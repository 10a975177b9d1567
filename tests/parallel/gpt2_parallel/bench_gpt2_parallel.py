"""The graph, what ranks send, and which of six ways have the same bits."""

import itertools

from llmnotes.parallel.data_parallel import run
from llmnotes.parallel.gpt2_parallel import (
    Cutter,
    Graph,
    Layout,
    bound,
    metrics,
)
from llmnotes.transformer.gpt import GPT_2_SMALL
from llmnotes.transformer.gpt2_by_hand import (
    activation_shapes,
    padded,
    parameter_shapes,
)
from tests.parallel.gpt2_parallel import golden, ranked

BATCH, LENGTH = 4, 64
ROWS = padded(GPT_2_SMALL.vocab_size)


def shapes(config=GPT_2_SMALL, batch=BATCH, length=LENGTH, rows=ROWS):
    weights = parameter_shapes(config, rows)
    return weights, activation_shapes(config, batch, length, rows)


def bench_six_ways(record, processes):
    ways = golden.all_ways(processes)
    rows = []
    for first, second in itertools.combinations(golden.WAYS, 2):
        same = [
            "equal" if golden.equal(ways[first], ways[second], names) else "no"
            for names in golden.groups().values()
        ]
        rows.append((first, second, *same))
    record(
        "bits",
        kind="exact",
        seed=0,
        title="Which of six ways give a step the same bits",
        prediction=(
            "Serial loops and tasks in everything; two ranks have their "
            "activations too, but not their gradients, which are sums of two "
            "sums. All others differ, since their products add up in another "
            "order."
        ),
        columns={
            "first": "",
            "second": "",
            **{name: "" for name in golden.groups()},
        },
        labels={"first": "one way", "second": "another"},
        rows=rows,
    )


def bench_what_the_graph_allows(record):
    weights, acts = shapes()
    rows = []
    for blocks in (1, 2, 4):
        graph = Graph(Cutter(weights, acts, blocks).step(GPT_2_SMALL.n_layer))
        costs = [
            metrics.task_flops(task, weights | acts) for task in graph.tasks
        ]
        edges = sum(map(len, graph.needs))
        found = bound(graph.needs, costs, 2)
        rows.append(
            (blocks, len(graph.tasks), edges, int(found.work),
             int(found.span), found.work / found.span)
        )  # fmt: skip
    record(
        "graph",
        kind="exact",
        seed=None,
        title="Tasks of a step of GPT-2 124M, B = 4, T = 64",
        prediction=(
            "Work is the same for all. With one block weights' gradients are "
            "all that runs beside the rest, which is a third of the work: "
            "work over span is 1.5. Two and four blocks twice and four times "
            "that."
        ),
        columns={
            "blocks": "",
            "tasks": "",
            "edges": "",
            "work": "FLOP",
            "span": "FLOP",
            "most": "",
        },
        labels={"most": "work over span"},
        rows=rows,
    )


def bench_tasks_of_one_layer(record):
    shape = ranked.ODD
    weights, acts = shapes(shape, 2, 4, None)
    graph = Graph(Cutter(weights, acts, 2).step(shape.n_layer))
    mine = [
        i
        for i, task in enumerate(graph.tasks)
        if task.layer == 1
        and ("backward" in task.name or task.name == "adamw")
    ]
    rows = []
    for i in mine:
        task = graph.tasks[i]
        near = sorted(nearest(graph, i, set(mine)))
        rows.append(
            (i, task.name, task.block, task.arguments[0].name,
             " ".join(map(str, near)))
        )  # fmt: skip
    record(
        "layer",
        kind="exact",
        seed=None,
        title="Backward and update of a layer, two blocks, as tasks",
        prediction="Two chains, and beside them what nobody waits for.",
        columns={
            "task": "",
            "name": "",
            "block": "",
            "writes": "",
            "needs": "",
        },
        rows=rows,
    )


def nearest(graph, number, among):
    """What a task waits for among some, without what follows from others."""
    direct, left, seen = set(), list(graph.needs[number]), set()
    while left:
        one = left.pop()
        if one in seen:
            continue
        seen.add(one)
        if one in among:
            direct.add(one)
        else:
            left += graph.needs[one]
    behind = set().union(*(before(graph, one) for one in direct), set())
    return direct - behind


def before(graph, number):
    seen, left = set(), [number]
    while left:
        new = graph.needs[left.pop()] - seen
        seen |= new
        left += new
    return seen


def bench_bytes_of_ranks(record, processes):
    rows = []
    for kind, ranks in itertools.product(ranked.KINDS, (1, 2, 4)):
        found = run(ranked.steps, ranks, kind, 1, processes=processes)
        _, _, calls, sent, size = found[0]
        # Numbers of 8 bytes here; and the loss, which is one number.
        formula = 2 * (ranks - 1) / ranks * 8 * (size + 1)
        rows.append((kind, ranks, sum(calls.values()), sent, formula))
    record(
        "sent",
        kind="exact",
        seed=0,
        title="What a rank sends in a step",
        prediction="2(N-1)/N of the gradients' bytes, and the loss.",
        columns={
            "way": "",
            "ranks": "",
            "calls": "",
            "sent": "B",
            "formula": "B",
        },
        labels={"calls": "collectives", "sent": "counted"},
        rows=rows,
    )


def bench_when_stretches_leave(record):
    weights, _ = shapes()
    layout = Layout(weights, GPT_2_SMALL.n_layer, 2)
    rows = []
    for stretch in layout.stretches:
        first, last = stretch.places[0], stretch.places[-1]
        rows.append((str(first), str(last), stretch.size, stretch.ready + 1))
    record(
        "stretches",
        kind="exact",
        seed=None,
        title="Stretches of GPT-2 124M's gradients, in the order they leave",
        prediction=(
            "Two or three for each layer, the last layer first; the table of "
            "tokens, a third of all numbers, leaves last, after the last of "
            "124 calls."
        ),
        columns={"first": "", "last": "", "numbers": "", "call": ""},
        labels={"call": "after call"},
        rows=rows,
    )
