"""A checkpoint of 500 MB: beside the disk's own rate, and behind a step."""

import os
import shutil
import statistics

import pytest
import torch

from llmnotes.parallel.checkpointing import Background, Checkpoints, whole

MEGABYTES, TENSORS = 500, 20
STEPS, WIDTH = 60, 1024  # of the training beside it


@pytest.fixture(autouse=True)
def fair_ground():
    """One thread computes; the other core is the writer's."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tensors():
    """500 MB of random numbers, so that no disk can press them."""
    count = MEGABYTES * 10**6 // TENSORS // 4
    draw = torch.Generator().manual_seed(0)
    return {
        f"w{i}": torch.randn(count, generator=draw) for i in range(TENSORS)
    }


def raw(x, folder):
    """The same bytes in one file, pushed: what the disk can do."""

    def go():
        file = folder / "raw"
        file.unlink(missing_ok=True)
        with open(file, "xb", buffering=0) as out:
            for tensor in x.values():
                row = memoryview(tensor.numpy()).cast("B")
                while row.nbytes:
                    row = row[out.write(row) :]
            os.fsync(out)

    return go


def saved(x, folder):
    """A checkpoint, in place of the one before."""
    home = folder / "run"

    def go():
        shutil.rmtree(home, ignore_errors=True)
        Checkpoints(home).save(1, whole(x))

    return go


@pytest.mark.timing
def bench_saving(record, race, tmp_path):
    x = tensors()
    ways = {"write and fsync": raw(x, tmp_path), "save": saved(x, tmp_path)}
    seconds = {
        name: statistics.median(times)
        for name, times in race(ways, rounds=9, slice_s=1.0).items()
    }
    first = seconds["write and fsync"]
    record(
        "saving",
        kind="timing",
        seed=0,
        title=f"{MEGABYTES} MB onto the disk",
        prediction="At least 80 % of the disk's own rate: hashes are made "
        "by another thread while it writes.",
        columns={"way": "", "rate": "MB/s", "share": ""},
        labels={"way": "written by", "share": "of the disk's own rate"},
        rows=[
            (name, MEGABYTES / spent, first / spent)
            for name, spent in seconds.items()
        ],
    )


WAYS = "not at all", "at once", "copied, not written", "in the background"


def training(x, folder, way):
    """Some steps, of which the first is followed by a save."""
    home, weight = folder / "run", torch.randn(WIDTH, WIDTH)
    where = Checkpoints(home)
    later = Background(where)  # from the second save on its memory is there

    def go():
        shutil.rmtree(home, ignore_errors=True)
        y = torch.randn(WIDTH, WIDTH)
        for step in range(STEPS):
            y = torch.tanh(y @ weight)
            if step == 0 and way == "at once":
                where.save(1, whole(x))
            if step == 0 and way == "copied, not written":
                later.snapshot(whole(x))
            if step == 0 and way == "in the background":
                later.save(1, whole(x))
        later.wait()

    return go


@pytest.mark.timing
def bench_saving_behind_training(record, race, tmp_path):
    x = tensors()
    ways = {way: training(x, tmp_path, way) for way in WAYS}
    seconds = {
        name: statistics.median(times)
        for name, times in race(ways, rounds=15, slice_s=1.0).items()
    }
    none, now = (seconds[way] for way in WAYS[:2])
    assert none > now - none, "training must be longer than saving"
    record(
        "behind",
        kind="timing",
        seed=0,
        title=f"{STEPS} products of matrices on one of two cores, and a "
        f"checkpoint of {MEGABYTES} MB",
        prediction="At least 90 % of the time of saving is hidden; what is "
        "left is the copy.",
        columns={"way": "", "seconds": "s", "more": "s", "hidden": ""},
        labels={"way": "saved", "more": "more than without",
                "hidden": "share that is hidden"},
        rows=[
            (name, spent, spent - none, 1 - (spent - none) / (now - none))
            for name, spent in seconds.items()
        ],
    )  # fmt: skip
