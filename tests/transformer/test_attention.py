"""What the attention chapter claims, proved."""

import math

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.attention.bias import causal_lower_right

from llmnotes.transformer.attention import (
    MultiHeadAttention,
    attention,
    attention_weights,
    block_diagonal_mask,
    causal_mask,
    masked_softmax,
    merge_heads,
    multi_head_attention,
    padding_mask,
    scaled_scores,
    sliding_window_mask,
    split_heads,
)

BATCH, HEADS, KV_HEADS, QUERY, KEY, HEAD_DIM, VALUE_DIM = 2, 6, 3, 5, 7, 4, 9


def random_qkv(kv_heads=KV_HEADS, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    query = torch.randn(BATCH, HEADS, QUERY, HEAD_DIM, dtype=dtype)
    key = torch.randn(BATCH, kv_heads, KEY, HEAD_DIM, dtype=dtype)
    value = torch.randn(BATCH, kv_heads, KEY, VALUE_DIM, dtype=dtype)
    return [x.requires_grad_() for x in (query, key, value)]


def random_mask():
    torch.manual_seed(1)
    return torch.rand(BATCH, 1, QUERY, KEY) > 0.4


OPTIONS = {
    "plain": {},
    "causal": {"causal": True},
    "scale": {"scale": 0.3},
    "bool mask": {"mask": random_mask()},
    "float mask": {"mask": torch.randn(QUERY, KEY, dtype=torch.float64)},
}


def torchs_mask(options, query=QUERY, key=KEY):
    """The mask that torch needs: its `is_causal` is aligned elsewhere."""
    if options.get("causal"):
        return causal_lower_right(query, key)
    return options.get("mask")


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("kv_heads", [1, 2, 3, 6])
def test_output_and_gradient_equal_torch(options, kv_heads):
    inputs = random_qkv(kv_heads)
    ours = attention(*inputs, **options)
    theirs = F.scaled_dot_product_attention(
        *inputs,
        attn_mask=torchs_mask(options),
        scale=options.get("scale"),
        enable_gqa=True,
    )
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(ours)
    for a, b in zip(
        torch.autograd.grad(ours, inputs, upstream),
        torch.autograd.grad(theirs, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_by_hand_three_quarters_of_8_and_one_quarter_of_4_is_7():
    query = torch.tensor([[1.0, 0, 0, 0]])
    key = torch.tensor([[2 * math.log(3), 0, 0, 0], [0, 0, 0, 0]])
    value = torch.tensor([[8.0], [4.0]])
    # Scores: 2 ln 3 / sqrt(4) = ln 3, and 0. Weights: 3/4 and 1/4.
    assert attention(query, key, value).item() == pytest.approx(7)


def test_gradcheck_in_float64():
    mask = random_mask()
    mask[0, 0, 2] = False  # a row that sees nothing
    query, key, value = (x.detach()[:1] for x in random_qkv())
    few = [query[:, :4], key[:, :2], value[:, :2, :, :3]]
    assert torch.autograd.gradcheck(
        lambda *qkv: attention(*qkv, mask=mask[:1]),
        [x.requires_grad_() for x in few],
    )


def test_changing_the_future_changes_nothing():
    query, key, value = random_qkv()
    before = attention(query, key, value, causal=True)
    for i in range(QUERY - 1):
        future = slice(
            KEY - QUERY + i + 1, None
        )  # the last stands at the last
        key2, value2 = key.detach().clone(), value.detach().clone()
        key2[..., future, :] = 1e3
        value2[..., future, :] = -1e3
        after = attention(query, key2, value2, causal=True)
        assert torch.equal(after[..., : i + 1, :], before[..., : i + 1, :])
        assert not torch.allclose(
            attention(query, key2, value2), attention(query, key, value)
        )


def test_the_present_and_the_past_are_seen():
    query, key, value = random_qkv()
    out = attention(query, key, value, causal=True)
    for i in range(QUERY):
        (grad,) = torch.autograd.grad(
            out[..., i, :].sum(), value, retain_graph=True
        )
        seen = grad.abs().sum((0, 1, 3)) > 0
        assert seen.tolist() == [j <= KEY - QUERY + i for j in range(KEY)]


def test_permuting_the_keys_with_their_values_changes_nothing():
    query, key, value = random_qkv()
    order = torch.randperm(KEY)
    torch.testing.assert_close(
        attention(query, key[..., order, :], value[..., order, :]),
        attention(query, key, value),
    )


def test_self_attention_is_permutation_equivariant():
    torch.manual_seed(0)
    layer = MultiHeadAttention(12, heads=3)
    x, order = torch.randn(2, 7, 12), torch.randperm(7)
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order])


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_attention_is_the_mean_of_the_values_with_the_weights(options):
    query, key, value = random_qkv()
    weights = attention_weights(query, key, **options)
    repeated = value.repeat_interleave(HEADS // KV_HEADS, 1)
    torch.testing.assert_close(
        weights @ repeated, attention(query, key, value, **options)
    )


def test_rows_sum_to_one():
    query, key, _ = random_qkv(kv_heads=HEADS)
    weights = masked_softmax(scaled_scores(query, key))
    torch.testing.assert_close(
        weights.sum(-1), torch.ones(BATCH, HEADS, QUERY, dtype=torch.float64)
    )
    assert (weights >= 0).all()


def test_an_output_stays_between_the_smallest_and_largest_value():
    query, key, value = random_qkv()
    out = attention(query, key, value)
    low, high = value.amin(-2), value.amax(-2)
    group = HEADS // KV_HEADS
    low, high = (
        x.repeat_interleave(group, 1)[:, :, None] for x in (low, high)
    )
    assert ((out >= low) & (out <= high)).all()


def test_packed_sequences_equal_separate_ones():
    torch.manual_seed(0)
    layer = MultiHeadAttention(12, heads=3)
    first, second = torch.randn(1, 4, 12), torch.randn(1, 7, 12)
    packed = torch.cat([first, second], dim=1)
    segments = torch.tensor([[0] * 4 + [1] * 7])
    mask = block_diagonal_mask(segments) & causal_mask(11, 11)
    separate = [layer(x, causal=True) for x in (first, second)]
    torch.testing.assert_close(
        layer(packed, mask=mask), torch.cat(separate, dim=1)
    )


def test_padding_changes_nothing():
    torch.manual_seed(0)
    layer = MultiHeadAttention(12, heads=3)
    x = torch.randn(2, 5, 12)
    lengths = torch.tensor([3, 5])
    out = layer(x, mask=padding_mask(lengths, 5))
    torch.testing.assert_close(out[:1, :3], layer(x[:1, :3]))
    torch.testing.assert_close(out[1:], layer(x[1:]))


def test_a_window_of_one_sees_itself_and_a_wide_one_is_causal():
    assert torch.equal(sliding_window_mask(7, 7, 1), torch.eye(7).bool())
    assert torch.equal(sliding_window_mask(5, 7, 7), causal_mask(5, 7))
    assert sliding_window_mask(9, 9, 3).sum(-1).tolist() == [1, 2] + [3] * 7


def test_masks_of_the_last_queries_are_the_last_rows():
    for query in range(1, 10):
        last = slice(9 - query, None)
        whole, part = causal_mask(9, 9), causal_mask(query, 9)
        assert torch.equal(part, whole[last])
        whole = sliding_window_mask(9, 9, 4)
        assert torch.equal(sliding_window_mask(query, 9, 4), whole[last])


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_row_that_sees_nothing_is_zero_and_learns_nothing(kind):
    inputs = random_qkv()
    mask = torch.ones(QUERY, KEY, dtype=torch.bool)
    mask[2] = False
    if kind == "float":
        mask = torch.zeros(QUERY, KEY, dtype=torch.float64).masked_fill(
            ~mask, -torch.inf
        )
    out = attention(*inputs, mask=mask)
    assert (out[..., 2, :] == 0).all() and (out[..., 3, :] != 0).any()
    grads = torch.autograd.grad(out.sum(), inputs)
    assert all(g.isfinite().all() for g in grads)
    assert (grads[0][..., 2, :] == 0).all()


def test_logits_of_ten_thousand_stay_finite():
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        query = torch.tensor([[1e2], [-1e2]], dtype=dtype, requires_grad=True)
        key = torch.tensor([[1e2], [-1e2], [0.0]], dtype=dtype)
        value = torch.tensor([[1.0], [2.0], [3.0]], dtype=dtype)
        out = attention(query, key, value, scale=1.0)
        assert out.flatten().tolist() == [1, 2]
        out.sum().backward()
        assert query.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["key", "value"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_comes_out_only_where_it_was_seen(kind, bad):
    query, key, value = (x.detach() for x in random_qkv())
    clean = attention(query, key, value, causal=True)
    (key if kind == "key" else value)[..., KEY - 2, :] = bad
    out = attention(query, key, value, causal=True)
    before = slice(None, QUERY - 2)
    torch.testing.assert_close(out[..., before, :], clean[..., before, :])
    if kind == "value" or math.isnan(bad):
        assert out[..., QUERY - 2 :, :].isnan().all()


def test_nan_in_a_query_stays_in_its_row():
    query, key, value = (x.detach() for x in random_qkv())
    query[..., 2, :] = math.nan
    bad = attention(query, key, value).isnan().all(-1)
    assert bad.all((0, 1)).tolist() == [i == 2 for i in range(QUERY)]


def test_grouped_heads_equal_repeated_ones():
    query, key, value = random_qkv()
    wide = [x.repeat_interleave(HEADS // KV_HEADS, 1) for x in (key, value)]
    torch.testing.assert_close(
        attention(query, key, value), attention(query, *wide)
    )
    # The other order, x.repeat, hands query head 1 the wrong key head.
    wrong = [x.repeat(1, HEADS // KV_HEADS, 1, 1) for x in (key, value)]
    assert not torch.allclose(
        attention(query, key, value), attention(query, *wrong)
    )


def test_strides_do_not_matter():
    query, key, value = random_qkv()
    strided = [
        rearrange(x, "b h t w -> w t h b").contiguous() for x in (key, value)
    ]
    key2, value2 = (rearrange(x, "w t h b -> b h t w") for x in strided)
    assert not key2.is_contiguous()
    torch.testing.assert_close(
        attention(query, key2, value2), attention(query, key, value)
    )


@pytest.mark.parametrize("cross", [False, True])
def test_multi_head_equals_torch_with_copied_weights(cross):
    torch.manual_seed(0)
    ours, theirs = (
        MultiHeadAttention(12, 3),
        nn.MultiheadAttention(12, 3, batch_first=True),
    )
    with torch.no_grad():
        theirs.in_proj_weight.copy_(
            torch.cat(
                [p.weight for p in (ours.q_proj, ours.k_proj, ours.v_proj)]
            )
        )
        theirs.in_proj_bias.copy_(
            torch.cat(
                [p.bias for p in (ours.q_proj, ours.k_proj, ours.v_proj)]
            )
        )
        theirs.out_proj.load_state_dict(ours.o_proj.state_dict())
    x = torch.randn(2, 5, 12, requires_grad=True)
    context = torch.randn(2, 7, 12) if cross else x
    a = ours(x, context, causal=True)
    # nn.MultiheadAttention's bool mask means the opposite: True is hidden.
    b, _ = theirs(
        x, context, context, attn_mask=~causal_mask(5, context.shape[1])
    )
    torch.testing.assert_close(a, b)
    upstream = torch.randn_like(a)
    (ga, wa) = torch.autograd.grad(a, [x, ours.v_proj.weight], upstream)
    (gb, wb) = torch.autograd.grad(b, [x, theirs.in_proj_weight], upstream)
    torch.testing.assert_close(ga, gb)
    torch.testing.assert_close(wa, wb[-12:])


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
def test_the_einsum_form_equals_the_module(kv_heads):
    torch.manual_seed(0)
    layer = MultiHeadAttention(24, 6, kv_heads=kv_heads, bias=False)
    per_head = "(h width) d -> h d width"
    w_q = rearrange(layer.q_proj.weight, per_head, h=6)
    w_k = rearrange(layer.k_proj.weight, per_head, h=kv_heads)
    w_v = rearrange(layer.v_proj.weight, per_head, h=kv_heads)
    w_o = rearrange(layer.o_proj.weight, "d (h width) -> h width d", h=6)
    x, context = torch.randn(2, 5, 24), torch.randn(2, 7, 24)
    torch.testing.assert_close(
        multi_head_attention(x, context, w_q, w_k, w_v, w_o),
        layer(x, context),
    )


def scaled_queries(query, key, value):
    return 3 * query, key, value


class ToyCache:
    """Keys and values of the tokens so far, in front of the new ones."""

    def __init__(self):
        self.seen = []

    def __call__(self, query, key, value):
        self.seen.append((key, value))
        key, value = (torch.cat(x, -2) for x in zip(*self.seen, strict=True))
        return query, key, value


def test_prepared_queries_and_keys_are_those_that_attend():
    torch.manual_seed(0)
    layer, x = MultiHeadAttention(12, 6, kv_heads=2), torch.randn(2, 5, 12)
    query, key, value = layer.split(x)
    heads = attention(3 * query, key, value, causal=True)
    merged = rearrange(heads, "b h t d -> b t (h d)")
    torch.testing.assert_close(
        layer(x, causal=True, prepare=scaled_queries), layer.o_proj(merged)
    )
    torch.testing.assert_close(
        layer.weights(x, causal=True, prepare=scaled_queries),
        attention_weights(3 * query, key, causal=True),
    )


def test_token_by_token_with_a_cache_equals_the_whole_sequence():
    torch.manual_seed(0)
    layer, x = MultiHeadAttention(12, 6, kv_heads=2), torch.randn(2, 5, 12)
    cache = ToyCache()
    steps = [layer(x[:, t : t + 1], prepare=cache) for t in range(5)]
    torch.testing.assert_close(torch.cat(steps, 1), layer(x, causal=True))
    assert [key.shape[-2] for key, _ in cache.seen] == [1] * 5


def test_the_weights_of_a_layer_are_those_its_output_is_made_of():
    torch.manual_seed(0)
    layer, x = MultiHeadAttention(12, heads=3), torch.randn(2, 5, 12)
    context, mask = torch.randn(2, 7, 12), torch.rand(5, 7) > 0.3
    weights = layer.weights(x, context, mask=mask)
    heads = weights @ layer.split(x, context)[2]
    torch.testing.assert_close(
        layer(x, context, mask=mask),
        layer.o_proj(rearrange(heads, "b h t d -> b t (h d)")),
    )


def test_unscaled_scores_have_variance_d():
    torch.manual_seed(0)
    query, key = torch.randn(2, 1000, 64)
    assert scaled_scores(query, key, scale=1.0).var() == pytest.approx(
        64, rel=0.1
    )
    assert scaled_scores(query, key).var() == pytest.approx(1, rel=0.1)


GOOD = {"query": (2, 6, 5, 4), "key": (2, 3, 7, 4), "value": (2, 3, 7, 9)}
BAD = {
    "key: got head_dim 5, expected query's 4": {"key": (2, 3, 7, 5)},
    "value: got key 8, expected key's 7": {"value": (2, 3, 8, 9)},
    "value: got shape (2, 2, 7, 9), expected key's (2, 3, 7)": {
        "value": (2, 2, 7, 9)
    },
    "key: got 4 heads, expected a divisor of query's 6": {
        "key": (2, 4, 7, 4),
        "value": (2, 4, 7, 9),
    },
    "key: got batch (3,), expected query's (2,)": {
        "key": (3, 3, 7, 4),
        "value": (3, 3, 7, 9),
    },
    "query: got shape (2, 6, 0, 4), expected no empty axis": {
        "query": (2, 6, 0, 4)
    },
    "key: got 3 dimensions, expected 4": {"key": (3, 7, 4)},
    "query: got shape (4,), expected (..., query, head_dim)": {"query": (4,)},
}


@pytest.mark.parametrize(("message", "shapes"), BAD.items())
def test_shapes_that_do_not_fit_are_named(message, shapes):
    tensors = {n: torch.zeros(s) for n, s in (GOOD | shapes).items()}
    with pytest.raises(ValueError) as error:
        attention(**tensors)
    assert str(error.value).startswith(message)


def test_dtypes_devices_and_masks_that_do_not_fit_are_named():
    query, key, value = (torch.zeros(s) for s in GOOD.values())
    cases = {
        "key: got dtype torch.float16, expected query's torch.float32": (
            query, key.half(), value, None,
        ),
        "value: got device meta, expected query's cpu": (
            query, key, value.to("meta"), None,
        ),
        "query: got torch.int64, expected a float dtype": (
            query.long(), key, value, None,
        ),
        "mask: got shape (7, 5)": (query, key, value, torch.ones(7, 5).bool()),
        "mask: got torch.int64": (query, key, value, torch.ones(5, 7).long()),
        "mask: got shape (1, 1, 1, 1, 7)": (
            query, key, value, torch.ones(1, 1, 1, 1, 7).bool(),
        ),
    }  # fmt: skip
    for message, (q, k, v, mask) in cases.items():
        with pytest.raises(ValueError) as error:
            attention(q, k, v, mask=mask)
        assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "name"), [(5, None, "heads"), (6, 4, "kv_heads")]
)
def test_heads_that_do_not_divide_are_named(heads, kv_heads, name):
    with pytest.raises(ValueError, match=f"^{name}: got"):
        MultiHeadAttention(12, heads, kv_heads=kv_heads)


def test_a_window_below_one_is_named():
    with pytest.raises(ValueError, match="^window: got 0"):
        sliding_window_mask(3, 3, 0)


LAYER = {
    "x: got shape (5, 16), expected (batch, query, d_model)": [(5, 16)],
    "x: got shape (2, 1, 5, 16), expected (batch, query": [(2, 1, 5, 16)],
    "x: got d_model 12, expected this layer's 16": [(2, 5, 12)],
    "context: got batch 3, expected x's 2": [(2, 5, 16), (3, 7, 16)],
    "context: got d_model 12, expected x's 16": [(2, 5, 16), (2, 7, 12)],
    "context: got shape (7, 16), expected": [(2, 5, 16), (7, 16)],
}


@pytest.mark.parametrize(("message", "shapes"), LAYER.items())
@pytest.mark.parametrize("method", ["forward", "weights", "split"])
def test_a_layer_names_the_input_that_does_not_fit(message, shapes, method):
    layer = MultiHeadAttention(16, 4)
    with pytest.raises(ValueError) as error:
        getattr(layer, method)(*map(torch.zeros, shapes))
    assert str(error.value).startswith(message)


def test_a_batch_is_not_taken_for_heads_that_share():
    query, key = torch.zeros(4, 5, 8), torch.zeros(2, 7, 8)
    message = r"^key: got 2 in front, expected query's 4"
    with pytest.raises(ValueError, match=message):
        attention(query, key, key)
    with pytest.raises(ValueError, match=message):
        attention_weights(query, key)
    shared = attention(query[None], key[None], key[None])
    assert shared.shape == (1, 4, 5, 8)


def test_heads_and_matrices_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="^heads: got 5, expected a divisor"):
        split_heads(torch.zeros(2, 3, 12), 5)
    with pytest.raises(ValueError, match=r"^x: got shape \(3, 12\)"):
        merge_heads(torch.zeros(3, 12))
    x, w_q = torch.zeros(2, 3, 12), torch.zeros(4, 12, 3)
    with pytest.raises(ValueError, match="^w_o: got heads 3, expected w_q's"):
        multi_head_attention(x, x, w_q, w_q, w_q, torch.zeros(3, 3, 12))
    with pytest.raises(ValueError, match="^w_v: got d_model 11"):
        multi_head_attention(x, x, w_q, w_q, torch.zeros(4, 11, 3), w_q.mT)


size = st.integers(0, 4)
shape = st.lists(size, min_size=1, max_size=5).map(tuple)


@settings(deadline=None, max_examples=150)
@given(query=shape, key=shape, value=shape, causal=st.booleans())
def test_any_shapes_work_or_say_which_argument(query, key, value, causal):
    names = ("query", "key", "value")
    tensors = [torch.randn(s) for s in (query, key, value)]
    try:
        out = attention(*tensors, causal=causal)
    except ValueError as error:
        assert str(error).startswith(tuple(f"{n}: got" for n in names))
    else:
        assert out.shape == (*query[:-1], value[-1])
        assert out.isfinite().all()


lengths = st.integers(1, 9)


@settings(deadline=None, max_examples=60)
@given(lengths, lengths, lengths, st.sampled_from([1, 2, 4]), st.booleans())
def test_any_fitting_shape_equals_torch(query, key, width, kv_heads, causal):
    q = torch.randn(1, 4, query, width)
    k, v = torch.randn(2, 1, kv_heads, key, width)
    torch.testing.assert_close(
        attention(q, k, v, causal=causal),
        F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=causal_mask(query, key) if causal else None,
            enable_gqa=True,
        ),
    )


def test_a_bad_value_that_is_seen_shows_even_if_its_weight_rounds_to_zero():
    """Seen is what the mask allows, not what the weights leave of it."""
    query = torch.tensor([[1.0]])
    key = torch.tensor([[0.0], [-1000.0]])
    value = torch.tensor([[1.0], [torch.nan]])
    assert attention_weights(query, key)[0, 1] == 0
    plain = F.scaled_dot_product_attention(query[None], key[None], value[None])
    assert plain.isnan().all() and attention(query, key, value).isnan().all()
    hidden = torch.tensor([[True, False]])
    assert attention(query, key, value, mask=hidden).item() == 1
