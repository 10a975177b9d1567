"""Three kinds of parallelism at once are one process."""

import pytest

from llmnotes.parallel import pipeline, tensor_parallel, zero
from llmnotes.parallel.data_parallel import run
from tests.parallel.pipeline import three_ranks

MESHES = [(1, 1, 1), (2, 1, 2), (1, 2, 2), (3, 2, 1), (2, 2, 2)]


@pytest.mark.parametrize("sizes", MESHES)
def test_loss_and_every_gradient_are_those_of_one_process(sizes, processes):
    """Seven rows of unequal targets, five layers, three micro-batches."""
    ranks = sizes[0] * sizes[1] * sizes[2]
    names = set()
    for loss, far in run(
        three_ranks.errors, ranks, sizes, processes=processes
    ):
        assert loss < 1e-14
        assert max(far.values()) < 1e-14, far
        names |= far.keys()
    whole = dict(three_ranks.setting()[0].named_parameters())
    assert names == whole.keys()


def test_what_a_rank_in_the_middle_sends_is_what_the_formulas_say(processes):
    sizes, rows, pieces = (3, 2, 2), 8, 4
    found = run(three_ranks.sent, 12, sizes, rows, pieces, processes=processes)
    middle = [one for one in found if one["place"]["stages"] == 1]
    assert len(middle) == 4
    size = rows // 2 // pieces, three_ranks.LENGTH, 12
    for one in middle:
        tensor = tensor_parallel.traffic(*size, 2, one["layers"]) * pieces
        assert one["tensor"] == tensor
        assert one["stages"] == pipeline.traffic(*size) * pieces
        assert one["data"] == zero.traffic(one["numbers"], 2, 0)


def test_a_mesh_of_another_size_than_the_ranks_is_refused(processes):
    for said in run(three_ranks.wrong_size, 2, processes=processes):
        assert said == "mesh: got 4 places for 2 ranks, expected as many"
