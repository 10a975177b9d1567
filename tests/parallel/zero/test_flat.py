"""Where numbers lie, and how many are added to make shards equal."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from llmnotes.parallel.zero import Flat, blocks, units
from tests.parallel.zero import toy


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
