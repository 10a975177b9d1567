"""Processes that start together, and errors that name the one to blame."""

import multiprocessing
import re
import subprocess
import sys
import time

import pytest

from llmnotes.parallel.data_parallel import RankError, join, run
from tests.parallel.data_parallel import ranked


def test_ranks_answer_in_their_order(processes):
    assert run(ranked.number, 4, processes=processes) == [0, 1, 2, 3]


def test_a_quick_rank_waits_until_the_slowest_has_come(processes):
    for _ in range(5):
        found = run(ranked.number, 8, processes=processes)
        assert found == list(range(8))


CAUSES = {
    "killed": r"rank 1 died \(signal 9\)",
    "error": "rank 1 failed with ValueError: batch: got none",
    "early": "rank 1 had ended already",
    "stopped": "rank 1 died: no sign of life for 1.5 s",
    "late": "all other ranks live; one waits for another message than sent",
}


@pytest.mark.parametrize("how", CAUSES)
def test_every_rank_names_the_one_that_is_to_blame(how, processes):
    with pytest.raises(RankError) as error:
        run(ranked.ends, 3, how, processes=processes, patience=4.0)
    text = str(error.value)
    assert re.search(CAUSES[how], text)
    if how == "killed":
        for rank in (0, 2):
            assert f"rank {rank}: rank 1 died: no sign of life" in text
    if how == "error":
        for rank in (0, 2):
            assert f"rank {rank}: rank 1 failed with ValueError" in text


def test_no_process_is_left_behind(processes):
    before = len(multiprocessing.active_children())
    with pytest.raises(RankError):
        run(ranked.ends, 3, "killed", processes=processes)
    run(ranked.number, 3, processes=processes)
    assert len(multiprocessing.active_children()) == before


def test_a_rank_that_waits_in_vain_gives_up_in_time(processes):
    start = time.monotonic()
    with pytest.raises(RankError):
        run(ranked.ends, 2, "stopped", processes=processes, patience=2.0)
    assert time.monotonic() - start < 30


def test_less_than_one_rank_is_refused():
    with pytest.raises(ValueError, match="ranks: got 0, expected at least 1"):
        run(ranked.number, 0)


def test_joining_without_torchrun_says_what_is_missing(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="got no RANK, WORLD_SIZE"), join():
        pass


SCRIPT = """
import torch.distributed as dist
from llmnotes.parallel.data_parallel import RankError, run
try:
    run(dist.get_rank, 2)
except RankError as error:
    print(str(error).splitlines()[-1])
"""


def test_a_script_without_its_guard_is_told_so(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(SCRIPT)
    said = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert said.stdout.startswith("all died at once: in a script, call run")
