"""What the positions chapter claims, proved."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BloomConfig, GPT2Config, T5Config
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.distilbert.modeling_distilbert import (
    create_sinusoidal_embeddings,
)
from transformers.models.t5.modeling_t5 import T5Attention

from llmnotes.transformer.attention import MultiHeadAttention, attention
from llmnotes.transformer.positions import (
    LearnedPositions,
    RelativeBias,
    add_positions,
    alibi_bias,
    alibi_slopes,
    count_positions,
    frequencies,
    lag_buckets,
    lags,
    shift_matrix,
    sinusoidal,
    two_sided_buckets,
    wavelengths,
)

LENGTH, D_MODEL, HEADS = 7, 12, 3


def random_input(length=LENGTH, d_model=D_MODEL, seed=0):
    torch.manual_seed(seed)
    return torch.randn(2, length, d_model, dtype=torch.float64)


def exact(*args, **options):
    return sinusoidal(*args, **options, dtype=torch.float64)


SCHEMES = {
    "none": lambda x: {"x": x},
    "learned": lambda x: {"x": LearnedPositions(9, 12).double()(x)},
    "sinusoidal": lambda x: {"x": x + exact(7, 12)},
    "relative": lambda x: {
        "x": x,
        "mask": RelativeBias(3, 8, 16).double()(7, 7),
    },
    "ALiBi": lambda x: {"x": x, "mask": alibi_bias(3, 7).double()},
}


@pytest.mark.parametrize("name", SCHEMES)
def test_without_positions_order_is_lost_and_with_any_it_is_not(name):
    torch.manual_seed(0)
    x, order = random_input(), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    layer = MultiHeadAttention(D_MODEL, HEADS).double()

    def run(x):
        torch.manual_seed(1)  # the same learned numbers in both runs
        given = SCHEMES[name](x)
        return layer(given.pop("x"), **given)

    blind = torch.allclose(run(x[:, order]), run(x)[:, order])
    assert blind == (name == "none")


def test_a_causal_mask_alone_tells_two_layers_the_order_but_not_one():
    torch.manual_seed(0)
    x, order = random_input(), torch.tensor([3, 0, 5, 1, 4, 2, 6])
    one, two = (MultiHeadAttention(D_MODEL, HEADS).double() for _ in "12")

    def last(x, *layers):
        for layer in layers:
            x = layer(x, causal=True)
        return x[:, -1]

    torch.testing.assert_close(last(x[:, order], one), last(x, one))
    assert not torch.allclose(last(x[:, order], one, two), last(x, one, two))


def test_sinusoids_equal_the_paper_s_formula_written_out():
    encoding = exact(LENGTH, D_MODEL)
    for pos in range(LENGTH):
        for i in range(D_MODEL // 2):
            angle = pos / 10000 ** (2 * i / D_MODEL)
            assert encoding[pos, 2 * i] == pytest.approx(math.sin(angle))
            assert encoding[pos, 2 * i + 1] == pytest.approx(math.cos(angle))


def test_sinusoids_equal_hugging_face():
    theirs = torch.empty(257, 48)
    create_sinusoidal_embeddings(257, 48, theirs)
    torch.testing.assert_close(sinusoidal(257, 48), theirs)


def test_position_1_in_4_dimensions_by_hand():
    # sin 1, cos 1, sin 0.01, cos 0.01
    right = [0.8415, 0.5403, 0.0100, 0.99995]
    assert sinusoidal(2, 4)[1].tolist() == pytest.approx(right, abs=5e-5)


def one_exponent_per_dimension(length, d_model):
    """The mistake: 2j/d for every dimension j, instead of every pair."""
    j = torch.arange(d_model, dtype=torch.float64)
    angle = torch.arange(length)[:, None] / 10000 ** (2 * j / d_model)
    return torch.where(j % 2 == 0, angle.sin(), angle.cos())


def test_a_norm_that_moves_exposes_a_wrong_exponent():
    wrong, right = one_exponent_per_dimension(2, 4), exact(2, 4)
    theirs = [0.8415, 0.99995, 0.0001, 1.0]
    assert wrong[1].tolist() == pytest.approx(theirs, abs=5e-5)
    assert right.square().sum(-1).tolist() == pytest.approx([2, 2])
    assert wrong.square().sum(-1)[1].item() == pytest.approx(2.708, abs=1e-3)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(0, 2000), st.integers(0, 2000))
def test_a_shift_is_a_rotation(pairs, position, lag):
    d_model = 2 * pairs
    before = exact(1, d_model, start=position)
    after = exact(1, d_model, start=position + lag)
    turn = shift_matrix(lag, d_model)
    assert (before @ turn - after).abs().max() < 1e-12 * (position + lag + 1)
    identity = torch.eye(d_model, dtype=torch.float64)
    torch.testing.assert_close(turn @ turn.T, identity)


@pytest.mark.parametrize("d_model", [2, 6, 64])
def test_every_encoding_has_squared_norm_d_over_2(d_model):
    norms = exact(3000, d_model).square().sum(-1)
    torch.testing.assert_close(norms, torch.full_like(norms, d_model / 2))


def test_the_dot_product_of_two_encodings_depends_on_the_lag_only():
    encoding = exact(300, 64)
    dots = encoding @ encoding.T
    for lag in (0, 1, 5, 100):
        spread = dots.diagonal(lag).max() - dots.diagonal(lag).min()
        assert spread < 1e-11
    torch.testing.assert_close(dots, dots.T)  # before and after look alike
    wrong = one_exponent_per_dimension(300, 64)
    dots = (wrong @ wrong.T).diagonal(5)
    assert dots.max() - dots.min() > 0.5


def test_wavelengths_run_from_2_pi_to_just_under_the_paper_s_bound():
    waves = wavelengths(512)
    assert waves[0].item() == pytest.approx(2 * math.pi)
    assert waves[-1].item() == pytest.approx(60_611, abs=1)
    assert waves[-1] < 10000 * 2 * math.pi


def test_rows_from_the_middle_equal_the_whole_table_s():
    torch.testing.assert_close(
        sinusoidal(3, D_MODEL, start=5), sinusoidal(8, D_MODEL)[5:]
    )


def test_positions_enter_once_however_many_layers_follow():
    x, encoding = random_input(), exact(LENGTH, D_MODEL)
    added = add_positions(x, encoding)
    torch.testing.assert_close(
        added - x * math.sqrt(D_MODEL), encoding + 0 * x
    )
    wrong = x
    for _ in range(6):  # six layers that do nothing, each adding positions
        wrong = wrong + encoding
    torch.testing.assert_close(wrong - x, 6 * encoding + 0 * x)


def test_scaled_embeddings_and_positions_have_comparable_norms():
    torch.manual_seed(0)
    x = torch.randn(50, 512, dtype=torch.float64) / math.sqrt(512)  # norm 1
    zero = torch.zeros(50, 512, dtype=torch.float64)
    word = add_positions(x, zero).norm(dim=-1).mean().item()
    assert word == pytest.approx(math.sqrt(512), rel=0.02)
    place = exact(50, 512).norm(dim=-1).mean().item()
    assert place == pytest.approx(math.sqrt(256))


def test_learned_positions_equal_an_embedding_and_train_only_seen_rows():
    torch.manual_seed(0)
    ours, x = LearnedPositions(9, D_MODEL).double(), random_input()
    theirs = F.embedding(torch.arange(LENGTH), ours.table.weight)
    torch.testing.assert_close(ours(x), x + theirs)
    torch.testing.assert_close(ours(x[:, 4:], start=4), ours(x)[:, 4:])
    ours(x).sum().backward()
    moved = ours.table.weight.grad.abs().sum(-1) > 0
    assert moved.tolist() == [True] * LENGTH + [False] * 2


def test_learned_positions_are_those_of_gpt2():
    from transformers import GPT2Model

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=11, n_positions=9, n_embd=D_MODEL, n_layer=0, n_head=3
    )
    config.embd_pdrop = 0.0
    theirs, ours = GPT2Model(config), LearnedPositions(9, D_MODEL)
    ours.table.load_state_dict(theirs.wpe.state_dict())
    ids = torch.randint(11, (2, LENGTH))
    out = theirs(ids).last_hidden_state
    torch.testing.assert_close(theirs.ln_f(ours(theirs.wte(ids))), out)


def test_the_lag_of_a_short_query_is_counted_from_the_last_key():
    assert lags(2, 4).tolist() == [[2, 1, 0, -1], [3, 2, 1, 0]]


@pytest.mark.parametrize(("buckets", "most"), [(32, 128), (8, 20), (7, 50)])
def test_buckets_equal_t5(buckets, most):
    lag = torch.arange(-300, 301)
    theirs = T5Attention._relative_position_bucket
    past = theirs(-lag, False, buckets, most)
    assert torch.equal(lag_buckets(lag, buckets, most), past)
    if buckets % 2 == 0:
        both = theirs(-lag, True, buckets, most)
        assert torch.equal(two_sided_buckets(lag, buckets, most), both)


def test_relative_bias_equals_t5_forward_and_gradient():
    config = T5Config(d_model=D_MODEL, d_kv=4, num_heads=3)
    config.is_decoder = True
    theirs = T5Attention(config, has_relative_attention_bias=True)
    ours = RelativeBias(3)
    ours.bias.load_state_dict(theirs.relative_attention_bias.state_dict())
    a, b = ours(200, 200), theirs.compute_bias(200, 200)[0]
    torch.testing.assert_close(a, b)
    upstream = torch.randn_like(a)
    (ga,) = torch.autograd.grad(a, ours.bias.weight, upstream)
    (gb,) = torch.autograd.grad(
        b, theirs.relative_attention_bias.weight, upstream
    )
    torch.testing.assert_close(ga, gb)
    torch.testing.assert_close(ours(3, 200), a[:, -3:])


@pytest.mark.parametrize("bias", [RelativeBias(6), alibi_bias])
def test_a_relative_bias_is_the_same_along_every_diagonal(bias):
    out = bias(11, 11) if isinstance(bias, RelativeBias) else bias(6, 11)
    assert out.shape == (6, 11, 11)
    torch.testing.assert_close(out[:, 1:, 1:], out[:, :-1, :-1])


def test_alibi_slopes_of_8_heads_are_halves():
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]


@pytest.mark.parametrize("heads", [1, 2, 3, 4, 6, 8, 12, 13])
def test_alibi_attends_as_bloom_does_forward_and_gradient(heads):
    torch.manual_seed(0)
    assert BloomConfig().n_head == 8
    qkv = torch.randn(3, 1, heads, LENGTH, 4).unbind()
    qkv = [x.requires_grad_() for x in qkv]
    # Bloom adds slope·key: less by slope·query, which the softmax ignores.
    theirs = build_alibi_tensor(torch.ones(1, LENGTH), heads, torch.float32)
    outs = [
        attention(*qkv, mask=bias, causal=True)
        for bias in (alibi_bias(heads, LENGTH), theirs)
    ]
    torch.testing.assert_close(*outs)
    upstream = torch.randn_like(outs[0])
    for a, b in zip(
        *(torch.autograd.grad(out, qkv, upstream) for out in outs), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_alibi_of_a_cached_step_is_the_last_row():
    torch.testing.assert_close(alibi_bias(6, 2, 9), alibi_bias(6, 9)[:, -2:])


def test_positions_are_counted_from_the_first_real_token():
    real = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]).bool()
    counted = count_positions(real)
    assert counted.tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4]]
    mask = real.long()
    hugging_face = (mask.cumsum(-1) - 1).masked_fill(mask == 0, 0)
    assert torch.equal(counted, hugging_face)
    x = torch.randn(2, 5, 8)
    out = add_positions(x, sinusoidal(5, 8)[counted])
    alone = add_positions(x[:1, 2:], sinusoidal(3, 8))
    torch.testing.assert_close(out[:1, 2:], alone)


ERRORS = {
    "width: got 5, expected an even number": lambda: frequencies(5),
    "d_model: got 5, expected an even number": lambda: sinusoidal(3, 5),
    "d_model: got 0, expected an even number": lambda: shift_matrix(3, 0),
    "query: got 4, expected at most key = 2": lambda: alibi_bias(3, 4, 2),
    "base: got 1.0, expected a number above 1": lambda: frequencies(4, 1.0),
    "x: got positions 3 to 9, expected at most 8": lambda: LearnedPositions(
        9, 12
    )(torch.zeros(7, 12), start=3),
    "start: got -1, expected at least 0": lambda: LearnedPositions(9, 12)(
        torch.zeros(1, 12), start=-1
    ),
    "x: got d_model 1, expected the table's 12": lambda: LearnedPositions(
        9, 12
    )(torch.zeros(7, 1)),
    "encoding: got length 1, expected x's 5": lambda: add_positions(
        torch.zeros(2, 5, 8), torch.zeros(1, 8)
    ),
    "encoding: got shape (2, 5, 8), expected (5, 8)": lambda: add_positions(
        torch.zeros(5, 8), torch.zeros(2, 5, 8)
    ),
    "encoding: got shape (1, 5, 8)": lambda: add_positions(
        torch.zeros(2, 5, 8), torch.zeros(1, 5, 8)
    ),
    "buckets: got 1 with max_lag 128": lambda: RelativeBias(3, 1)(2, 2),
    "buckets: got 32 with max_lag 16": lambda: RelativeBias(3, 32, 16)(2, 2),
    "heads: got 0, expected at least 1": lambda: alibi_slopes(0),
}


@pytest.mark.parametrize(("message", "call"), ERRORS.items(), ids=list(ERRORS))
def test_what_does_not_fit_is_named(message, call):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)
