"""How far a token is heard, and how many FLOPs a call takes: counted."""

import pytest
from torch.utils.flop_counter import FlopCounterMode

from llmnotes.models.transformer_xl import (
    Memory,
    SameLength,
    TransformerXLConfig,
    earliest,
    forward_flops,
    segment_flops,
    sliding_flops,
)
from tests.models.transformer_xl.hearing import first_heard
from tests.models.transformer_xl.tiny import SHAPE, tiny, tokens


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("mem_len", [0, 1, 4, 6])
def test_the_first_token_that_is_heard_is_the_one_that_was_counted(
    layers, mem_len
):
    model = tiny(TransformerXLConfig(11, 12, 3, 20, layers))
    found = first_heard(model, tokens(1, 17), 4, mem_len)
    assert found == [earliest(p, layers, 4, mem_len) for p in range(17)]


def test_two_layers_segments_of_six_and_a_memory_of_six_by_hand():
    """Token 5 ends the first segment and is last heard at 17."""
    heard = [p for p in range(5, 40) if earliest(p, 2, 6, 6) <= 5]
    assert heard == list(range(5, 18))


def test_reach_is_layers_times_memory_from_the_begin_of_a_segment():
    for layers in (1, 2, 5):
        assert 600 - earliest(600, layers, 6, 12) == layers * 12
        assert 605 - earliest(605, layers, 6, 12) == layers * 12 + 5


def test_one_state_of_memory_still_reaches_a_segment_per_layer():
    """The newest state of a segment has seen that segment."""
    assert 600 - earliest(600, 4, 6, 1) == 3 * 6 + 1
    assert 600 - earliest(600, 4, 6, 0) == 0


def test_with_same_length_the_reach_is_that_of_a_window():
    model = tiny(SHAPE, SameLength, 4)
    found = first_heard(model, tokens(1, 13), 4, 8)
    assert found == [max(0, p - 2 * 3) for p in range(13)]


@pytest.mark.parametrize("new, kept", [(5, 0), (3, 7), (1, 9)])
def test_flops_are_those_that_torch_counts(new, kept):
    model, memory = tiny(), Memory(kept)
    if kept:
        model(tokens(1, kept), memory)
    with FlopCounterMode(display=False) as counter:
        model(tokens(1, new), memory)
    assert counter.get_total_flops() == forward_flops(SHAPE, new, kept)


def test_costs_of_one_new_token_and_sizes_that_cannot_be():
    assert sliding_flops(SHAPE, 8) == forward_flops(SHAPE, 8, 0)
    assert segment_flops(SHAPE, 8, 4) == forward_flops(SHAPE, 4, 8) / 4
    for got in (0, -1):
        with pytest.raises(ValueError, match=f"new: got {got}"):
            forward_flops(SHAPE, got, 3)
    with pytest.raises(ValueError, match="kept: got -1"):
        forward_flops(SHAPE, 1, -1)
    with pytest.raises(ValueError, match="position: got -1"):
        earliest(-1, 1, 4, 4)
    with pytest.raises(ValueError, match="segment: got 0"):
        earliest(1, 1, 0, 4)
