"""Several ranks train one run, and any number of them goes on with it."""

import json
import os
import subprocess
import sys

import pytest
import torch

from llmnotes import checkpoint, train
from llmnotes.parallel.data_parallel import RankError, run
from tests import ranked_runs

BOUND = {"rtol": 0, "atol": 2e-5}


def close(ours, theirs):
    for name, p in theirs.items():
        torch.testing.assert_close(ours[name], p, msg=name, **BOUND)


def the_same(ours, theirs):
    return all(torch.equal(ours[name], p) for name, p in theirs.items())


def one_process(**options):
    model, texts, config = ranked_runs.setting()
    history = train.train(model, *texts, config, progress=False, **options)
    return {n: p.detach() for n, p in model.named_parameters()}, history


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_end_with_the_weights_and_losses_of_one_process(
    ranks, processes
):
    whole, history = one_process()
    for ours, losses, final in run(
        ranked_runs.trained, ranks, processes=processes
    ):
        close(ours, whole)
        assert losses == pytest.approx([row.loss for row in history])
        assert final == pytest.approx(history.final_loss)


def test_gradients_are_as_long_as_in_one_process(processes):
    """AdamW and clipping forgive a factor; SGD does not."""
    whole = ranked_runs.stepped(ranks=False)
    for ours in run(ranked_runs.stepped, 3, processes=processes):
        close(ours, whole)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("step", [1, 4])
def test_a_run_whose_rank_was_killed_goes_on_to_the_same_bits(
    rank, step, tmp_path, processes
):
    def go(out, **options):
        job = str(tmp_path / out), *options.values()
        return run(ranked_runs.trained, 2, *job, processes=processes)

    whole = go("whole", resume=False, dies=(-1, -1), dropout=0.3)
    with pytest.raises(RankError, match=rf"rank {rank} died \(signal 9\)"):
        go("cut", resume=False, dies=(step, rank), dropout=0.3)
    assert checkpoint.steps(tmp_path / "cut")[-1] == step // 2 * 2
    again = go("cut", resume=True, dies=(-1, -1), dropout=0.3)
    for (ours, *more), (theirs, *others) in zip(again, whole, strict=True):
        assert the_same(ours, theirs) and more == others


@pytest.mark.parametrize("before, after", [(2, 3), (3, 1), (1, 2)])
def test_another_number_of_ranks_goes_on(before, after, tmp_path, processes):
    whole, _ = one_process()
    out = str(tmp_path)
    with pytest.raises(RankError):
        job = out, False, (4, 0)
        run(ranked_runs.trained, before, *job, processes=processes)
    found = run(ranked_runs.trained, after, out, True, processes=processes)
    for ours, *_ in found:
        close(ours, whole)


def test_one_process_goes_on_with_a_run_of_ranks_and_they_with_its(
    tmp_path, processes
):
    whole, _ = one_process()
    with pytest.raises(RankError):
        job = str(tmp_path), False, (4, 1)
        run(ranked_runs.trained, 2, *job, processes=processes)
    # The tasks have other names, and a run is told apart by its task's.
    for part in tmp_path.glob("step-*/state.json"):
        assert "text" in json.loads(part.read_text())["notes"]["facts"]
    ours, _ = one_process(out=tmp_path, resume=True)
    close(ours, whole)
    files = {p.name for p in tmp_path.glob("step-000006/*")}
    assert files == {"model.safetensors", "training.safetensors",
                     "state.json"}  # fmt: skip


def test_ctrl_c_on_one_rank_stops_all_after_the_same_step(tmp_path, processes):
    said = run(ranked_runs.stops, 2, str(tmp_path), processes=processes)
    assert all("stopped after step 3" in words for words in said)
    assert checkpoint.steps(tmp_path)[-1] == 3


def test_a_batch_with_fewer_rows_than_ranks_is_refused(processes):
    for said in run(ranked_runs.too_small, 8, processes=processes):
        assert said == (
            "batch_size: got 7, expected at least a row for each of 8 ranks"
        )


def torchrun(ranks, out, *words):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={ranks}",
        "-m",
        "llmnotes",
        "train",
        "gpt",
        "--preset=minigpt",
        "--eval-every=2",
        f"--out={out}",
        *words,
    ]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, env=env, check=False
    )  # fmt: skip


def test_torchrun_starts_it_and_one_rank_tells(tmp_path):
    first = torchrun(2, tmp_path / "run", "--steps=2")
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("final validation loss") == 1
    assert checkpoint.steps(tmp_path / "run") == [0, 2]
    assert "rank" not in first.stderr
