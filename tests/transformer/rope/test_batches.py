"""Texts of one batch may stand at positions of their own."""

import math

import pytest
import torch
from einops import rearrange

from llmnotes.transformer.attention import MultiHeadAttention
from llmnotes.transformer.positions import count_positions
from llmnotes.transformer.rope import (
    Rotary,
    angles,
    rotate,
    rotate_interleaved,
    rotate_partial,
)

BATCH, HEADS, LENGTH, HEAD_DIM = 2, 6, 7, 10
EVERY_TURN = [rotate, rotate_interleaved, rotate_partial]


@pytest.mark.parametrize("turn", EVERY_TURN)
def test_a_row_of_a_batch_is_turned_by_its_own_position_in_every_head(turn):
    out = turn(torch.ones(2, 2, 1, 2), angles(torch.tensor([[0], [1]]), 2))
    one = math.cos(1) - math.sin(1), math.sin(1) + math.cos(1)
    for b, row in enumerate(((1.0, 1.0), one)):
        for head in range(2):
            assert out[b, head, 0].tolist() == pytest.approx(row)


MISFITS = {  # shapes of x and of the positions
    "two positions for one row": ((1, 1, 1, 4), (2, 1)),
    "rows of another batch": ((3, 2, 5, 4), (2, 5)),
    "a position per head and no batch": ((2, 5, 4), (3, 5)),
    "more axes than x": ((5, 4), (1, 5)),
    "an axis too few": ((2, 3, 6, 5, 4), (2, 5)),
}


@pytest.mark.parametrize("case", MISFITS)
@pytest.mark.parametrize("turn", EVERY_TURN)
def test_angles_never_make_a_tensor_larger(turn, case):
    shape, positions = MISFITS[case]
    turns = angles(torch.zeros(positions, dtype=torch.long), 4)
    with pytest.raises(ValueError, match="^angles: got"):
        turn(torch.ones(shape), turns)


def test_left_padded_texts_get_what_they_get_alone():
    torch.manual_seed(0)
    layer = MultiHeadAttention(HEADS * HEAD_DIM, HEADS)
    x = torch.randn(BATCH, LENGTH, HEADS * HEAD_DIM)
    real = torch.arange(LENGTH) >= torch.tensor([[2], [0]])
    turn = angles(count_positions(real), HEAD_DIM)
    mask = rearrange(real, "batch key -> batch 1 1 key")
    out = layer(x, prepare=Rotary(turn), mask=mask, causal=True)
    alone = Rotary(angles(torch.arange(LENGTH - 2), HEAD_DIM))
    torch.testing.assert_close(
        out[:1, 2:], layer(x[:1, 2:], prepare=alone, causal=True)
    )
