"""Crashes at every operation: what is left loads, and goes on to the bit."""

import shutil
from pathlib import Path

import pytest
import torch

from llmnotes import checkpoint
from llmnotes.parallel.checkpointing import Checkpoints, Disk, index_of, whole
from llmnotes.parallel.checkpointing.checkpoints import check_same
from llmnotes.parallel.data_parallel import RankError, run
from tests.parallel.checkpointing import crashes, ranked, small

MOMENTS = [(victim, at) for victim in (0, 1) for at in range(1, 35)]


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
    torch.set_num_threads(1)
    return small.go(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def asked(processes, tmp_path_factory):
    return crashes.operations(processes, tmp_path_factory.mktemp("asked"))


def check(processes, home, moments, asked, never_stopped):
    """Kill at these moments, resume on two ranks, compare."""
    folders = crashes.killed_folders(processes, home, moments)
    for folder, (victim, at) in zip(folders, moments, strict=True):
        renamed = ("rename", checkpoint.PART) in asked[victim][: at - 1]
        assert checkpoint.steps(folder)[-1] == (9 if renamed else 6)
    told = run(ranked.go_on, 2, folders, processes=processes)
    assert told[0] == told[1]
    for state in told[0]:
        assert state == never_stopped[2]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("victim", "at"), MOMENTS)
def test_kill_9_before_any_operation_resumes_to_the_same_bits(
    processes, tmp_path, asked, never_stopped, victim, at
):
    at = 1 + (at - 1) % len(asked[victim])
    check(processes, tmp_path, [(victim, at)], asked, never_stopped)


def test_every_operation_is_among_the_moments(asked):
    assert max(map(len, asked)) <= len(MOMENTS) / 2
    assert ("rename", checkpoint.PART) in asked[0]
    assert {path for _, path in asked[1]} == {"rank-1.bin"}


def every_step_loads(folder):
    """The newest step of a folder whose checkpoints are all whole."""
    where = Checkpoints(folder)
    for step in where.steps():
        found, facts = where.tensors(step)
        assert found["w"].tolist() == [float(step)] * 40
        assert facts == {"step": step}
    return where.newest()


def saved_under(disk, before, home, kept=2):
    """Save step 6 where 1 and 3 were, of which 1 goes if two are kept."""
    for step in (1, 3):
        save(Checkpoints(before), step)
    shutil.copytree(before, home)
    save(Checkpoints(home, block=64, disk=disk, kept=kept), 6)


def save(where, step):
    x = {"w": torch.full((40,), float(step))}
    where.save(step, whole(x), {"step": step})


def test_the_power_may_fail_at_any_operation(tmp_path):
    disk, before, home = crashes.Recorded(), tmp_path / "a", tmp_path / "b"
    saved_under(disk, before, home)
    newest = list(
        crashes.power_cuts(before, home, disk.asked, every_step_loads)
    )
    steps = {step for _, step in newest}
    assert steps == {3, 6}
    pushed = [i for i, (what, path, *_) in enumerate(disk.asked)
              if (what, path) == ("push", home)]  # fmt: skip
    assert all(step == 6 for count, step in newest if count > pushed[0])


def test_when_save_returns_no_power_cut_takes_it_back(tmp_path):
    disk, before, home = crashes.Recorded(), tmp_path / "a", tmp_path / "b"
    saved_under(disk, before, home, kept=3)
    newest = crashes.power_cuts(before, home, disk.asked, every_step_loads)
    done = len(disk.asked)
    assert {step for count, step in newest if count == done} == {6}


def test_the_name_of_a_new_folder_is_on_the_disk_before_it_is_used(tmp_path):
    disk, home = crashes.Recorded(), tmp_path / "runs" / "first"
    save(Checkpoints(home, disk=disk), 1)
    asked = [tuple(operation[:2]) for operation in disk.asked]
    above = [
        ("make", tmp_path / "runs"), ("push", tmp_path),
        ("make", home), ("push", tmp_path / "runs"),
    ]  # fmt: skip
    assert asked[: len(above)] == above


def test_a_damaged_step_is_written_anew_a_whole_one_stays(tmp_path):
    where = Checkpoints(tmp_path)
    save(where, 6)
    save(where, 9)
    file = checkpoint.path(tmp_path, 9) / "rank-0.bin"
    whole_bytes = file.read_bytes()
    file.write_bytes(bytes([whole_bytes[0] ^ 1]) + whole_bytes[1:])
    save(where, 9)
    assert file.read_bytes() == whole_bytes
    where.save(9, whole({"w": torch.zeros(40)}))
    assert file.read_bytes() == whole_bytes


def test_a_run_in_the_folder_of_a_later_one_is_told_so(tmp_path):
    where = Checkpoints(tmp_path)
    for step in (60, 90):
        save(where, step)
    with pytest.raises(ValueError, match="got 30, expected none before 90"):
        save(where, 30)
    assert where.steps() == [60, 90]


def test_a_fact_that_is_not_a_number_is_the_same_on_all_ranks(tmp_path):
    nan = float("nan")
    home = Checkpoints(tmp_path).save(1, [], {"best": nan})
    check_same([{"best": nan}, {"best": float("nan")}])
    assert home.is_dir()


class Forgets(crashes.Recorded):
    """Does not push what has a name like this."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def push(self, path):
        if path.name != self.name:
            super().push(path)


@pytest.mark.parametrize("name", ["rank-0.bin", "index.json", ".part"])
def test_whoever_does_not_push_a_file_or_folder_loses_a_checkpoint(
    tmp_path, name
):
    disk, before, home = Forgets(name), tmp_path / "a", tmp_path / "b"
    saved_under(disk, before, home)
    with pytest.raises((ValueError, AssertionError)):
        list(crashes.power_cuts(before, home, disk.asked, every_step_loads))


def test_a_full_disk_on_one_rank_is_told_to_all(processes, tmp_path):
    for told, left, steps in run(
        ranked.full_disk, 3, tmp_path, processes=processes
    ):
        assert told.startswith(
            f"RuntimeError: {tmp_path}: save step 6: rank 1: OSError: [Errno "
            "28] No space left on device; checkpoints kept: 3"
        )
        assert "step-000003" in left
        assert steps == [3, 6]


def test_if_best_save_decided_by_each_rank_is_refused(processes, tmp_path):
    with pytest.raises(RankError) as error:
        run(ranked.save_if_best, 3, tmp_path, processes=processes, patience=5)
    assert (
        f"{tmp_path}: save step 2: rank 1 of 3 has not come within 0.5 s. "
        "All ranks must call this; where one decides, as in 'save if best', "
        "let `told` tell its decision to the others"
    ) in str(error.value)
    assert checkpoint.steps(tmp_path) == [1]


def test_one_decision_told_to_all_saves(processes, tmp_path):
    found = run(ranked.save_if_told, 3, tmp_path, processes=processes)
    assert found == [[2]] * 3


def test_ranks_at_different_steps_are_told_so(processes, tmp_path):
    for told in run(ranked.other_steps, 2, tmp_path, processes=processes):
        assert told == (
            f"RankError: rank 1 came for: {tmp_path}: save step 6; rank 0 "
            f"for: {tmp_path}: save step 5"
        )


def test_rank_0_says_which_checkpoint_is_the_newest(processes, tmp_path):
    found = run(ranked.blind, 2, tmp_path, processes=processes)
    assert found == [(6, {})] * 2


def test_damage_that_one_rank_finds_is_told_to_all(processes, tmp_path):
    for told, changed in run(
        ranked.damaged_for_one, 2, tmp_path, processes=processes
    ):
        assert told.startswith("ValueError: rank 1: tensor 'mask' in ")
        assert changed == 0


def flips(right):
    """The bytes with one of them another, each in turn."""
    for place in range(len(right)):
        wrong = bytearray(right)
        wrong[place] ^= 1 << place % 8
        yield place, bytes(wrong)


def test_every_flipped_byte_is_found_and_its_tensor_named(tmp_path):
    x = {"a": torch.arange(5.0), "b": torch.arange(3, dtype=torch.int8)}
    where = Checkpoints(tmp_path, block=16)
    home = where.save(3, whole(x), {"seed": 1})
    file = home / "rank-0.bin"
    right = file.read_bytes()
    for place, wrong in flips(right):
        file.write_bytes(wrong)
        with pytest.raises(ValueError, match="damaged") as error:
            where.tensors()
        name = "a" if place < 20 else "b"
        assert f"tensor '{name}' in {file}: " in str(error.value)
    file.write_bytes(right)
    where.tensors()


def test_every_flipped_byte_of_an_index_is_found(tmp_path):
    where = Checkpoints(tmp_path)
    file = where.save(3, whole({"w": torch.ones(3)})) / "index.json"
    right = file.read_bytes()
    for _, wrong in flips(right):
        with pytest.raises(ValueError, match="sha256|not an index"):
            index_of(wrong)
    for wrong in (right[:-1], right + b" ", b""):
        file.write_bytes(wrong)
        with pytest.raises(ValueError, match=f"{file}: damaged: "):
            where.tensors()


def test_a_damaged_checkpoint_names_the_one_before(tmp_path):
    where = Checkpoints(tmp_path)
    for step in (3, 6):
        save(where, step)
    (tmp_path / "step-000006" / "rank-0.bin").unlink()
    with pytest.raises(ValueError, match="damaged: .*; step 3 is older"):
        where.tensors()
    assert where.tensors(3)[1] == {"step": 3}


def test_an_index_of_another_format_is_refused(tmp_path, monkeypatch):
    where = Checkpoints(tmp_path)
    monkeypatch.setattr("llmnotes.parallel.checkpointing.index.FORMAT", "x 9")
    save(where, 3)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="another format than 'llmnotes sh"):
        where.tensors()


def test_what_a_crash_has_left_is_removed_by_the_next_save(tmp_path):
    (tmp_path / ".part").mkdir()
    (tmp_path / ".part" / "rank-7.bin").write_bytes(b"half")
    save(Checkpoints(tmp_path), 3)
    assert [p.name for p in Path(tmp_path).iterdir()] == ["step-000003"]


def test_a_disk_may_take_less_than_it_is_given(tmp_path, monkeypatch):
    class Slow:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, block):
            return self.file.write(block[:3])

        def readinto(self, into):
            return self.file.readinto(into[:3])

        def seek(self, place):
            self.file.seek(place)

    module = "llmnotes.parallel.checkpointing.disk.open"
    monkeypatch.setattr(
        module, lambda *a, **b: Slow(open(*a, **b)), raising=False
    )
    file, disk = tmp_path / "x", Disk()
    disk.write(file, [memoryview(b"0123456789"), memoryview(b"abc")])
    into = bytearray(8)
    disk.read(file, 4, memoryview(into))
    assert file.read_bytes() == b"0123456789abc" and into == b"456789ab"
