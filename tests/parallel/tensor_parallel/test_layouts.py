"""What is whose, and the whole again; no ranks are needed for it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmnotes.parallel.tensor_parallel import Everywhere, Repeated, Split


def test_by_hand_a_rank_has_query_key_and_value_of_its_heads():
    """h = 6, three heads of two columns each, three ranks."""
    columns = torch.arange(18)
    mine = Split(0, blocks=3).own(columns, 1, 3)
    assert mine.tolist() == [2, 3, 8, 9, 14, 15]
    assert columns.chunk(3)[1].tolist() == [6, 7, 8, 9, 10, 11]  # all keys


def test_by_hand_neighbours_hold_the_same_keys():
    heads = torch.arange(8)  # two heads of four columns
    parts = [Repeated(0, 2).own(heads, rank, 4).tolist() for rank in range(4)]
    assert parts == [[0, 1, 2, 3]] * 2 + [[4, 5, 6, 7]] * 2
    assert Repeated(0, 2).copies(4) == 2


@given(st.integers(1, 4), st.integers(1, 3), st.integers(4, 9), st.data())
def test_the_whole_of_all_parts_is_what_was_cut(ranks, blocks, size, data):
    x = torch.arange(5 * blocks * size).view(5, -1)
    pieces = data.draw(st.sampled_from([n for n in (1, 2, 4) if not 4 % n]))
    for layout, t in (
        (Split(1, blocks), ranks),
        (Split(0), ranks),
        (Everywhere(), ranks),
        (Repeated(0, pieces), 4),
    ):
        parts = [layout.own(x, rank, t) for rank in range(t)]
        assert torch.equal(layout.whole(parts), x)
        held = sum(part.numel() for part in parts)
        if not isinstance(layout, Repeated):
            assert held == x.numel() * layout.copies(t)


def test_by_hand_a_norm_counts_what_all_ranks_hold_once(steps):
    """√(3² + 4² + 12²) = 13; counted twice the last would make it 17.69."""
    for said in steps:
        assert said["norm"] == pytest.approx(13.0)
