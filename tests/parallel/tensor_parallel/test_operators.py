"""f, g and their twins: each is the transpose of the other."""

import pytest

from llmnotes.parallel.data_parallel import run
from tests.parallel.tensor_parallel import split


def test_ways_to_sum_have_different_gradients(steps):
    """One rank's loss is the sum of its own y; y = x_0 + x_1, or y = x."""
    for said in steps:
        assert said["operators"] == {
            "summed": 1.0,
            "copied": 2.0,
            "distributed.nn": 2.0,
            "functional": 2.0,
            "in place": 1.0,
        }


@pytest.mark.parametrize("dim", (0, 1, 2))
@pytest.mark.parametrize("ranks", (1, 2, 3))
def test_gathered_and_scattered_are_transposes(processes, ranks, dim):
    for said in run(split.transposes, ranks, dim, processes=processes):
        for left, right in said.values():
            assert left == pytest.approx(right, rel=1e-12)
