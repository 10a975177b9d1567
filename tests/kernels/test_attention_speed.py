"""What the attention speed chapter claims, proved."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from einops import einsum
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from llmnotes.kernels.attention_speed import (
    CONTESTANTS,
    attention_over_heads,
    backward_flops,
    forward,
    forward_backward,
    forward_flops,
    fused_backward_traffic,
    fused_forward_traffic,
    memory_efficient_attention,
    merge,
    pairs,
    roof,
    row_error,
    same_answers,
    summarise,
    unfused_backward_traffic,
    unfused_forward_traffic,
)
from llmnotes.transformer.attention import attention, causal_mask

BATCH, HEADS, KV_HEADS, QUERY, KEY, HEAD_DIM, VALUE_DIM = 2, 6, 3, 11, 13, 4, 9


def random_qkv(query=QUERY, key=KEY, kv_heads=KV_HEADS, dtype=torch.float64):
    torch.manual_seed(0)
    shapes = [
        (BATCH, HEADS, query, HEAD_DIM),
        (BATCH, kv_heads, key, HEAD_DIM),
        (BATCH, kv_heads, key, VALUE_DIM),
    ]
    return [torch.randn(s, dtype=dtype).requires_grad_() for s in shapes]


def race_inputs(length=37, heads=3, dtype=torch.float32):
    torch.manual_seed(0)
    return [torch.randn(1, heads, length, 8, dtype=dtype) for _ in range(3)]


# Memory-efficient attention ------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 3, 6])
@pytest.mark.parametrize("query, key", [(11, 13), (13, 11), (1, 7), (7, 1)])
def test_output_and_gradient_equal_torch(query, key, kv_heads, causal):
    inputs = random_qkv(query, key, kv_heads)
    ours = memory_efficient_attention(
        *inputs, causal=causal, scale=0.7, query_chunk=4, key_chunk=3
    )
    mask = causal_mask(query, key) if causal else None
    theirs = F.scaled_dot_product_attention(
        *inputs, attn_mask=mask, scale=0.7, enable_gqa=True
    )
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(ours)
    for a, b in zip(
        torch.autograd.grad(ours, inputs, upstream),
        torch.autograd.grad(theirs, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("query_chunk", [1, 2, 5, 11, 64])
@pytest.mark.parametrize("key_chunk", [1, 3, 4, 13, 64])
def test_every_chunk_size_gives_the_plain_answer(
    query_chunk, key_chunk, causal
):
    inputs = random_qkv()
    chunked = functools.partial(
        memory_efficient_attention,
        query_chunk=query_chunk,
        key_chunk=key_chunk,
    )
    ours, plain = (f(*inputs, causal=causal) for f in (chunked, attention))
    torch.testing.assert_close(ours, plain)
    upstream = torch.randn_like(ours)
    for a, b in zip(
        torch.autograd.grad(ours, inputs, upstream),
        torch.autograd.grad(plain, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@settings(deadline=None, max_examples=40)
@given(
    query=st.integers(1, 9),
    key=st.integers(1, 9),
    query_chunk=st.integers(1, 10),
    key_chunk=st.integers(1, 10),
    causal=st.booleans(),
)
def test_any_lengths_and_chunks(query, key, query_chunk, key_chunk, causal):
    inputs = random_qkv(query, key)
    ours = memory_efficient_attention(
        *inputs, causal=causal, query_chunk=query_chunk, key_chunk=key_chunk
    )
    torch.testing.assert_close(ours, attention(*inputs, causal=causal))


def test_summaries_merge_into_the_summary_of_the_whole():
    query, key, value = random_qkv(kv_heads=HEADS)
    seen = torch.rand(QUERY, KEY) > 0.3
    whole = summarise(query, key, value, seen, None)
    first, second = (
        summarise(query, key[..., s, :], value[..., s, :], seen[:, s], None)
        for s in (slice(0, 5), slice(5, KEY))
    )
    for a, b in zip(merge(first, second), whole, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_logits_neither_overflow_nor_vanish(size):
    query, key, value = random_qkv()
    query = query * abs(size)
    key = key.abs() * math.copysign(1, size)
    ours = memory_efficient_attention(
        query, key, value, causal=True, query_chunk=3, key_chunk=2
    )
    torch.testing.assert_close(ours, attention(query, key, value, causal=True))
    assert ours.isfinite().all()


@pytest.mark.parametrize("which", ["key", "value"])
def test_nan_comes_out_only_where_it_was_seen(which):
    inputs = dict(zip(("query", "key", "value"), random_qkv(), strict=True))
    bad = inputs[which].detach().clone()
    bad[..., 6, 1] = torch.nan
    out = memory_efficient_attention(
        **inputs | {which: bad}, causal=True, query_chunk=4, key_chunk=5
    )
    bad_rows = out.isnan().any(-1).all((0, 1))
    first = 6 - (KEY - QUERY)  # the last query stands at the last key
    assert bad_rows.tolist() == [i >= first for i in range(QUERY)]
    assert not out[..., :first, :].isnan().any()


def test_non_contiguous_inputs_give_the_same_answer():
    inputs = [x.transpose(-1, -2).contiguous().mT for x in random_qkv()]
    assert not inputs[0].is_contiguous()
    torch.testing.assert_close(
        memory_efficient_attention(*inputs, key_chunk=4), attention(*inputs)
    )


def test_in_bf16_the_error_is_at_most_twice_that_of_plain_attention():
    exact = race_inputs(length=203, dtype=torch.float64)
    rounded = [x.bfloat16() for x in exact]
    expected = attention(*(x.double() for x in rounded), causal=True)
    errors = [
        (f(*rounded, causal=True).double() - expected).abs().max()
        for f in (
            functools.partial(
                memory_efficient_attention, query_chunk=32, key_chunk=16
            ),
            attention,
        )
    ]
    assert errors[0] <= 2 * errors[1]


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **kwargs or {})
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, torch.Tensor):
                self.elements = max(self.elements, x.numel())
        return out


def test_no_tensor_ever_holds_more_than_a_chunk_of_scores():
    length, heads = 96, 3
    inputs = race_inputs(length)
    small = functools.partial(
        memory_efficient_attention, query_chunk=16, key_chunk=24
    )
    with Largest() as ours:
        forward_backward(small, *inputs)
    with Largest() as naive:
        forward_backward(attention, *inputs)
    assert ours.elements == max(heads * 16 * 24, inputs[0].numel())
    assert naive.elements == heads * length * length


def kept_for_backward(function, inputs):
    """Bytes that autograd holds between forward and backward."""
    storages = {}

    def pack(x):
        storages[x.untyped_storage().data_ptr()] = x.untyped_storage()
        return x

    inputs = [x.requires_grad_() for x in inputs]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = function(*inputs, causal=True)
    given = {x.untyped_storage().data_ptr() for x in (*inputs, out)}
    return sum(s.nbytes() for p, s in storages.items() if p not in given)


def test_memory_kept_for_the_backward_pass_does_not_hold_the_scores():
    small = functools.partial(
        memory_efficient_attention, query_chunk=64, key_chunk=64
    )
    ours = [kept_for_backward(small, race_inputs(n)) for n in (256, 512)]
    naive = [kept_for_backward(attention, race_inputs(n)) for n in (256, 512)]
    assert naive[1] / naive[0] > 3.9  # N²
    assert ours[1] < naive[1] / 20


@pytest.mark.parametrize(
    "change, name",
    [
        ({"query_chunk": 0}, "query_chunk"),
        ({"key_chunk": -1}, "key_chunk"),
        ({"key": torch.zeros(2, 3, 13, 5, dtype=torch.float64)}, "key"),
        ({"key": torch.zeros(2, 3, 0, 4, dtype=torch.float64)}, "key"),
        ({"key": torch.zeros(2, 4, 13, 4, dtype=torch.float64)}, "key"),
        ({"value": torch.zeros(2, 3, 12, 9, dtype=torch.float64)}, "value"),
        ({"value": torch.zeros(2, 3, 13, 9)}, "value"),
        ({"query": torch.zeros(2, 3, 11, 4, dtype=torch.int64)}, "query"),
    ],
)
def test_bad_input_raises_an_error_that_names_the_argument(change, name):
    inputs = dict(zip(("query", "key", "value"), random_qkv(), strict=True))
    with pytest.raises(ValueError, match=rf"^{name}: got .* expected"):
        memory_efficient_attention(**inputs | change)


# The mistake ---------------------------------------------------------------


def test_over_heads_a_change_in_token_0_never_reaches_token_5():
    query, key, value = race_inputs(length=6)
    changed = value.clone()
    changed[:, :, 0] += 100
    moved = {
        name: (f(query, key, changed) - f(query, key, value))[:, :, 5].abs()
        for name, f in CONTESTANTS.items() | {("wrong", attention_over_heads)}
    }
    assert moved.pop("wrong").max() == 0
    assert all(m.min() > 0.01 for m in moved.values())


def test_over_heads_the_causal_mask_hides_heads():
    query, key, value = race_inputs(length=6, heads=4)
    out = attention_over_heads(query, key, value, causal=True)
    torch.testing.assert_close(out[:, 0], value[:, 0])  # sees itself alone


def test_over_heads_2048_tokens_with_32_heads_score_64_times_too_little():
    right = 32 * pairs(2048, 2048, causal=False)
    wrong = 2048 * pairs(32, 32, causal=False)
    assert right == 64 * wrong


@pytest.mark.parametrize("run", [forward, forward_backward])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_contestants_give_the_same_answers(run, dtype):
    inputs = race_inputs(length=515, dtype=dtype)
    assert same_answers(CONTESTANTS, *inputs, run=run).keys() == set(
        CONTESTANTS
    )


def test_the_answers_keep_the_dtype():
    inputs = race_inputs(dtype=torch.bfloat16)
    for function in CONTESTANTS.values():
        answers = forward_backward(function, *inputs)
        assert [x.dtype for x in answers] == [torch.bfloat16] * 4


def test_naive_attention_in_bfloat16_is_not_its_own_referee():
    inputs = race_inputs(dtype=torch.bfloat16)
    assert same_answers({"naive": attention}, *inputs)["naive"] > 1e-4


def other_weights(query, key, value, *, causal):
    """The same attention behind a projection of its own."""
    torch.manual_seed(1)
    weight = torch.randn(8, 8) / math.sqrt(8)
    query = einsum(query, weight.to(query), "... i, o i -> ... o")
    return attention(query, key, value, causal=causal)


def not_causal(query, key, value, *, causal):
    return attention(query, key, value, causal=False)


def shifted_by_one(query, key, value, *, causal):
    out = attention(query, key, value, causal=causal)
    return torch.cat([out[..., :1, :], out[..., :-1, :]], dim=-2)


def last_row_scaled(query, key, value, *, causal):
    """Wrong in one late, small row only."""
    out = attention(query, key, value, causal=causal).clone()
    out[..., -1, :] *= 1.5
    return out


def no_answer(query, key, value, *, causal):
    return torch.full_like(value, torch.nan)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "wrong",
    [
        other_weights,
        not_causal,
        shifted_by_one,
        last_row_scaled,
        no_answer,
        attention_over_heads,
    ],
)
def test_a_wrong_contestant_stops_the_race(wrong, dtype):
    inputs = race_inputs(length=515, dtype=dtype)
    with pytest.raises(ValueError, match=r"^contestants\['new'\]: got"):
        same_answers({"naive": attention, "new": wrong}, *inputs)


def wrong_gradient(query, key, value, *, causal):
    """The right output, but no gradient through the keys' future scores."""
    out = attention(query, key, value, causal=causal)
    half = attention(query, key.detach() + key * 0, value, causal=causal)
    return out.detach() + (half - half.detach())


def test_a_wrong_gradient_stops_the_race_that_includes_it():
    planted = {"new": wrong_gradient}
    inputs = race_inputs()
    assert same_answers(planted, *inputs)["new"] < 1e-5
    with pytest.raises(ValueError, match="contestants"):
        same_answers(planted, *inputs, run=forward_backward)


def test_the_gradient_raced_is_that_of_output_times_query():
    inputs = [x.requires_grad_() for x in race_inputs()]
    out, *grads = forward_backward(attention, *inputs)
    loss = (attention(*inputs, causal=True) * inputs[0].detach()).sum()
    for a, b in zip(grads, torch.autograd.grad(loss, inputs), strict=True):
        torch.testing.assert_close(a, b)


def test_an_error_is_measured_against_its_own_row():
    expected = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    got = torch.tensor([[3.0, 4.0], [0.5, 0.0]])
    typical = math.sqrt(25 / 2)  # row norms 5 and 0
    assert row_error(got, expected) == pytest.approx(0.5 / typical)
    late = expected.flip(0), got.flip(0)
    assert row_error(*late[::-1]) == pytest.approx(0.5 / typical)


# The counts ----------------------------------------------------------------


def test_by_hand_two_queries_and_three_keys_make_five_pairs():
    # Two queries: the last sees all three keys, the first two of them.
    assert pairs(2, 3, causal=True) == 2 + 3
    assert pairs(3, 2, causal=True) == 0 + 1 + 2  # the first sees none
    assert pairs(3, 2, causal=False) == 6
    # A pair of width 4: 4 products and 4 sums for the score, as many for PV.
    assert forward_flops(2, 3, 4, causal=True) == 5 * (8 + 8)
    assert backward_flops(2, 3, 4, causal=True) == 5 * (8 + 8 + 8 + 8)


@given(st.integers(1, 20), st.integers(1, 20), st.booleans())
def test_pairs_are_the_true_entries_of_the_mask(query, key, causal):
    mask = causal_mask(query, key) if causal else torch.ones(query, key)
    assert pairs(query, key, causal) == mask.sum()


def test_torch_counts_the_same_flops_where_it_counts():
    query, key, value = (x.requires_grad_() for x in race_inputs(37, 3))
    per_head = (37, 37, 8, False)
    with FlopCounterMode(display=False) as counter:
        out = attention(query, key, value)
    assert counter.get_total_flops() == 3 * forward_flops(*per_head)
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    assert counter.get_total_flops() == 3 * backward_flops(*per_head)


def test_torch_counts_the_masked_half_and_misses_its_own_fused_kernel():
    inputs = race_inputs(37, 3)
    whole = 3 * forward_flops(37, 37, 8, causal=False)
    with FlopCounterMode(display=False) as counter:
        attention(*inputs, causal=True)
    assert counter.get_total_flops() == whole
    with FlopCounterMode(display=False) as counter:
        F.scaled_dot_product_attention(*inputs, is_causal=True)
    assert counter.get_total_flops() in (0, whole)  # 0 up to torch 2.13


def test_by_hand_unfused_1024_by_64_moves_4456448_numbers():
    # 4N² + 4Nd = 4·1,048,576 + 4·65,536 [FlashAttention, theorem 2].
    assert unfused_forward_traffic(1024, 1024, 64) == 4_456_448
    assert fused_forward_traffic(1024, 1024, 64) == 262_144
    # Backward: 8Nd, and 7 passes over N².
    assert fused_backward_traffic(1024, 1024, 64) == 524_288
    assert unfused_backward_traffic(1024, 1024, 64) == 7_864_320


def test_the_fused_traffic_is_the_size_of_inputs_and_output():
    query, key, value = race_inputs()
    out = attention(query, key, value)
    sizes = sum(x.numel() for x in (query, key, value, out))
    assert 3 * fused_forward_traffic(37, 37, 8) == sizes


def test_the_roof_is_memory_on_the_left_and_arithmetic_on_the_right():
    assert roof(0.5, peak=300e9, bandwidth=30e9) == 15e9
    assert roof(10.0, peak=300e9, bandwidth=30e9) == 300e9  # the ridge
    assert roof(1000.0, peak=300e9, bandwidth=30e9) == 300e9
