"""Ranks that share rows: one process's step, bytes of the formula, kills."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from llmnotes.parallel.data_parallel import RankError, run
from llmnotes.parallel.gpt2_parallel import Layout
from llmnotes.transformer.gpt2_by_hand import GPT2, reference
from tests.parallel.gpt2_parallel import ranked
from tests.parallel.gpt2_parallel.ranked import KINDS, ODD, RATE

STEPS = 2


def in_stretches(model):
    """The weights of one process, in the order of stretches."""
    layout = Layout(model.weights.shapes, ODD.n_layer, 1, ranked.SIZE)
    row = np.zeros(layout.size)
    for name, view in layout.views(row).items():
        layers = zip(view, model.weights[name], strict=True)
        if isinstance(view, list):
            for place, x in layers:
                place[...] = x
        else:
            view[...] = model.weights[name]
    return row


@pytest.fixture(scope="module")
def alone():
    model = GPT2(ODD, ranked.weights(), reference)
    losses = [
        model.step(*ranked.batch(i), lr=RATE, weight_decay=0.1)
        for i in range(STEPS)
    ]
    return losses, in_stretches(model)


@pytest.mark.parametrize(
    ("kind", "ranks"), list(itertools.product(KINDS, (1, 2, 4)))
)
def test_ranks_make_the_step_of_one_process(kind, ranks, alone, processes):
    told = run(ranked.steps, ranks, kind, STEPS, processes=processes)
    for losses, weights, _, sent, size in told:
        assert losses == pytest.approx(alone[0], abs=1e-12)
        # The gradient of a key's bias is 0 but for rounding; AdamW makes
        # steps of it all the same, so those are not compared as closely.
        apart = np.abs(weights - alone[1])
        assert np.sort(apart)[: -ODD.n_layer * ODD.n_embd].max() < 1e-11
        assert np.array_equal(weights, told[0][1])
        assert apart.max() <= 2.1 * RATE * STEPS
        loss = 2 * (ranks - 1) / ranks * 8
        formula = 2 * (ranks - 1) / ranks * 8 * size + loss
        assert sent == pytest.approx(STEPS * formula)
        if ranks == 1:
            assert apart.max() == 0


def test_two_replicas_and_two_shards_end_with_the_same_bits(processes):
    found = [
        run(ranked.steps, 2, kind, STEPS, processes=processes)[0][1]
        for kind in KINDS
    ]
    assert np.array_equal(*found)


def test_stretches_leave_when_whole_and_before_backward_ends(processes):
    for seen, calls, ready in run(ranked.leaving, 2, processes=processes):
        assert seen == ready
        assert sum(number < calls - 1 for number in seen) >= len(seen) / 2


def test_every_number_lies_in_one_stretch():
    shapes = ranked.weights().shapes
    for ranks in (1, 2, 3, 4):
        layout = Layout(shapes, ODD.n_layer, ranks, ranked.SIZE)
        row = np.zeros(layout.size)
        for view in layout.views(row).values():
            for x in view if isinstance(view, list) else [view]:
                x += 1
        for stretch in layout.stretches:
            end = stretch.start + stretch.size
            assert (row[stretch.start : end] == 1).all()
            assert not row[end : stretch.start + stretch.padded].any()
            assert stretch.padded % ranks == 0


def test_fewer_rows_than_ranks_are_refused(processes):
    with pytest.raises(RankError, match="tokens: got 1 rows for 2 ranks"):
        run(ranked.too_few, 2, processes=processes)


def test_an_id_that_is_none_is_refused_by_all_ranks(processes):
    for error in run(ranked.no_token, 2, processes=processes):
        assert error.startswith("tokens: got 1000000, expected 0 to")


def test_no_rank_updates_where_one_has_no_number(processes):
    for error, same in run(ranked.no_number, 2, processes=processes):
        assert error.startswith("loss: got nan, expected a number")
        assert same


@pytest.fixture(scope="module")
def uninterrupted(processes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return run(ranked.trained, 2, folder, 5, processes=processes)[0][0]


def test_a_killed_rank_is_named_and_the_run_ends_the_same(
    processes, tmp_path, uninterrupted
):
    with pytest.raises(RankError) as error:
        run(ranked.trained, 2, tmp_path, 5, 3, processes=processes)
    assert "rank 1 died (signal 9)" in str(error.value)
    assert "rank 0: rank 1 died: no sign of life" in str(error.value)
    for found, steps in run(
        ranked.trained, 2, tmp_path, 5, processes=processes
    ):
        assert steps == 5
        assert np.array_equal(found, uninterrupted)


def test_another_number_of_ranks_goes_on_from_it(
    processes, tmp_path, uninterrupted
):
    run(ranked.trained, 2, tmp_path, 2, processes=processes)
    found, steps = run(ranked.trained, 3, tmp_path, 5, processes=processes)[0]
    assert steps == 5
    assert np.median(np.abs(found - uninterrupted)) < 1e-13


def test_torchrun_starts_killed_ranks_anew(tmp_path, uninterrupted):
    said = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone",
         "--nproc-per-node=2", "--max-restarts=1",
         "-m", "tests.parallel.gpt2_parallel.killed", str(tmp_path), "3"],
        capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "exitcode: -9) local_rank: 1" in said.stderr
    assert "5 steps" in said.stdout
    found = np.load(tmp_path / "weights.npy")
    assert np.array_equal(found, uninterrupted)
