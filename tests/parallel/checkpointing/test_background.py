"""Saving in the background: a copy first, one at a time, errors surface."""

import os
import sys
import threading

import pytest
import torch

from llmnotes.parallel.checkpointing import (
    Background,
    Checkpoints,
    Disk,
    whole,
)
from llmnotes.parallel.data_parallel import Living, held, run
from tests.parallel.checkpointing import ranked, small


class Gate(Disk):
    """Does nothing before it is opened."""

    def __init__(self):
        self.open, self.waits = threading.Event(), threading.Event()

    def before(self, operation, path):
        if operation == "open":
            self.waits.set()
            assert self.open.wait(20)


def saved_while_it_changes(kind, folder):
    """Save ones, and make sevens of them before the writer writes."""
    gate, x = Gate(), {"w": torch.ones(5), "step": torch.tensor(1.0)}
    where = Checkpoints(folder, disk=gate)
    facts = {"read": [1]}
    with kind(where) as later:
        later.save(1, whole(x), facts)
        for value in x.values():
            value.fill_(7)
        facts["read"].append(7)
        gate.open.set()
    found, told = where.tensors()
    return found["w"].tolist(), found["step"].item(), told


def test_the_values_of_the_call_are_saved_not_those_after_the_update(
    tmp_path,
):
    found = saved_while_it_changes(Background, tmp_path)
    assert found == ([1] * 5, 1, {"read": [1]})


class Live(Background):
    """Hands over what `.cpu()` gives: the tensors themselves."""

    def snapshot(self, parts):
        return [ranked.ck.Part(p.name, p.shape, p.start, p.values.cpu())
                for p in parts]  # fmt: skip


def test_without_a_copy_the_values_after_the_update_are_saved(tmp_path):
    found, step, _ = saved_while_it_changes(Live, tmp_path)
    assert (found, step) == ([7] * 5, 7)
    x = torch.ones(3)
    assert x.cpu() is x and x.to("cpu") is x
    assert x.to("cpu", copy=True) is not x


def test_ranks_save_in_the_background_while_they_train(processes, tmp_path):
    found = run(ranked.live_and_later, 3, tmp_path, processes=processes)
    assert found == [[[3.0], 3.0, {"read": [3]}]] * 3


def test_a_run_saved_in_the_background_is_the_same_run(processes, tmp_path):
    now, later = (
        run(small.go, 2, tmp_path / str(b), 6, 2, None, b,
            processes=processes)
        for b in (False, True)
    )  # fmt: skip
    assert now == later
    files = [p.relative_to(tmp_path / "True")
             for p in (tmp_path / "True").rglob("*.*")]  # fmt: skip
    assert len(files) == 6
    for file in files:
        a, b = (tmp_path / str(b) / file for b in (False, True))
        assert a.read_bytes() == b.read_bytes()


def test_it_holds_one_copy_to_the_end_of_its_block(tmp_path):
    gate = Gate()
    x = {"w": torch.ones(100, 30), "b": torch.ones(7)}
    more = x | {"b": torch.ones(9)}
    with Living() as living:
        with Background(Checkpoints(tmp_path, disk=gate)) as later:
            later.save(1, whole(x))
            assert living.bytes == living.peak == held(x)
            gate.open.set()
            for step in (2, 3, 4):
                later.save(step, whole(x))
            assert (living.bytes, living.peak) == (held(x), held(x))
            later.save(5, whole(more))
            assert living.peak == held(more)
        assert living.bytes == 0


@pytest.mark.skipif(sys.platform != "linux", reason="niceness of a thread")
def test_the_writer_gives_way_and_training_does_not(tmp_path):
    def niceness():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness()
    with Background(Checkpoints(tmp_path)) as later:
        assert later.writer.submit(niceness).result() == 19
        assert niceness() == before


def test_at_most_one_is_on_its_way(tmp_path):
    gate = Gate()
    where, x = Checkpoints(tmp_path, disk=gate), {"w": torch.ones(5)}
    with Background(where) as later:
        later.save(1, whole(x))
        assert gate.waits.wait(20)
        second = threading.Thread(target=later.save, args=(2, whole(x)))
        second.start()
        second.join(0.1)
        assert second.is_alive() and where.disk.waits.is_set()
        assert not list(tmp_path.glob("step-*"))
        gate.open.set()
        second.join()
    assert where.steps() == [1, 2]


class Refuses(Disk):
    """Has no room."""

    def before(self, operation, path):
        raise OSError(28, "No space left on device")


def test_an_error_of_the_writer_surfaces(tmp_path):
    x = {"w": torch.ones(5)}
    calls = {
        "wait": lambda later: later.wait(),
        "save": lambda later: later.save(2, whole(x)),
        "end": lambda later: None,
    }
    for call in calls.values():
        with pytest.raises(RuntimeError, match="save step 1: .*No space"):
            with Background(Checkpoints(tmp_path, disk=Refuses())) as later:
                later.save(1, whole(x))
                call(later)
    later = Background(Checkpoints(tmp_path, disk=Refuses()))
    later.save(1, whole(x))
    with pytest.raises(RuntimeError, match="No space"):
        later.wait()
    assert later.wait() is None


def test_an_error_of_training_is_not_hidden_by_one_of_the_writer(tmp_path):
    with pytest.raises(KeyError):
        with Background(Checkpoints(tmp_path, disk=Refuses())) as later:
            later.save(1, whole({"w": torch.ones(5)}))
            raise KeyError
