"""Bytes kept and numbers sent are those of the formulas."""

import pytest

from llmnotes.parallel.data_parallel import run
from llmnotes.parallel.zero import FLOAT32, memory, traffic
from tests.parallel.zero import ranks

SIZE = ranks.LAYERS * (ranks.SIDE + 1) * ranks.SIDE  # Ψ


@pytest.fixture(scope="module", params=[1, 2, 3, 4], ids="{0} ranks".format)
def counted(request, processes):
    """The number of ranks, and what rank 0 counted."""
    count = request.param
    return count, run(ranks.all_counted, count, processes=processes)[0]


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_what_is_kept_in_float32_is_the_formula(stage, counted):
    count, found = counted
    kept = found[stage, 1]["kept"]
    assert sum(kept.values()) == memory(SIZE, count, stage, **FLOAT32)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_what_is_kept_in_mixed_precision_is_the_papers(stage, counted):
    count, found = counted
    kept = found["bfloat16", stage]["kept"]
    assert sum(kept.values()) == memory(SIZE, count, stage)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_no_other_memory_lives_but_stand_ins(stage, counted):
    found = counted[1][stage, 1]
    away = 4 * ranks.LAYERS if stage == 3 else 0
    assert found["living"] == sum(found["kept"].values()) + away


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_what_is_sent_is_the_formula(stage, pieces, counted):
    count, found = counted
    assert found[stage, pieces]["sent"] == traffic(SIZE, count, stage, pieces)


def test_beside_it_goes_a_flag_for_each_weight(counted):
    for stage in (1, 2, 3):
        small = [n for kind, n in counted[1][stage, 3]["calls"]
                 if kind == "all-reduce"]  # fmt: skip
        assert small == [2 * ranks.LAYERS]


def test_each_stage_lowers_the_peak_of_backward(counted):
    count, found = counted
    peaks = [found[stage, 1]["peak"] for stage in (1, 2, 3)]
    if count > 1:
        assert peaks[0] > peaks[1] > peaks[2]


def test_at_stage_3_one_layer_is_whole_and_its_gradients_twice(counted):
    """Once as backward finds them, once in the vector that is sent."""
    count, found = counted
    layer = 4 * SIZE // ranks.LAYERS
    room = sum(found[3, 1]["kept"].values()) + 3 * layer
    assert count == 1 or found[3, 1]["peak"] <= room


def test_sharding_without_units_saves_nothing_at_the_peak(counted):
    _, found = counted
    assert found["whole"]["kept"] == found[3, 1]["kept"]
    assert found["whole"]["peak"] >= found[2, 1]["peak"]


def test_calls_are_as_many_as_fsdp2s(processes):
    found = run(ranks.both_counted, 2, processes=processes)[0]
    cut, kept = found
    assert cut[0] == cut[1] == {"all-gather": 8, "reduce-scatter": 4}
    assert kept[0] == kept[1] == {"all-gather": 2, "reduce-scatter": 2}
