"""What the RoPE chapter claims, proved."""

import math

import pytest
import torch
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPTNeoXConfig, LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.gpt_neox.modeling_gpt_neox import (
    GPTNeoXRotaryEmbedding,
)
from transformers.models.gpt_neox.modeling_gpt_neox import (
    apply_rotary_pos_emb as apply_neox,
)
from transformers.models.llama.modeling_llama import (
    LlamaRotaryEmbedding,
    apply_rotary_pos_emb,
)

from llmnotes.transformer.attention import (
    MultiHeadAttention,
    attention,
    causal_mask,
    merge_heads,
)
from llmnotes.transformer.positions import frequencies, shift_matrix
from llmnotes.transformer.rope import (
    Rotary,
    angles,
    angles_at,
    decay_bound,
    interleaved_to_half_split,
    ntk,
    position_interpolation,
    rotate,
    rotate_interleaved,
    rotate_partial,
    yarn,
    yarn_scale,
)
from tests.transformer.test_attention import ToyCache

BATCH, HEADS, KV_HEADS, LENGTH, HEAD_DIM = 2, 6, 3, 7, 10
LAYOUTS = [rotate, rotate_interleaved]


def random_qk(length=LENGTH, head_dim=HEAD_DIM, dtype=torch.float64):
    torch.manual_seed(0)
    query = torch.randn(BATCH, HEADS, length, head_dim, dtype=dtype)
    key = torch.randn(BATCH, KV_HEADS, length, head_dim, dtype=dtype)
    return query.requires_grad_(), key.requires_grad_()


def at(positions, head_dim=HEAD_DIM):
    return angles(torch.as_tensor(positions), head_dim, dtype=torch.float64)


def test_rotation_equals_complex_multiplication_forward_and_gradient():
    query, _ = random_qk()
    turn = at(range(LENGTH))
    pairs = torch.view_as_complex(query.unflatten(-1, (-1, 2)))
    theirs = torch.view_as_real(pairs * torch.polar(turn.new_ones(()), turn))
    ours, theirs = rotate_interleaved(query, turn), theirs.flatten(-2)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(ours)
    (a,) = torch.autograd.grad(ours, query, upstream)
    (b,) = torch.autograd.grad(theirs, query, upstream)
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("base", [10000.0, 500000.0])
def test_rotation_equals_hugging_face_llama_forward_and_gradient(base):
    config = LlamaConfig(hidden_size=HEADS * 16, num_attention_heads=HEADS)
    config.rope_parameters = {"rope_type": "default", "rope_theta": base}
    inputs = random_qk(head_dim=16, dtype=torch.float32)
    positions = torch.arange(3, 3 + LENGTH)
    cos, sin = LlamaRotaryEmbedding(config)(inputs[0], positions[None])
    theirs = apply_rotary_pos_emb(*inputs, cos, sin)
    turn = angles(positions, 16, base)
    for x, a, b in zip(
        inputs, (rotate(x, turn) for x in inputs), theirs, strict=True
    ):
        torch.testing.assert_close(a, b)
        upstream = torch.randn_like(a)
        (ga,) = torch.autograd.grad(a, x, upstream)
        (gb,) = torch.autograd.grad(b, x, upstream)
        torch.testing.assert_close(ga, gb)


def test_partial_rotation_equals_hugging_face_gpt_neox():
    config = GPTNeoXConfig(hidden_size=HEADS * 16, num_attention_heads=HEADS)
    config.rope_parameters = {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.25,
    }
    query, _ = random_qk(head_dim=16, dtype=torch.float32)
    positions = torch.arange(LENGTH)
    cos, sin = GPTNeoXRotaryEmbedding(config)(query, positions[None])
    theirs, _ = apply_neox(query, query, cos, sin)
    ours = rotate_partial(query, angles(positions, 4))
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(ours[..., 4:], query[..., 4:])


def test_by_hand_a_quarter_turn_sends_x_to_y():
    quarter = torch.tensor([[math.pi / 2]], dtype=torch.float64)
    for turn in LAYOUTS:
        out = turn(torch.tensor([[1.0, 0.0]], dtype=torch.float64), quarter)
        torch.testing.assert_close(out, out.new_tensor([[0.0, 1.0]]))


def test_frequencies_begin_at_one():
    theta = frequencies(8).tolist()
    assert theta == pytest.approx([1, 0.1, 0.01, 0.001])
    i = torch.arange(4)  # from 0, put into the formula that counts from 1
    wrong = 10000.0 ** (-2 * (i - 1) / 8)
    assert wrong.tolist() == pytest.approx([10, 1, 0.1, 0.01])


@pytest.mark.parametrize("turn", LAYOUTS)
def test_position_zero_is_left_alone_and_norms_are_kept(turn):
    query, _ = random_qk()
    out = turn(query, at(range(LENGTH)))
    assert torch.equal(out[..., 0, :], query[..., 0, :])
    assert not torch.allclose(out[..., 1, :], query[..., 1, :])
    torch.testing.assert_close(out.norm(dim=-1), query.norm(dim=-1))


@pytest.mark.parametrize("turn", LAYOUTS)
@pytest.mark.parametrize("shift", [1, 13, 1000])
def test_scores_depend_only_on_the_lag(turn, shift):
    query, key = random_qk()
    key = key.repeat_interleave(HEADS // KV_HEADS, 1)
    here, there = at(range(LENGTH)), at(range(shift, shift + LENGTH))
    near = turn(query, here) @ turn(key, here).mT
    far = turn(query, there) @ turn(key, there).mT
    assert (near - far).abs().max() < 1e-12 * shift


def mixed(x, turn):
    """The mistake: angles for half-split, partners from interleaved."""
    cos, sin = (torch.cat([f, f], -1) for f in (turn.cos(), turn.sin()))
    even, odd = x[..., ::2], x[..., 1::2]
    return x * cos + torch.stack([-odd, even], -1).flatten(-2) * sin


def scores_at_lag_2(turn, query, key, positions=range(2, 7)):
    return [
        (turn(query, at([m], 4)) @ turn(key, at([m - 2], 4)).mT).item()
        for m in positions
    ]


def test_mixing_the_layouts_is_not_a_rotation():
    query = torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)
    key = torch.tensor([[4.0, 3.0, 2.0, 1.0]], dtype=torch.float64)
    for turn in LAYOUTS:
        scores = scores_at_lag_2(turn, query, key)
        assert max(scores) - min(scores) < 1e-12
    scores = scores_at_lag_2(mixed, query, key)
    assert max(scores) - min(scores) > 1
    assert abs(mixed(query, at([1], 4)).norm() - query.norm()) > 0.1


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 20), st.integers(0, 500))
def test_a_permutation_leads_from_one_layout_to_the_other(half, position):
    torch.manual_seed(0)
    x = torch.randn(3, 1, 2 * half, dtype=torch.float64)
    order = interleaved_to_half_split(2 * half)
    turn = at([position], 2 * half)
    assert torch.equal(
        rotate(x[..., order], turn), rotate_interleaved(x, turn)[..., order]
    )
    assert torch.equal(order.argsort()[order], torch.arange(2 * half))


def test_permuting_the_rows_of_both_projections_changes_no_score():
    torch.manual_seed(0)
    x = torch.randn(LENGTH, 9, dtype=torch.float64)
    w_q, w_k = torch.randn(2, 9, HEAD_DIM, dtype=torch.float64)
    order, turn = interleaved_to_half_split(HEAD_DIM), at(range(LENGTH))
    one = [rotate_interleaved(x @ w, turn) for w in (w_q, w_k)]
    other = [rotate(x @ w[:, order], turn) for w in (w_q, w_k)]
    torch.testing.assert_close(one[0] @ one[1].mT, other[0] @ other[1].mT)


def test_turning_a_query_by_sinusoids_is_their_shift_matrix():
    # The chapter before proved PE(pos + k) = PE(pos) R_k with this R_k. Its
    # pairs are (sin, cos), ours (cos, sin): the same turn the other way.
    query, _ = random_qk()
    turned = rotate_interleaved(query, at([5] * LENGTH))
    torch.testing.assert_close(turned, query @ shift_matrix(-5, HEAD_DIM))


def test_a_cache_continued_at_its_offset_equals_the_whole_sequence():
    query, key = random_qk()
    value, turn = torch.randn_like(key), at(range(LENGTH))
    whole = attention(
        rotate(query, turn), rotate(key, turn), value, causal=True
    )
    cache = key.new_empty(BATCH, KV_HEADS, 0, HEAD_DIM)
    seen = 0
    for step in (4, 1, 2):  # a prompt of 4, one token, two tokens
        new = slice(seen, seen + step)
        turn = at(range(seen, seen + step))
        cache = torch.cat([cache, rotate(key[..., new, :], turn)], -2)
        seen += step
        out = attention(
            rotate(query[..., new, :], turn),
            cache,
            value[..., :seen, :],
            mask=causal_mask(seen, seen)[new],
        )
        torch.testing.assert_close(out, whole[..., new, :])


def test_a_layer_turns_queries_and_keys_with_the_object():
    torch.manual_seed(0)
    layer = MultiHeadAttention(HEADS * HEAD_DIM, HEADS, kv_heads=KV_HEADS)
    x, turn = torch.randn(BATCH, LENGTH, HEADS * HEAD_DIM), at(range(LENGTH))
    query, key, value = layer.split(x)
    out = attention(rotate(query, turn), rotate(key, turn), value, causal=True)
    torch.testing.assert_close(
        layer(x, prepare=Rotary(turn), causal=True),
        layer.o_proj(merge_heads(out)),
    )
    # From another place on, only the lags count.
    far = Rotary(at(range(5, LENGTH + 5)))
    torch.testing.assert_close(
        layer(x, prepare=far, causal=True),
        layer(x, prepare=Rotary(turn), causal=True),
    )
    assert not torch.allclose(
        layer(x, causal=True), layer(x, prepare=far, causal=True)
    )


def chained(first, second):
    return lambda *heads: second(*first(*heads))


def test_turned_keys_in_a_cache_token_by_token_equal_the_whole_sequence():
    torch.manual_seed(0)
    layer = MultiHeadAttention(HEADS * HEAD_DIM, HEADS, kv_heads=KV_HEADS)
    x = torch.randn(BATCH, LENGTH, HEADS * HEAD_DIM)
    cache, out = ToyCache(), []
    for t in range(LENGTH):
        turn = Rotary(at([t]))
        step = layer(x[:, t : t + 1], prepare=chained(turn, cache))
        out.append(step)
    whole = layer(x, prepare=Rotary(at(range(LENGTH))), causal=True)
    torch.testing.assert_close(torch.cat(out, 1), whole)


def test_a_cache_without_its_offset_is_wrong():
    query, key = random_qk()
    key = key.repeat_interleave(HEADS // KV_HEADS, 1)
    right = rotate(query[..., 4:, :], at(range(4, LENGTH)))
    wrong = rotate(query[..., 4:, :], at(range(LENGTH - 4)))
    turned = rotate(key, at(range(LENGTH)))
    assert not torch.allclose(right @ turned.mT, wrong @ turned.mT)


def test_any_length_follows_any_other():
    for length in (5, 9, 2):  # no table remembers the first of them
        turn = angles(torch.arange(length), 4)
        assert rotate(torch.ones(length, 4), turn).shape == (length, 4)


@pytest.mark.parametrize("heads", ["", "1 "])
@pytest.mark.parametrize("heads_in_x", [HEADS, BATCH, 1])
def test_sequences_of_a_batch_may_stand_at_different_positions(
    heads, heads_in_x
):
    """Also where there are as many heads as rows, and with no heads axis."""
    query = random_qk()[0][:, :1].expand(-1, heads_in_x, -1, -1)
    positions = torch.stack([torch.arange(LENGTH), torch.arange(3, 10)])
    turn = rearrange(at(positions), f"batch t half -> batch {heads}t half")
    out = rotate(query, turn)
    assert out.shape == query.shape
    for b, start in enumerate((0, 3)):
        alone = rotate(query[b], at(range(start, start + LENGTH)))
        torch.testing.assert_close(out[b], alone)


@pytest.mark.parametrize("turn", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_inputs_are_turned_by_float32_angles(dtype, turn):
    torch.manual_seed(0)
    x = torch.randn(300, HEAD_DIM, dtype=torch.float64).to(dtype)
    out = turn(x, angles(torch.arange(300), HEAD_DIM))
    assert out.dtype == dtype
    exact = turn(x.double(), at(range(300)))
    # One rounding at the end, and float32's of an angle of up to 299 rad.
    half_a_unit = torch.finfo(dtype).eps / 2 * exact.abs()
    assert ((out - exact).abs() <= half_a_unit + 1e-4).all()


def test_bfloat16_cannot_tell_position_257_from_256():
    positions = torch.tensor([256, 257])
    assert positions.to(torch.bfloat16).tolist() == [256, 256]
    turn = angles(positions, 4)
    assert turn.dtype == torch.float32
    assert (turn[1] - turn[0]).tolist() == pytest.approx([1, 0.01], abs=1e-4)


def heads_first(x, heads):
    return rearrange(x, "t (h d) -> h t d", h=heads)


def turned_before_the_split(x, positions, heads):
    """The mistake: one rotation over d_model, then the heads."""
    return heads_first(rotate(x, at(positions, x.shape[-1])), heads)


def turned_after_the_split(x, positions, heads):
    head_dim = x.shape[-1] // heads
    return rotate(heads_first(x, heads), at(positions, head_dim))


def test_rotation_before_the_head_split_loses_the_lag():
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 4, dtype=torch.float64)

    def scores(turn):
        return [
            turn(query, [m], 2) @ turn(key, [m - 2], 2).mT for m in (2, 3, 4)
        ]

    right, wrong = (
        scores(turn)
        for turn in (turned_after_the_split, turned_before_the_split)
    )
    torch.testing.assert_close(right[0], right[2])
    assert not torch.allclose(wrong[0], wrong[2])


DECAY = {0: 32.5, 1: 31.54, 10: 17.95, 50: 12.63, 100: 10.23, 250: 6.55}


def test_the_decay_bound_falls_with_the_lag():
    bound = decay_bound(torch.tensor(list(DECAY)), frequencies(128))
    assert bound.tolist() == pytest.approx(list(DECAY.values()), abs=5e-3)


def test_the_decay_bound_bounds_every_score():
    # [1, section 3.4.3]: |score| <= max |h_{i+1} - h_i| * sum |S_i|, with
    # h_i the product of pair i of the query and the conjugate of the key.
    query, key = (x[0, 0] for x in random_qk(length=300))
    theta = frequencies(HEAD_DIM)
    q, k = (
        torch.view_as_complex(x.detach().unflatten(-1, (-1, 2)))
        for x in (query, key)
    )
    h = q * k.conj()
    steps = torch.cat([h, torch.zeros_like(h[:, :1])], -1).diff(dim=-1)
    lag = torch.arange(300)
    bound = steps.abs().amax(-1) * decay_bound(lag, theta) * len(theta)
    score = rotate_interleaved(query, at(range(300))) * key
    assert (score.sum(-1).abs() <= bound + 1e-12).all()


def test_for_every_lag_some_query_prefers_it():
    torch.manual_seed(0)
    key = torch.randn(1, HEAD_DIM, dtype=torch.float64)
    turned = rotate(key.expand(60, -1), at(range(60)))
    for lag in (0, 1, 17, 40):
        query = rotate(rotate(key, at([59])), -at([lag]))
        assert (turned @ query.mT).argmax().item() == 59 - lag


def hugging_face(kind, head_dim, length, seq_len=None, **parameters):
    config = LlamaConfig(hidden_size=4 * head_dim, num_attention_heads=4)
    config.head_dim, config.max_position_embeddings = head_dim, length
    config.rope_parameters = {
        "rope_type": kind,
        "rope_theta": 10000.0,
        **parameters,
    }
    return ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=seq_len)


@pytest.mark.parametrize("head_dim", [16, 64, 128])
@pytest.mark.parametrize("factor", [1.0, 2.0, 8.0, 40.0])
def test_interpolation_and_ntk_equal_hugging_face(head_dim, factor):
    linear, _ = hugging_face("linear", head_dim, 64, factor=factor)
    ours = position_interpolation(head_dim, factor).float()
    torch.testing.assert_close(ours, linear)

    # Their dynamic rule with factor 1: the context stretches as it grows.
    length = round(64 * factor)
    dynamic, _ = hugging_face("dynamic", head_dim, 64, length, factor=1.0)
    torch.testing.assert_close(ntk(head_dim, factor).float(), dynamic)


@pytest.mark.parametrize("head_dim", [16, 64, 128])
@pytest.mark.parametrize("factor", [1.0, 2.0, 8.0, 40.0])
def test_yarn_equals_hugging_face(head_dim, factor):
    # 6: no pair turns once; 200,000: all do. Both are ends of the ramp.
    for trained in (6, 64, 2048, 200_000):
        theirs, scale = hugging_face(
            "yarn",
            head_dim,
            trained,
            factor=factor,
            original_max_position_embeddings=trained,
        )
        ours = yarn(head_dim, factor, trained).float()
        torch.testing.assert_close(ours, theirs)
        assert yarn_scale(factor) == pytest.approx(scale)


def test_yarn_with_other_bounds_equals_hugging_face():
    given = {"beta_fast": 20.0, "beta_slow": 3.0, "factor": 4.0}
    theirs, _ = hugging_face(
        "yarn", 64, 512, original_max_position_embeddings=512, **given
    )
    ours = yarn(64, 4.0, 512, fast=20.0, slow=3.0)
    torch.testing.assert_close(ours.float(), theirs)


def test_ntk_keeps_the_fastest_pair_and_interpolates_the_slowest():
    plain, stretched = frequencies(64), ntk(64, 8.0)
    assert stretched[0] == plain[0]
    assert stretched[-1].item() == pytest.approx(plain[-1].item() / 8)
    assert (stretched[1:] < plain[1:]).all()


def test_yarn_keeps_fast_pairs_and_interpolates_slow_ones():
    plain, stretched = frequencies(128), yarn(128, 8.0, 4096)
    turns = 4096 * plain / (2 * math.pi)
    assert torch.equal(stretched[turns > 36], plain[turns > 36])
    torch.testing.assert_close(stretched[turns < 0.8], plain[turns < 0.8] / 8)
    between = (stretched < plain) & (stretched > plain / 8)
    assert between.sum() > 10


def test_plain_angles_leave_the_trained_range_and_interpolated_ones_do_not():
    met, far = angles(torch.tensor([64]), 8), torch.tensor([511])
    assert (angles(far, 8) > met).all()
    assert met[0, -1] < 2 * math.pi  # the slow pair has not come round once
    assert (angles_at(far, position_interpolation(8, 8.0)) <= met).all()


ERRORS = {
    "angles: got 3 per position, expected half of x's head_dim 10": lambda: (
        rotate(torch.zeros(5, 10), torch.zeros(5, 3))
    ),
    "angles: got 6 per position": lambda: rotate_partial(
        torch.zeros(5, 10), torch.zeros(5, 6)
    ),
    "angles: got length 4, expected x's 5": lambda: rotate_interleaved(
        torch.zeros(5, 10), torch.zeros(4, 5)
    ),
    "x: got torch.int64": lambda: rotate(
        torch.zeros(5, 10).long(), torch.zeros(5, 5)
    ),
    "dtype: got torch.bfloat16": lambda: angles(
        torch.arange(3), 4, dtype=torch.bfloat16
    ),
    "head_dim: got 7, expected an even": lambda: angles(torch.arange(3), 7),
    "head_dim: got 9, expected an even": lambda: yarn(9, 2.0, 64),
    "head_dim: got 5, expected an even": lambda: ntk(5, 2.0),
    "head_dim: got 3, expected an even": lambda: position_interpolation(
        3, 2.0
    ),
    "trained_length: got 0": lambda: yarn(8, 2.0, 0),
    "base: got 1.0": lambda: yarn(8, 2.0, 64, 1.0),
    "factor: got 0.5": lambda: position_interpolation(8, 0.5),
    "factor: got nan": lambda: yarn_scale(math.nan),
    "head_dim: got 2": lambda: ntk(2, 4.0),
    "slow: got 32.0": lambda: yarn(8, 2.0, 64, slow=32.0),
}


@pytest.mark.parametrize(("message", "call"), ERRORS.items(), ids=list(ERRORS))
def test_what_does_not_fit_is_named(message, call):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)
