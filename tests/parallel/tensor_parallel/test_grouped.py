"""Keys that fewer heads than ranks have: repeated, with the right gradient."""

import pytest

from tests.parallel.tensor_parallel import dense, split
from tests.parallel.tensor_parallel.dense import equal

GROUPED = [(t, *job) for t, jobs in split.GROUPED.items() for job in jobs]


@pytest.mark.parametrize("way", split.WAYS)
@pytest.mark.parametrize(("ranks", "heads", "kv_heads"), GROUPED)
def test_fewer_keys_than_ranks_are_repeated_with_gradients_of_all(
    everything, ranks, heads, kv_heads, way
):
    right = dense.through(dense.grouped(heads, kv_heads), split.still)
    for said in everything[ranks]:
        equal(said["grouped", heads, kv_heads, way][0], right)
