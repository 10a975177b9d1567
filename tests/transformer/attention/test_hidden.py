"""What hides behind a mask reaches neither the output nor a gradient."""

import math

import pytest
import torch
from torch.nn import functional as F

from llmnotes.transformer.attention import (
    attention,
    attention_weights,
    causal_mask,
    padding_mask,
    weighted_sum,
)

BATCH, HEADS, KV_HEADS, QUERY, KEY, WIDTH, DEPTH = 2, 6, 3, 5, 7, 4, 9
REAL = 4  # keys that are no padding


def random_qkv(seed=0):
    torch.manual_seed(seed)
    query = torch.randn(BATCH, HEADS, QUERY, WIDTH, dtype=torch.float64)
    key = torch.randn(BATCH, KV_HEADS, KEY, WIDTH, dtype=torch.float64)
    value = torch.randn(BATCH, KV_HEADS, KEY, DEPTH, dtype=torch.float64)
    return query, key, value


def with_gradients(query, key, value, **options):
    """Output and gradients, of which no row's upstream gradient is special."""
    inputs = [x.detach().requires_grad_() for x in (query, key, value)]
    out = attention(*inputs, **options)
    upstream = torch.arange(out.numel(), dtype=out.dtype).view_as(out).sin()
    return [out.detach(), *torch.autograd.grad(out, inputs, upstream)]


def as_float(mask):
    return torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)


MASKS = {
    "bool": lambda m: m,
    "float": as_float,
    "float with a bias": lambda m: as_float(m) + torch.randn(HEADS, 1, KEY),
}


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["key", "value", "both"])
def test_bad_padding_is_as_good_as_none(kind, bad, where):
    query, key, value = random_qkv()
    torch.manual_seed(1)
    mask = MASKS[kind](torch.arange(KEY) < REAL)
    real = mask[..., :REAL]
    wanted = with_gradients(
        query, key[..., :REAL, :], value[..., :REAL, :], mask=real
    )
    if where != "value":
        key[..., REAL:, :] = bad
    if where != "key":
        value[..., REAL:, 2] = bad
    found = with_gradients(query, key, value, mask=mask)
    for x, y in zip(found[:2], wanted[:2], strict=True):
        torch.testing.assert_close(x, y)
    for x, y in zip(found[2:], wanted[2:], strict=True):
        torch.testing.assert_close(x[..., :REAL, :], y)
        assert (x[..., REAL:, :] == 0).all()


def test_the_gradient_of_a_query_worked_by_hand():
    query = torch.tensor([[[1.0, 0.0]]], requires_grad=True)
    key = torch.tensor([[[1.0, 1.0], [0.0, 1.0], [math.nan, 0.0]]])
    value = torch.tensor([[[1.0], [2.0], [3.0]]])
    mask = torch.tensor([True, True, False])
    attention(query, key, value, mask=mask).sum().backward()
    # Weights p and 1 - p with ln(p/(1 - p)) = 1/√2: dq₀ = -p(1 - p)/√2.
    p = torch.tensor(1 / math.sqrt(2)).sigmoid()
    wanted = [-(p * (1 - p)).item() / math.sqrt(2), 0.0]
    assert query.grad.flatten().tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["query", "key", "value"])
def test_bad_numbers_of_the_future_leave_the_past_alone(bad, where):
    inputs = dict(zip(("query", "key", "value"), random_qkv(), strict=True))
    first = KEY - 3
    wanted = with_gradients(
        inputs["query"][..., : QUERY - 3, :],
        inputs["key"][..., :first, :],
        inputs["value"][..., :first, :],
        causal=True,
    )
    rows = inputs[where].shape[-2]
    inputs[where][..., rows - 3 :, :] = bad
    tensors = [x.detach().requires_grad_() for x in inputs.values()]
    out = attention(*tensors, causal=True)[..., : QUERY - 3, :]
    upstream = torch.arange(out.numel(), dtype=out.dtype).view(out.shape).sin()
    (dq,) = torch.autograd.grad(out, tensors[:1], upstream)
    torch.testing.assert_close(out, wanted[0])
    torch.testing.assert_close(dq[..., : QUERY - 3, :], wanted[1])


def test_a_bad_query_that_sees_nothing_spoils_nobody():
    query, key, value = random_qkv()
    mask = torch.ones(QUERY, KEY, dtype=torch.bool)
    mask[2] = False
    wanted = with_gradients(query, key, value, mask=mask)
    query[..., 2, :] = math.nan
    found = with_gradients(query, key, value, mask=mask)
    for x, y in zip(found, wanted, strict=True):
        torch.testing.assert_close(x, y)


def test_keys_that_a_bad_query_may_not_see_keep_their_gradient():
    query, key, value = random_qkv()
    query[..., 0, :] = math.nan  # causal: it sees the first three keys
    seen = KEY - QUERY + 1
    _, _, dk, dv = with_gradients(query, key, value, causal=True)
    assert dv[..., :seen, :].isnan().any()
    for grad in (dk, dv):
        assert grad[..., seen:, :].isfinite().all()


def test_a_learned_bias_gets_its_gradient_and_none_where_it_hides():
    query, key, value = random_qkv()
    key[..., -1, :] = math.nan
    bias = torch.randn(HEADS, QUERY, KEY, dtype=torch.float64)
    bias[..., -1] = -torch.inf
    bias.requires_grad_()
    attention(query, key, value, mask=bias).square().sum().backward()
    assert bias.grad.isfinite().all() and (bias.grad[..., -1] == 0).all()
    assert (bias.grad[..., :-1] != 0).all()


def test_a_nan_that_is_seen_is_not_hidden():
    query, key, value = random_qkv()
    key[..., 1, :] = math.nan
    out, dq, _, _ = with_gradients(query, key, value, causal=True)
    assert out.isnan().all() and dq.isnan().all()
    lowest = torch.full((KEY,), 0.0, dtype=torch.float64)
    lowest[1] = torch.finfo(torch.float64).min  # no -inf: it does not hide
    assert attention(query, key, value, mask=lowest).isnan().all()


def test_weights_of_hidden_keys_are_zero_in_a_row_of_nan():
    query, key, _ = random_qkv()
    query[..., 1, :] = math.nan
    weights = attention_weights(query, key, causal=True)
    seen = causal_mask(QUERY, KEY)
    assert weights[..., 1, :].isnan().sum() == seen[1].sum() * BATCH * HEADS
    assert (weights[..., ~seen] == 0).all()


def test_padding_of_every_length_with_bad_numbers_behind_it():
    query, key, value = random_qkv()
    lengths = torch.tensor([3, 6])
    wanted = attention(query, key, value, mask=padding_mask(lengths, KEY))
    for x in (key, value):
        x[0, :, 3:], x[1, :, 6:] = math.nan, math.inf
    found = attention(query, key, value, mask=padding_mask(lengths, KEY))
    torch.testing.assert_close(found, wanted)


def test_second_derivatives_pass_through_a_masked_attention():
    query, key, value = (x[:1, :, :3, :2] for x in random_qkv())
    key[..., -1, :] = math.nan
    mask = torch.tensor([True, True, False])
    inputs = [x.detach().requires_grad_() for x in (query, value)]
    assert torch.autograd.gradgradcheck(
        lambda q, v: attention(q, key, v, mask=mask), inputs
    )


def test_a_plain_product_does_leak():
    """The fault that all this is about, in PyTorch's own words."""
    weights = torch.tensor([[1.0, 0.0]])
    value = torch.tensor([[5.0], [math.nan]])
    assert (weights @ value).isnan().all()
    seen = torch.tensor([True, False])
    assert weighted_sum(weights, value, seen).item() == 5
    query, key = torch.ones(1, 1, 1), torch.tensor([[[1.0], [math.nan]]])
    value = torch.ones(1, 2, 1)
    torchs = F.scaled_dot_product_attention(
        query, key, value, attn_mask=seen[None]
    )
    assert torchs.isnan().all()  # NaN - inf is NaN: it adds the mask
    assert attention(query, key, value, mask=seen).item() == 1
