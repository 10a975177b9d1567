"""What crosses between two memories, counted."""

import pytest
import torch

from llmnotes.parallel.data_parallel import run
from llmnotes.parallel.zero import FLOAT32, Link, memory
from tests.parallel.zero import ranks
from tests.parallel.zero.test_kept import SIZE

COUNT = 2
SHARD = SIZE // COUNT


@pytest.fixture(scope="module")
def found(processes):
    return run(ranks.offloaded, COUNT, processes=processes)[0]


@pytest.mark.parametrize(
    ("dtype", "way", "each"),
    [
        ("float32", "here", (0, 0)),
        ("float32", "Offloaded", (4, 4)),
        ("float32", "Fetched", (8, 8)),
        ("bfloat16", "here", (0, 0)),
        ("bfloat16", "Offloaded", (2, 2)),
        ("bfloat16", "Fetched", (8, 8)),
    ],
)
def test_bytes_of_each_number_that_cross_in_a_step(dtype, way, each, found):
    moved = found[dtype, way]
    assert (moved["down"], moved["up"]) == tuple(SHARD * b for b in each)


def test_states_are_far_and_nothing_else(found):
    in_float32, mixed = (
        found["float32", "Offloaded"],
        found["bfloat16", "Offloaded"],
    )
    assert in_float32["far"] == mixed["far"] == SHARD * 12
    near = memory(SIZE, COUNT, 2, **(FLOAT32 | {"states": 0}))
    assert in_float32["kept"] - in_float32["far"] == near
    assert mixed["kept"] - mixed["far"] == memory(SIZE, COUNT, 2, states=0)


def test_where_the_states_are_changes_no_bit(found):
    for (dtype, _), facts in found.items():
        here = found[dtype, "here"]["weights"]
        for name, x in facts["weights"].items():
            assert torch.equal(x, here[name])


def test_both_memories_in_one_computation_are_refused():
    near = torch.ones(3)
    with Link() as link, pytest.raises(RuntimeError, match="both memories"):
        link.down(near) + near
