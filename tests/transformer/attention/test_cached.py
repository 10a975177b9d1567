"""Causal masks, windows and biases stand at the same end: the last key."""

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention.bias import causal_lower_right

from llmnotes.transformer.attention import (
    MultiHeadAttention,
    attention,
    attention_weights,
    sliding_window_mask,
)
from llmnotes.transformer.positions import RelativeBias, alibi_bias

HEADS, LENGTH = 4, 9


def random_qkv(length=LENGTH):
    torch.manual_seed(0)
    return torch.randn(3, 2, HEADS, length, 8, dtype=torch.float64)


BIASES = {
    "none": lambda query, key: None,
    "ALiBi": lambda query, key: alibi_bias(HEADS, query, key).double(),
    "relative": RelativeBias(HEADS, 8, 16).double(),
    "a window": lambda query, key: sliding_window_mask(query, key, 3),
}


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("new", [1, 2, 5, 9])
def test_the_last_queries_get_the_last_rows_of_the_whole_run(bias, new):
    query, key, value = random_qkv()
    mask = BIASES[bias]
    whole = attention(
        query, key, value, mask=mask(LENGTH, LENGTH), causal=True
    )
    last = attention(
        query[..., -new:, :], key, value, mask=mask(new, LENGTH), causal=True
    )
    torch.testing.assert_close(last, whole[..., -new:, :])


@pytest.mark.parametrize("steps", [(1,) * 9, (4, 3, 2), (5, 1, 1, 2)])
def test_chunks_with_a_cache_equal_the_whole_sequence(steps):
    """A prompt in pieces, then token by token, and `causal` all the time."""
    torch.manual_seed(0)
    layer, x = MultiHeadAttention(16, HEADS), torch.randn(2, LENGTH, 16)
    kept, outs = [], []

    def cache(query, key, value):
        kept.append((key, value))
        key, value = (torch.cat(x, -2) for x in zip(*kept, strict=True))
        return query, key, value

    for part in x.split(steps, 1):
        outs.append(layer(part, prepare=cache, causal=True))
    torch.testing.assert_close(torch.cat(outs, 1), layer(x, causal=True))


def test_a_cache_that_keeps_only_the_window_changes_nothing():
    query, key, value = random_qkv()
    window = 3
    whole = attention(
        query, key, value, mask=sliding_window_mask(LENGTH, LENGTH, window)
    )
    for t in range(LENGTH):
        kept = slice(max(0, t + 1 - window), t + 1)
        step = attention(
            query[..., t : t + 1, :],
            key[..., kept, :],
            value[..., kept, :],
            mask=sliding_window_mask(1, kept.stop - kept.start, window),
        )
        torch.testing.assert_close(step, whole[..., t : t + 1, :])


def test_more_queries_than_keys_leave_the_first_without_any():
    """As in flash-attention 2.1: the first rows see nothing and are zero."""
    query, key, value = random_qkv()
    out = attention(query, key[..., :4, :], value[..., :4, :], causal=True)
    assert (out[..., : LENGTH - 4, :] == 0).all()
    square = attention(
        query[..., -4:, :], key[..., :4, :], value[..., :4, :], causal=True
    )
    torch.testing.assert_close(out[..., LENGTH - 4 :, :], square)


@pytest.mark.parametrize("query", [1, 3, 5])
def test_the_mask_is_torchs_lower_right(query):
    x = torch.randn(1, 1, query, 4), *torch.randn(2, 1, 1, 5, 4)
    theirs = F.scaled_dot_product_attention(
        *x, attn_mask=causal_lower_right(query, 5)
    )
    torch.testing.assert_close(attention(*x, causal=True), theirs)
    if query < 5:  # `is_causal` is another one: query 0 sees key 0 alone
        top_left = F.scaled_dot_product_attention(*x, is_causal=True)
        assert torch.equal(top_left[0, 0, 0], x[2][0, 0, 0])
        assert not torch.allclose(theirs, top_left)


def test_a_step_of_one_token_needs_no_mask():
    query, key, _ = random_qkv()
    last = query[..., -1:, :]
    assert torch.equal(
        attention_weights(last, key, causal=True),
        attention_weights(last, key),
    )
