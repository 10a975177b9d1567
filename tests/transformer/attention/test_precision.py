"""Half precision and autocast: computed in float32, rounded once."""

import pytest
import torch
import torch.nn.functional as F

from llmnotes.transformer.attention import (
    MultiHeadAttention,
    attention,
    attention_weights,
    padding_mask,
)
from llmnotes.transformer.positions import RelativeBias, alibi_bias

HALF = [torch.float16, torch.bfloat16]


def errors(function, inputs, exact, upstream):
    """Largest error of the output and of every gradient."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    out = function(*inputs)
    grads = torch.autograd.grad(out, inputs, upstream.to(out.dtype))
    return [
        (x.double() - y).abs().max().item()
        for x, y in zip((out, *grads), exact, strict=True)
    ]


def exactly(inputs, upstream):
    inputs = [x.double().requires_grad_() for x in inputs]
    out = F.scaled_dot_product_attention(*inputs, is_causal=True)
    return out, *torch.autograd.grad(out, inputs, upstream.double())


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("size", [1, 5])
def test_the_error_is_at_most_twice_torchs(dtype, size):
    torch.manual_seed(0)
    inputs = [x.to(dtype) for x in size * torch.randn(3, 2, 3, 65, 16)]
    upstream = torch.randn(2, 3, 65, 16).to(dtype)
    exact = exactly(inputs, upstream)
    ours = errors(
        lambda *x: attention(*x, causal=True), inputs, exact, upstream
    )
    torchs = errors(
        lambda *x: F.scaled_dot_product_attention(*x, is_causal=True),
        inputs, exact, upstream,
    )  # fmt: skip
    assert all(a <= 2 * b for a, b in zip(ours, torchs, strict=True))


def test_scores_beyond_the_largest_half_are_no_infinity():
    x = torch.full((1, 2, 1), 256.0, dtype=torch.half)
    value = torch.tensor([[[1.0], [3.0]]], dtype=torch.half)
    out = attention(x, x, value)  # scores of 65,536; the largest half: 65,504
    assert out.dtype == torch.half and out.flatten().tolist() == [2, 2]
    assert attention_weights(x, x).flatten().tolist() == [0.5] * 4


@pytest.mark.parametrize("dtype", HALF)
def test_a_float32_bias_fits_half_precision_as_it_does_in_torch(dtype):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 6, 8).to(dtype)
    bias = alibi_bias(4, 6)
    out = attention(query, key, value, mask=bias)
    torchs = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    torch.testing.assert_close(out, torchs)
    with pytest.raises(ValueError, match=r"^mask: got torch\.float64"):
        attention(query, key, value, mask=bias.double())


@pytest.mark.parametrize("mask", ["ALiBi", "relative", "padding", "none"])
def test_autocast_casts_as_it_does_for_torch(mask):
    torch.manual_seed(0)
    layer, x = MultiHeadAttention(16, 4, kv_heads=2), torch.randn(2, 6, 16)
    masks = {
        "ALiBi": alibi_bias(4, 6),
        "relative": RelativeBias(4)(6, 6),
        "padding": padding_mask(torch.tensor([4, 6]), 6),
        "none": None,
    }
    plain = layer(x, mask=masks[mask], causal=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x, mask=masks[mask], causal=True)
        out.sum().backward()
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), plain, atol=2e-2, rtol=2e-2)


def test_under_autocast_types_may_differ_as_they_may_in_torch():
    query, key, value = torch.randn(3, 2, 3, 5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        out = attention(query, key.bfloat16(), value.half())
        assert out.dtype == torch.bfloat16
        wide = attention(*(x.double() for x in (query, key, value)))
        assert wide.dtype == torch.float64
        with pytest.raises(ValueError, match="^key: got dtype torch.bfloat16"):
            attention(query.double(), key, value)
    with pytest.raises(ValueError, match="^key: got dtype torch.bfloat16"):
        attention(query, key.bfloat16(), value)


def test_autocast_does_not_make_the_softmax_coarse():
    torch.manual_seed(0)
    inputs = [x.bfloat16() for x in torch.randn(3, 2, 3, 40, 16)]
    plain = attention(*inputs, causal=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attention(*inputs, causal=True), plain)
