"""Who waits for whom, and what it costs, on graphs small enough to draw."""

import pytest

from llmnotes.parallel.gpt2_parallel import (
    Cutter,
    Graph,
    Piece,
    Task,
    bound,
    critical_path,
    needs,
)
from llmnotes.transformer.gpt2_by_hand import (
    activation_shapes,
    parameter_shapes,
)
from llmnotes.transformer.gpt2_by_hand.layout import TOP
from tests.parallel.gpt2_parallel import golden

B, T, BLOCKS, L = golden.BATCH, golden.LENGTH, 2, golden.SHAPE.n_layer


def task(reads, writes):
    pieces = [
        tuple(Piece(*w) if isinstance(w, tuple) else Piece(w) for w in words)
        for words in (reads, writes)
    ]
    return Task("x", None, 0, (), *pieces)


def test_a_reader_waits_for_the_writer_and_a_writer_for_the_readers():
    made = [
        task([], ["a"]),
        task(["a"], ["b"]),
        task(["a"], ["c"]),
        task([], ["a"]),
    ]
    assert needs(made) == [set(), {0}, {0}, {0, 1, 2}]


def test_two_that_add_to_one_place_keep_their_order():
    made = [task([], ["w"]), task(["x"], ["w"]), task(["y"], ["w"])]
    assert needs(made) == [set(), {0}, {1}]


def test_other_rows_and_other_layers_need_not_wait():
    made = [
        task([], [("a", 0, 0, 2)]),
        task([], [("a", 0, 2, 5)]),
        task([], [("a", 1, 0, 2)]),
        task([("a", 0, 1, 3)], ["b"]),
        task([("a", 0)], []),
    ]
    assert needs(made) == [set(), set(), set(), {0, 1}, {0, 1}]


def test_a_write_of_some_rows_leaves_the_others_to_be_waited_for():
    made = [
        task([], [("a", 0, 0, 4)]),
        task([], [("a", 0, 0, 2)]),
        task([("a", 0, 0, 4)], []),
    ]
    assert needs(made)[2] == {0, 1}


def test_work_and_span_by_hand():
    waits = [set(), {0}, {0}, {1, 2}]
    seconds = [1.0, 2.0, 5.0, 1.0]
    assert critical_path(waits, seconds) == [0, 2, 3]
    two = bound(waits, seconds, 2)
    assert (two.work, two.span, two.least, two.most) == (9, 7, 7, 8)
    assert bound(waits, seconds, 1).least == 9


@pytest.fixture(scope="module")
def graph():
    cutter = Cutter(
        parameter_shapes(golden.SHAPE),
        activation_shapes(golden.SHAPE, B, T),
        BLOCKS,
    )
    return Graph(cutter.step(L))


def before(graph, number):
    """All that a task waits for, at any distance."""
    seen, left = set(), [number]
    while left:
        new = graph.needs[left.pop()] - seen
        seen |= new
        left += new
    return {graph.tasks[i] for i in seen}


def where(graph, name, **fields):
    return [
        i
        for i, task in enumerate(graph.tasks)
        if task.name == name
        and all(getattr(task, k) == v for k, v in fields.items())
    ]


def test_a_weights_gradient_waits_for_all_blocks(graph):
    for number in where(graph, "matmul_backward_weight", layer=0):
        blocks = {
            task.block
            for task in before(graph, number)
            if task.name == "attention_forward"
        }
        assert blocks == set(range(BLOCKS))


def test_inputs_gradients_never_wait_for_those_of_weights(graph):
    for number in where(graph, "matmul_backward_input"):
        names = {task.name for task in before(graph, number)}
        assert "matmul_backward_weight" not in names


def test_blocks_meet_only_at_parameters(graph):
    for number in where(graph, "matmul_backward_input", block=0, layer=0):
        others = {
            task.name for task in before(graph, number) if task.block == 1
        }
        assert others <= {"clear", "adamw"}


def test_a_parameter_is_updated_when_whole_and_read_no_more(graph):
    for number in where(graph, "adamw"):
        task, seen = graph.tasks[number], before(graph, number)
        name, layer = task.writes[0][:2]
        users = [
            other
            for other in graph.tasks
            if any(p[:2] == (name, layer) for p in other.reads)
            and other.name != "adamw"
        ]
        adders = [
            other
            for other in graph.tasks
            if any(p[:2] == (f"d{name}", layer) and
                   p.rows[0] < task.writes[0].rows[1] and
                   task.writes[0].rows[0] < p.rows[1]
                   for p in other.writes)
        ]  # fmt: skip
        assert users
        assert adders
        assert seen.issuperset(users)
        assert seen.issuperset(adders)


def test_the_update_of_the_last_layer_does_not_wait_for_the_first(graph):
    for number in where(graph, "adamw", layer=L - 1):
        assert not [
            task
            for task in before(graph, number)
            if task.layer == 0 and "backward" in task.name
        ]


def test_no_update_comes_before_the_loss_is_known(graph):
    for number in where(graph, "adamw"):
        names = [task.name for task in before(graph, number)]
        assert names.count("crossentropy_forward") == BLOCKS
        assert "finite" in names


def test_every_number_of_every_parameter_is_updated_once(graph):
    shapes = parameter_shapes(golden.SHAPE)
    for name, shape in shapes.items():
        layers = [None] if name in TOP else range(L)
        for layer in layers:
            rows = sorted(
                (p.start, p.stop)
                for i in where(graph, "adamw", layer=layer)
                for p in graph.tasks[i].writes
                if p.name == name
            )
            size = shape[0 if layer is None else 1]
            assert [a for a, _ in rows] == [0, *(b for _, b in rows[:-1])]
            assert rows[-1][1] == size
