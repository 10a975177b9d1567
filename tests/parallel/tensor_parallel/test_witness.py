"""PyTorch's DTensor finds the same, and asks for as much."""

import pytest

from llmnotes.parallel.data_parallel import run
from tests.parallel.tensor_parallel import witness

RANKS = (2, 3)


@pytest.fixture(scope="module")
def compared(processes):
    """{ranks: what the first of them found}."""
    return {
        ranks: run(witness.compared, ranks, ranks, processes=processes)
        for ranks in RANKS
    }


@pytest.mark.parametrize("way", witness.PLANS)
@pytest.mark.parametrize("ranks", RANKS)
def test_outputs_and_gradients_are_those_of_parallelize_module(
    compared, ranks, way
):
    for said in compared[ranks]:
        apart, *_ = said[way]
        assert len(apart) == 8
        assert all(error < 1e-13 for error in apart.values()), apart


@pytest.mark.parametrize("ranks", RANKS)
def test_it_asks_for_one_all_reduce_each_way(compared, ranks):
    for said in compared[ranks]:
        _, forward, backward, _ = said["replicated"]
        assert forward == backward == {"all-reduce": 1}


@pytest.mark.parametrize("ranks", RANKS)
def test_with_sequence_parallelism_for_one_gather_and_one_scatter(
    compared, ranks
):
    for said in compared[ranks]:
        _, forward, backward, _ = said["pieces"]
        assert forward == backward == {"all-gather": 1, "reduce-scatter": 1}


@pytest.mark.parametrize("ranks", RANKS)
def test_its_norms_keep_summands_until_asked_for_all(compared, ranks):
    for said in compared[ranks]:
        *_, own = said["pieces"]
        assert own > 0.1  # `to_local()`; `full_tensor()` is compared above


@pytest.mark.parametrize("ranks", RANKS)
def test_losses_over_a_split_vocabulary_are_those_of_loss_parallel(
    compared, ranks
):
    for said in compared[ranks]:
        loss, gradient, calls = said["loss"]
        assert loss < 1e-14 and gradient < 1e-15
        assert calls == {"all-reduce": 3}  # ours asks for two
