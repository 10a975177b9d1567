"""Where numbers lie, and how many are added to make shards equal."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from llmnotes.parallel.zero import (
    FLOAT32,
    Flat,
    blocks,
    memory,
    traffic,
    units,
)
from tests.parallel.zero import toy
from tests.parallel.zero.thousand import LAYER, LAYERS, RANKS, all_ways

SIZE = LAYER * LAYERS


def flat(sizes, ranks):
    weights = {
        f"w{i}": nn.Parameter(torch.randn(n)) for i, n in enumerate(sizes)
    }
    return Flat(weights, ranks)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 9)
)  # more ranks than numbers, too
def test_pieces_hold_each_number_once_and_in_order(sizes, ranks):
    laid, seen = flat(sizes, ranks), {}
    for rank in range(ranks):
        for piece in laid.pieces(rank):
            assert piece.shard.stop <= laid.shard
            run = range(piece.inside.start, piece.inside.stop)
            assert len(run) == piece.shard.stop - piece.shard.start
            seen.setdefault(piece.name, []).extend(run)
    assert seen == {
        name: list(range(n))
        for name, n in zip(laid.weights, sizes, strict=True)
    }
    assert laid.padded - laid.size < ranks


@pytest.mark.parametrize(
    ("ranks", "padded"), [(1, 4161), (2, 4162), (3, 4161), (4, 4164)]
)
def test_by_hand_4161_numbers(ranks, padded):
    assert flat([4161], ranks).padded == padded


def test_a_tied_weight_is_the_models_own():
    model = toy.toy()
    found = units(model, [model.embed, *model.layers])
    assert [list(own) for _, own in found][:2] == [
        [],
        [f"layers.0.{n}" for n in
         ("down.weight", "down.bias", "up.weight", "up.bias")],
    ]  # fmt: skip
    assert "embed.weight" in found[-1][1]
    assert "head.weight" not in found[-1][1]


def test_layers_are_those_of_the_list_with_the_most_weights():
    model = toy.toy()
    assert blocks(model) == list(model.layers)
    assert blocks(nn.Linear(2, 3)) == []


def test_refusals():
    model = toy.toy()
    with pytest.raises(ValueError, match="modules: got Linear, which is no"):
        units(model, [nn.Linear(2, 3)])
    mixed = {
        "a": nn.Parameter(torch.ones(2)),
        "b": nn.Parameter(torch.ones(3).half()),
    }
    with pytest.raises(ValueError, match=r"b: got torch.float16, expected"):
        Flat(mixed, 2)


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
