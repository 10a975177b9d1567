"""Tasks by threads: the serial step, to the bit where sums keep order."""

import random
import threading
import time

import numpy as np
import pytest

from llmnotes.parallel.gpt2_parallel import Fast, InTasks, Loops, Plain
from llmnotes.transformer.gpt2_by_hand import GPT2, loops
from tests.parallel.gpt2_parallel import golden
from tests.transformer.gpt2_by_hand import same, tiny


def everything(model):
    arenas = model.acts, model.dacts, model.grads, model.weights
    return [a.numbers for a in (*arenas, model.m, model.v)]


@pytest.mark.parametrize(("threads", "blocks"), [(1, 1), (2, 2), (3, 5)])
def test_tasks_are_the_serial_step_to_the_bit(threads, blocks):
    serial = GPT2(golden.SHAPE, golden.weights(), loops)
    ours = InTasks(golden.SHAPE, golden.weights(), [Loops()] * threads, blocks)
    for _ in range(2):
        loss = serial.step(*golden.ids(), weight_decay=0.1)
        assert ours.step(*golden.ids(), weight_decay=0.1) == loss
    for a, b in zip(everything(serial), everything(ours.model), strict=True):
        assert np.array_equal(a, b)


def test_blocks_whose_rows_are_no_multiple_of_four_differ_by_rounding():
    serial = tiny.by_hand(kernels=loops)
    ours = InTasks(serial.config, tiny.by_hand().weights, [Loops()] * 2)
    serial.step(*tiny.ids())
    ours.step(*tiny.ids())
    gap = np.abs(serial.grads.numbers - ours.model.grads.numbers).max()
    assert 0 < gap < 1e-14


def test_tasks_with_numpys_kernels_are_as_exact_as_autograd():
    ours = InTasks(tiny.TINY, tiny.by_hand().weights, [Plain()] * 2)
    ours.step(*tiny.ids(), lr=0.0)
    assert same.largest(ours.model) < 1e-10


def test_with_fork_joins_kernels_they_equal_the_fork_join_step():
    forked = golden.forked()
    tasks = golden.in_tasks([Fast(), Fast()])
    for names in golden.groups().values():
        assert golden.equal(forked, tasks, names)


class Late(Loops):
    """Each kernel ends when it likes."""

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if name.endswith(("forward", "backward", "input", "weight", "adamw")):
            time.sleep(random.random() * 1e-3)
        return found


def test_whoever_is_late_the_bits_are_the_same():
    random.seed(0)
    expected = golden.in_tasks()
    for _ in range(2):
        late = golden.in_tasks([Late(), Late(), Late()], blocks=3)
        for names in golden.groups().values():
            assert golden.equal(expected, late, names)


def test_no_task_began_before_those_it_needs_had_ended():
    ours = InTasks(golden.SHAPE, golden.weights())
    ours.step(*golden.ids())
    times = {one.task: one for one in ours.done}
    assert len(times) == len(ours.graph.tasks)
    for number, waits in enumerate(ours.graph.needs):
        for other in waits:
            assert times[other].stop <= times[number].start


class Together(Loops):
    """Two threads must be inside `gelu_forward` at the same time."""

    meeting = threading.Barrier(2, timeout=20)

    def gelu_forward(self, *arrays):
        self.meeting.wait()
        loops.gelu_forward(*arrays)


def test_two_blocks_are_computed_at_the_same_time():
    golden.in_tasks([Together(), Together()], blocks=2)


def test_a_loss_that_is_no_number_changes_no_parameter():
    weights = golden.weights()
    weights["lnfb"][3] = np.nan
    before = weights.numbers.copy()
    ours = InTasks(golden.SHAPE, weights)
    with pytest.raises(RuntimeError, match="loss: got nan, expected a num"):
        ours.step(*golden.ids())
    assert np.array_equal(before, weights.numbers, equal_nan=True)
    assert ours.model.steps == 0


class Broken(Loops):
    def layernorm_backward(self, *_):
        raise OSError("the disk is on fire")


def test_an_error_in_one_task_ends_all_threads():
    count = threading.active_count()
    ours = InTasks(golden.SHAPE, golden.weights(), [Broken()] * 3)
    with pytest.raises(OSError, match="on fire"):
        ours.step(*golden.ids())
    assert threading.active_count() == count


def test_one_sequence_is_one_block():
    ids = [x[:1] for x in golden.ids()]
    ours = InTasks(golden.SHAPE, golden.weights())
    serial = GPT2(golden.SHAPE, golden.weights(), loops)
    assert ours.step(*ids) == serial.step(*ids)


def test_more_blocks_than_sequences_are_refused():
    ours = InTasks(golden.SHAPE, golden.weights(), blocks=6)
    with pytest.raises(ValueError, match="blocks: got 6, expected at most 5"):
        ours.step(*golden.ids())


def test_first_writes_are_set_and_their_zeros_spared():
    names = {}
    for kernels in (Loops(), Fast()):
        ours = InTasks(golden.SHAPE, golden.weights(), [kernels])
        ours.step(*golden.ids())
        ours.step(*golden.ids())
        names[type(kernels)] = [task.name for task in ours.graph.tasks]
    plain, fast = names[Loops], names[Fast]
    assert plain.count("clear") > 2 * fast.count("clear")
    assert fast.count("matmul_backward_weight_first") == 9
