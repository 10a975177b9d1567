"""What is read, and in which order: a function of (seed, step) alone."""

import pytest
import torch

from llmnotes.parallel.data_efficiency import runs


def reading(ids, order):
    plan = runs.config(len(order), 1e-3)
    return runs.Reading(ids, ids, plan, order)


def test_each_epoch_reads_the_same_rows_in_another_order():
    order = runs.epochs_of(50, 20, 3, seed=4)
    one, two, three = order.split(20)
    assert len(set(one.tolist())) == 20
    assert set(one.tolist()) == set(two.tolist()) == set(three.tolist())
    assert one.tolist() != two.tolist() != three.tolist()


def test_fewer_rows_are_among_more_rows():
    few, more = (runs.epochs_of(50, n, 1, seed=4) for n in (10, 40))
    assert set(few.tolist()) < set(more.tolist())


def test_a_batch_is_rows_and_their_next_tokens():
    ids = torch.arange(64 * 20 + 1)
    order = torch.randperm(20)[:16]
    inputs, targets = reading(ids, order).batch(1)
    assert inputs[:, 0].tolist() == (64 * order[8:]).tolist()
    assert torch.equal(targets, inputs + 1)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_that_share_a_batch_read_what_one_reads(ranks):
    ids = torch.arange(64 * 20 + 1)
    task = reading(ids, runs.shuffled(16, 3, 0))
    whole = torch.cat([task.batch(step)[0] for step in range(2)])
    parts = [
        [task.batch(step)[0].chunk(ranks)[rank] for rank in range(ranks)]
        for step in range(2)
    ]
    assert torch.equal(torch.cat([p for step in parts for p in step]), whole)


def test_a_run_learns_and_repeats_to_the_bit():
    ids = torch.arange(64 * 9) % 7
    found = [
        runs.learn(
            16, 7, runs.epochs_of(8, 8, 3, 0), ids, ids, rate=0.02, seed=1
        )[1]
        for _ in range(2)
    ]
    assert found[0] == found[1] < 1.9  # ln 7 = 1.95


def test_refusals():
    with pytest.raises(ValueError, match="unique: got 9, expected at most 8"):
        runs.epochs_of(8, 9, 1, 0)
    with pytest.raises(ValueError, match="epochs: got 0, expected"):
        runs.epochs_of(8, 4, 0, 0)
