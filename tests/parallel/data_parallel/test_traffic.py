"""What a rank sends, counted."""

from fractions import Fraction

import pytest

from llmnotes.parallel.data_parallel import Call, run
from tests.parallel.data_parallel import calls


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_collective_is_seen_with_its_whole_tensor(ranks, processes):
    kinds = {
        "all-reduce": 6,
        "reduce-scatter": 6,
        "all-gather": 6,
        "all-to-all": 6,
        "broadcast": 6,
    }
    for found in run(calls.plain, ranks, processes=processes):
        for name, (kind, numbers, n) in found.items():
            assert (numbers, n) == (kinds[kind], ranks), name


def test_what_dtensor_sends_inside_is_seen(processes):
    for found in run(calls.inside_dtensor, 2, processes=processes):
        assert found == {"all-reduce": 3}


def test_by_hand_bytes_of_a_ring():
    call = Call("all-reduce", 1000, 4, 4)
    assert call.sent == 1500
    assert Call("all-gather", 1000, 4, 3).sent == Fraction(2000, 3)
    assert Call("send", 7, 4, 4).sent == 7
