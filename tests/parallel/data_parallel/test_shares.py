"""A rank's share: together the ranks see what one process sees."""

import pytest
import torch
from torch.utils.data import DistributedSampler

from llmnotes.parallel.data_parallel import share, weight
from llmnotes.parallel.data_parallel.shares import digest, seed_masks
from llmnotes.task import IGNORED, Task


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_shares_are_the_batch_and_nothing_twice(ranks):
    batch = torch.arange(14).view(7, 2), torch.arange(7)
    shares = [share(batch, rank, ranks) for rank in range(ranks)]
    for i, whole in enumerate(batch):
        assert torch.equal(torch.cat([part[i] for part in shares]), whole)


def test_fewer_rows_than_ranks_are_refused():
    with pytest.raises(ValueError, match="batch: got 2 rows for 3 ranks"):
        share((torch.zeros(2),), 0, 3)


def test_by_hand_the_mean_of_means_is_another_number():
    """Ten targets of loss 1 and a hundred of loss 2."""
    task = Task
    targets = torch.zeros(110, dtype=torch.int64)
    parts = targets[:10], targets[10:]
    weights = [weight(Words(), (p,), (targets,)) for p in parts]
    assert weights == [10 / 110, 100 / 110] and task
    mean = weights[0] * 1 + weights[1] * 2
    assert mean == pytest.approx(210 / 110) and (1 + 2) / 2 == 1.5


class Words(Task):
    """Counts targets as every task does."""


def test_a_batch_without_a_target_is_refused():
    nothing = (torch.full((3,), IGNORED),)
    with pytest.raises(ValueError, match="batch: got no target"):
        weight(Words(), nothing, nothing)


def test_masks_differ_between_ranks_and_steps_and_come_again():
    def mask(*where):
        seed_masks(*where)
        return torch.rand(64)

    places = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1)]
    found = [mask(*place) for place in places]
    for i, one in enumerate(found):
        assert torch.equal(one, mask(*places[i]))
        assert not any(torch.equal(one, two) for two in found[:i])
    numbers = [(s, t, r) for s in range(9) for t in range(9) for r in range(9)]
    assert len({digest(list(n)) for n in numbers}) == len(numbers)


def test_pytorchs_sampler_repeats_rows_where_ranks_do_not_divide_them():
    found = [
        i
        for rank in range(4)
        for i in DistributedSampler(range(10), 4, rank, shuffle=False)
    ]
    assert len(found) == 12 and found.count(0) == found.count(1) == 2
