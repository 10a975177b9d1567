"""What causality hides reaches no gradient, and autocast casts no sums."""

import functools
import math

import pytest
import torch

from llmnotes.kernels.attention_speed import memory_efficient_attention
from llmnotes.kernels.flash_attention import cpu, reference
from llmnotes.transformer.attention import attention

KEYS, PAST = 20, 11
PROGRAMS = {
    "chunks": functools.partial(
        memory_efficient_attention, query_chunk=4, key_chunk=5
    ),
    "one chunk": memory_efficient_attention,
    "reference": reference.flash_attention,
    "cpu": cpu.flash_attention,
}


def tensors(queries=KEYS):
    torch.manual_seed(0)
    return [torch.randn(1, 2, n, 8) for n in (queries, KEYS, KEYS, queries)]


def with_gradients(function, query, key, value, upstream, **options):
    inputs = [x.detach().requires_grad_() for x in (query, key, value)]
    out = function(*inputs, **options)
    return out.detach(), *torch.autograd.grad(out, inputs, upstream)


@pytest.mark.parametrize("queries", [KEYS, 13, 10])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["key", "value", "both"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_queries_before_a_bad_key_do_as_if_it_were_not_there(
    name, where, bad, queries
):
    query, key, value, upstream = tensors(queries)
    rows = PAST - (KEYS - queries)  # queries that stand before the bad keys
    early = query[:, :, :rows], key[:, :, :PAST], value[:, :, :PAST]
    wanted = with_gradients(
        attention, *early, upstream[:, :, :rows], causal=True
    )
    if where != "value":
        key[:, :, PAST:] = bad
    if where != "key":
        value[:, :, PAST:] = bad
    found = with_gradients(
        PROGRAMS[name], query, key, value, upstream, causal=True
    )
    for x, y in zip(found[:2], wanted[:2], strict=True):
        torch.testing.assert_close(x[:, :, :rows], y, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("now", [0, 7, KEYS - 2])
@pytest.mark.parametrize("name", PROGRAMS)
def test_keys_after_a_bad_query_get_the_gradient_of_the_others(name, now, bad):
    query, key, value, upstream = tensors()
    wanted = with_gradients(
        PROGRAMS[name], query, key, value, upstream, causal=True
    )
    query[:, :, now] = bad
    found = with_gradients(
        PROGRAMS[name], query, key, value, upstream, causal=True
    )
    for x, y in zip(found[2:], wanted[2:], strict=True):
        later = slice(now + 1, None)
        torch.testing.assert_close(x[:, :, later], y[:, :, later])


@pytest.mark.parametrize("backward_inside", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_autocast_gives_its_type_and_the_sums_of_float32(
    name, backward_inside
):
    query, key, value, upstream = tensors()
    inputs = [x.requires_grad_() for x in (query, key, value)]
    plain = with_gradients(attention, *inputs, upstream.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        out = PROGRAMS[name](*inputs)
        assert out.dtype == torch.bfloat16
        if backward_inside:
            out.backward(upstream.bfloat16())
    if not backward_inside:
        out.backward(upstream.bfloat16())
    assert torch.equal(out, plain[0].bfloat16()) or (
        (out - plain[0]).abs().max() < 2**-8 * plain[0].abs().max()
    )
    found = [x.grad for x in inputs]
    limit = 2e-2 if backward_inside and "chunk" in name else 1e-5
    for x, y in zip(found, plain[1:], strict=True):
        assert x.dtype == torch.float32
        torch.testing.assert_close(x, y, atol=limit, rtol=limit)


@pytest.mark.parametrize("name", PROGRAMS)
def test_under_autocast_types_may_differ(name):
    query, key, value, _ = tensors()
    with torch.autocast("cpu", torch.bfloat16):
        out = PROGRAMS[name](query, key.bfloat16(), value.half())
    wanted = attention(query, key.bfloat16().float(), value.half().float())
    torch.testing.assert_close(out.float(), wanted, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_score_that_no_half_can_hold_is_no_infinity(name):
    x = torch.full((1, 1, 2, 1), 256.0, dtype=torch.half)
    value = torch.tensor([1.0, 3.0], dtype=torch.half).view(1, 1, 2, 1)
    assert PROGRAMS[name](x, x, value).flatten().tolist() == [2, 2]


@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_a_second_derivative_is_refused_and_not_zero(name):
    query, key, value, _ = tensors()
    query.requires_grad_()
    out = PROGRAMS[name](query, key, value).sum()
    (slope,) = torch.autograd.grad(out, query, create_graph=True)
    with pytest.raises(RuntimeError, match="^FlashAttention: got a second"):
        slope.square().sum().backward()
