"""All-reduce from messages: the sum, the same bits, the bytes."""

import math

import pytest
import torch

from llmnotes.parallel.data_parallel import ring_all_reduce, run
from tests.parallel.data_parallel import ranked


@pytest.mark.parametrize("way", ["ring", "tree"])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 2, 7, 1001])
def test_every_rank_ends_with_the_sum_in_the_same_bits(
    way, ranks, size, processes
):
    job = way, size, torch.float64
    found = run(ranked.summed, ranks, *job, processes=processes)
    whole = torch.stack([x for x, _, _ in found]).sum(0)
    for _, ours, _ in found:
        torch.testing.assert_close(ours, whole, rtol=0, atol=1e-14)
        assert torch.equal(ours, found[0][1])


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_a_ring_sends_what_the_formula_says_and_no_rank_more(ranks, processes):
    size = 1001
    job = "ring", size, torch.float32
    found = run(ranked.summed, ranks, *job, processes=processes)
    sent = [sum(c.numbers for c in calls) for _, _, calls in found]
    assert sum(sent) == 2 * (ranks - 1) * size
    even = 2 * (ranks - 1) * size / ranks
    assert max(sent) < even + 2 * (ranks - 1)
    assert all(len(calls) == 2 * (ranks - 1) for _, _, calls in found)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_the_root_of_a_tree_sends_log_n_times_all(ranks, processes):
    job = "tree", 1001, torch.float32
    found = run(ranked.summed, ranks, *job, processes=processes)
    sent = [sum(c.numbers for c in calls) for _, _, calls in found]
    assert sum(sent) == 2 * (ranks - 1) * 1001
    assert sent[0] == math.ceil(math.log2(ranks)) * 1001


def test_ring_and_tree_sum_in_another_order(processes):
    for found in run(ranked.uneven_order, 3, processes=processes):
        # 1 + 10⁸ is 10⁸ in float32; where the large ones meet first, 1 stays.
        assert found["ring"].tolist() == [1, 0, 0]
        assert found["tree"].tolist() == [0, 0, 0]


def test_a_tensor_with_gaps_is_refused():
    with pytest.raises(ValueError, match="x: got strides"):
        ring_all_reduce(torch.ones(4, 4)[:, ::2])
