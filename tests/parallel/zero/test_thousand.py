"""1,024 ranks: what is kept, what is sent, what is padding."""

import pytest

from llmnotes.parallel.zero import FLOAT32, memory, traffic
from tests.parallel.zero.thousand import LAYER, LAYERS, RANKS, all_ways

SIZE = LAYER * LAYERS


@pytest.fixture(scope="module")
def found():
    return all_ways()


def sizes(seen, kind):
    return [c.numbers for c in seen.calls if c.kind == kind]


def test_a_flat_layer_is_padded_by_less_than_the_ranks(found):
    ours, _ = found
    assert sizes(ours[3][1], "all-gather") == [5120] * 2 * LAYERS
    assert 5120 == -(-LAYER // RANKS) * RANKS


def test_fsdp2_cuts_rows_and_sends_thirteen_times_as_much(found):
    """64 rows on 1,024 ranks: each gets a whole row or nothing."""
    _, theirs = found
    assert sizes(theirs, "all-gather") == [66_560] * 2 * LAYERS
    assert sizes(theirs, "reduce-scatter") == [66_560] * LAYERS
    assert 66_560 == (64 + 1) * RANKS == 16 * LAYER == 13 * 5120


def test_stage_1_is_within_a_tenth_of_the_formula(found):
    kept, seen = found[0][1]
    sent = sum(c.sent for c in seen.calls if c.kind != "all-reduce")
    assert 1 < sent / traffic(SIZE, RANKS, 1) < 1.1
    assert 1 < sum(kept.values()) / memory(SIZE, RANKS, 1, **FLOAT32) < 1.1
