"""The four terms, and the shift that computes two of them at once."""

import math

import pytest
import torch
from torch import nn
from transformers.models.xlnet.modeling_xlnet import (
    XLNetConfig,
    XLNetRelativeAttention,
)

from llmnotes.models.transformer_xl import (
    TransformerXL,
    TransformerXLConfig,
    four_terms,
    lag_codes,
    relative_attention,
    shift,
)
from llmnotes.models.transformer_xl.relative import position_scores
from llmnotes.transformer.attention import causal_mask
from llmnotes.transformer.positions import lags
from tests.models.transformer_xl.tiny import SHAPE, tiny, tokens

BATCH, HEADS, QUERY, KEY, WIDTH = 2, 3, 4, 9, 5


def heads(query=QUERY, key=KEY, value_width=7, seed=0):
    """Random query, key, value, places, u, v of odd sizes."""
    torch.manual_seed(seed)
    shapes = (
        (BATCH, HEADS, query, WIDTH),
        (BATCH, HEADS, key, WIDTH),
        (BATCH, HEADS, key, value_width),
        (HEADS, key, WIDTH),
        (HEADS, WIDTH),
        (HEADS, WIDTH),
    )
    kind = dict(dtype=torch.float64, requires_grad=True)
    return [torch.randn(shape, **kind) for shape in shapes]


@pytest.mark.parametrize("query, key", [(1, 1), (1, 6), (3, 3), (3, 8)])
def test_shift_brings_every_lag_to_its_key(query, key):
    by_lag = torch.arange(key - 1, -1, -1.0).expand(2, query, key)
    found, lag = shift(by_lag), lags(query, key)
    past = lag >= 0
    assert torch.equal(found[:, past], lag[past].expand(2, -1).float())


def test_shift_leaves_over_what_belongs_to_the_next_row():
    x = torch.tensor([[11.0, 12, 13], [21, 22, 23], [31, 32, 33]])
    assert shift(x).tolist() == [[13, 0, 21], [22, 23, 0], [31, 32, 33]]


def written_out(x, context, weights, u, v):
    """The equation of §3.3, head by head and pair by pair, in its letters.

    E_iᵀW_qᵀW_kE E_j + E_iᵀW_qᵀW_kR R_{i-j} + uᵀW_kE E_j + vᵀW_kR R_{i-j}
    """
    w_q, w_ke, w_kr, w_v = weights
    width, query, key = x.shape[-1], len(x), len(context)
    head = width // len(u)

    def code(lag):  # R, by the formula of 2017
        wave = [lag / 10000 ** (2 * i / width) for i in range(width // 2)]
        pairs = [f(a) for a in wave for f in (math.sin, math.cos)]
        return torch.tensor(pairs, dtype=x.dtype)

    out = []
    for h in range(len(u)):
        cut = slice(h * head, (h + 1) * head)
        q, ke, kr, val = (w[cut] for w in (w_q, w_ke, w_kr, w_v))
        rows = []
        for i in range(query):
            at = key - query + i  # where the query stands among the keys
            scores = [
                x[i] @ q.T @ ke @ context[j]
                + x[i] @ q.T @ kr @ code(at - j)
                + u[h] @ ke @ context[j]
                + v[h] @ kr @ code(at - j)
                for j in range(at + 1)
            ]
            shares = (torch.stack(scores) / math.sqrt(head)).softmax(0)
            rows.append(shares @ (context[: at + 1] @ val.T))
        out.append(torch.stack(rows))
    return torch.cat(out, -1)


def test_a_layer_equals_the_equation_written_out_forward_and_gradient():
    model, query, key = tiny(), 3, 7
    layer = model.layers[0].attn
    torch.manual_seed(2)
    context = torch.randn(1, key, SHAPE.d_model).double().requires_grad_()
    x, mask = context[:, -query:], causal_mask(query, key)
    codes = lag_codes(key, SHAPE.d_model, dtype=x.dtype)
    ours = layer(x, context, codes, model.u, model.v, mask)[0]
    weights = [
        getattr(layer, f"{name}_proj").weight for name in ("q", "k", "r", "v")
    ]
    theirs = written_out(x[0], context[0], weights, model.u, model.v)
    theirs = theirs @ layer.o_proj.weight.T
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    up = torch.randn_like(ours)
    wanted = [context, *layer.parameters(), model.u, model.v]
    got = torch.autograd.grad(ours, wanted, up, retain_graph=True)
    expected = torch.autograd.grad(theirs, wanted, up)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("query, key", [(1, 1), (1, 5), (4, 4), (4, 9)])
def test_the_shift_equals_the_plain_form_forward_and_gradient(query, key):
    q, k, _, places, u, v = inputs = heads(query, key)
    past = causal_mask(query, key)
    content = (q + u[:, None]) @ k.mT / math.sqrt(WIDTH)
    quick = (content + position_scores(q, places, v))[..., past]
    plain = four_terms(q, k, places, u, v).sum(0)[..., past] / WIDTH**0.5
    torch.testing.assert_close(quick, plain, rtol=1e-12, atol=1e-12)
    del inputs[2]
    up = torch.randn_like(quick)
    torch.testing.assert_close(
        torch.autograd.grad(quick, inputs, up, retain_graph=True),
        torch.autograd.grad(plain, inputs, up),
        rtol=1e-12,
        atol=1e-12,
    )


def test_one_score_by_hand():
    q, k = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0, 1.0]]]])
    place = torch.tensor([[[0.0, 1.0]]])  # of lag 0
    u, v = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, -4.0]])
    terms = four_terms(q, k, place, u, v).flatten()
    assert terms.tolist() == [5, 2, 3, -4]


def test_xlnet_computes_the_same_forward_and_gradient():
    q, k, value, places, u, v = inputs = heads(value_width=WIDTH)
    mask = causal_mask(QUERY, KEY)
    ours = relative_attention(*inputs, mask)
    config = XLNetConfig(d_model=HEADS * WIDTH, n_head=HEADS, dropout=0.0)
    theirs = XLNetRelativeAttention(config).double()
    theirs.r_w_bias = nn.Parameter(u.detach())
    theirs.r_r_bias = nn.Parameter(v.detach())
    further = torch.randn(HEADS, 1, WIDTH).double()  # lag KEY, which is unused
    seats = torch.cat([further, places], 1).permute(1, 0, 2)[:, None]
    hidden = (~mask).double()[:, :, None, None]
    out = theirs.rel_attn_core(
        *(x.permute(2, 0, 1, 3) for x in (q, k, value)),
        seats.expand(-1, BATCH, -1, -1),
        attn_mask=hidden.expand(-1, -1, BATCH, 1),
    ).permute(1, 2, 0, 3)
    torch.testing.assert_close(ours, out)
    up = torch.randn_like(ours)
    got = torch.autograd.grad(ours, inputs, up)
    wanted = [q, k, value, places, theirs.r_w_bias, theirs.r_r_bias]
    torch.testing.assert_close(got, torch.autograd.grad(out, wanted, up))


def test_gradients_equal_finite_differences():
    inputs, mask = heads(query=2, key=3, value_width=1), causal_mask(2, 3)
    assert torch.autograd.gradcheck(
        lambda *x: relative_attention(*x, mask), inputs, fast_mode=True
    )


def test_what_is_left_over_would_show_the_future_and_is_hidden():
    q, k, value, places, u, v = (x.detach() for x in heads())
    mask = causal_mask(QUERY, KEY)
    before = relative_attention(q, k, value, places, u, v, mask)
    bare = position_scores(q, places, v)
    q[:, :, 2] += 1  # a later query changes
    after = relative_attention(q, k, value, places, u, v, mask)
    assert torch.equal(after[:, :, :2], before[:, :, :2])
    left = position_scores(q, places, v) != bare
    assert left[:, :, 1].any()  # the row before it holds some of it


def test_scores_do_not_know_where_the_text_begins():
    ids = tokens(1, 6)
    model = tiny()
    x = model.embed(torch.cat([ids, ids], 1))
    attn, codes = model.layers[0].attn, lag_codes(12, 12, dtype=x.dtype)
    q, k, places = (
        layer(y).unflatten(-1, (3, 4)).transpose(1, 2)
        for layer, y in (
            (attn.q_proj, x),
            (attn.k_proj, x),
            (attn.r_proj, codes[None]),
        )
    )
    terms = four_terms(q, k, places[0], model.u, model.v)
    past = causal_mask(6, 6)
    first, second = terms[..., :6, :6], terms[..., 6:, 6:]
    torch.testing.assert_close(first[..., past], second[..., past])


def test_lags_beyond_clamp_len_have_one_code():
    codes, free = lag_codes(9, 6, clamp_len=4), lag_codes(9, 6)
    assert (codes[:5] == codes[4]).all()  # lags 8 to 4
    assert torch.equal(codes[4:], free[4:])
    assert not torch.equal(free[3], free[4])


def test_a_model_with_clamp_len_reads_far_lags_as_that_one():
    free, ids = tiny(), tokens(1, 8)
    clamped = tiny(TransformerXLConfig(**{**vars(SHAPE), "clamp_len": 3}))
    close, far = torch.allclose, slice(4, None)
    assert close(free(ids)[:, :4], clamped(ids)[:, :4])
    assert not close(free(ids)[:, far], clamped(ids)[:, far])


def test_the_authors_order_of_waves_is_a_permutation_of_columns():
    """Sines first, then cosines; ours alternate: W_kR's columns move along."""
    codes = lag_codes(5, 12, dtype=torch.float64)
    order = torch.cat([torch.arange(0, 12, 2), torch.arange(1, 12, 2)])
    weight = tiny().layers[0].attn.r_proj.weight
    theirs = codes[:, order] @ weight[:, order].T
    torch.testing.assert_close(theirs, codes @ weight.T)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_are_at_most_twice_as_wrong_as_plain_torch(dtype):
    low = [x.detach().to(dtype) for x in heads()]
    mask = causal_mask(QUERY, KEY)
    exact = relative_attention(*(x.double() for x in low), mask)
    q, k, value, places, u, v = low
    scores = four_terms(q, k, places, u, v).sum(0) / math.sqrt(WIDTH)
    plain = scores.masked_fill(~mask, -torch.inf).softmax(-1) @ value
    ours = relative_attention(*low, mask)
    assert ours.dtype == dtype
    wrong = (ours.double() - exact).abs().max()
    assert wrong <= 2 * (plain.double() - exact).abs().max()


def test_the_whole_model_equals_one_without_the_shift():
    model, ids = tiny(), tokens(2, 5)
    x = model.embed(ids) * math.sqrt(SHAPE.d_model)
    codes = lag_codes(5, SHAPE.d_model, dtype=x.dtype)
    past = causal_mask(5, 5)
    for layer in model.layers:
        attn = layer.attn
        q, k, value, places = (
            linear(y).unflatten(-1, (SHAPE.n_head, -1)).transpose(1, 2)
            for linear, y in (
                (attn.q_proj, x),
                (attn.k_proj, x),
                (attn.v_proj, x),
                (attn.r_proj, codes[None]),
            )
        )
        terms = four_terms(q, k, places[0], model.u, model.v)
        scores = (terms.sum(0) / 2).masked_fill(~past, -torch.inf)
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        x = layer.norm_1(x + attn.o_proj(mixed))
        x = layer.norm_2(x + layer.down(layer.up(x).relu()))
    torch.testing.assert_close(model(ids), model.head(x))


def test_weights_start_at_two_hundredths():
    torch.manual_seed(0)
    model = TransformerXL(TransformerXLConfig(65, 64, 4, 256, 2))
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            assert abs(parameter.std().item() - 0.02) < 0.004, name
        else:
            constant = 1.0 if "norm" in name and "weight" in name else 0.0
            assert (parameter == constant).all(), name


@pytest.mark.parametrize(
    "lead", [(1,), (HEADS,), (1, 1), (BATCH, 1), (1, HEADS), (BATCH, HEADS)]
)
def test_masks_that_broadcast_are_seen_as_the_whole(lead):
    inputs = [x.detach() for x in heads()]
    torch.manual_seed(3)
    mask = torch.rand(*lead, QUERY, KEY) < 0.5
    mask &= causal_mask(QUERY, KEY)
    mask[..., 0] = True
    whole = mask.expand(BATCH, HEADS, -1, -1)
    torch.testing.assert_close(
        relative_attention(*inputs, mask), relative_attention(*inputs, whole)
    )


def test_bad_input_is_refused_by_name():
    q, k, value, places, u, v = heads()
    mask = causal_mask(QUERY, KEY)
    for arguments, words in (
        ((q, k, value, places[:, 1:], u, v, mask), "places: got key 8"),
        ((q, k, value, places, u[:2], v, mask), "u: got heads 2"),
        ((q, k, value, places, u, v[:, :3], mask), "v: got head_dim 3"),
        ((q, k, value, places, u, v, mask[:3]), "visible: got query 3"),
        ((q, k, value, places, u, v, mask.double()), "visible: got torch"),
        ((q.float(), k, value, places, u, v, mask), "key: got dtype"),
        ((q, k[:1], value, places, u, v, mask), "key: got batch 1"),
        (
            (q, k, value, places, u, v, mask.expand(5, 1, -1, -1)),
            r"visible: got shape \(5, 1, 4, 9\), expected axes that fit batch "
            "2 and heads 3 before its last two",
        ),
        (
            (q, k, value, places, u, v, mask.expand(2, 2, 3, -1, -1)),
            r"visible: got shape \(2, 2, 3, 4, 9\)",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            relative_attention(*arguments)
    with pytest.raises(ValueError, match="x: got 4 queries, expected at most"):
        shift(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="keys: got 0"):
        lag_codes(0, 4)
    with pytest.raises(ValueError, match="clamp_len: got 0"):
        lag_codes(3, 4, clamp_len=0)
    with pytest.raises(ValueError, match="dtype: got torch.int64, expected a"):
        lag_codes(3, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match="query: got 9, expected at most key"):
        four_terms(k, q, places[:, :4], u, v)
    for change, words in (
        ({"n_head": 5}, "n_head: got 5, expected a divisor of d_model = 12"),
        ({"d_model": 9}, "d_model: got 9, expected an even number"),
        ({"n_layer": 0}, "n_layer: got 0"),
        ({"clamp_len": 0}, "clamp_len: got 0"),
        ({"vocab_size": True}, "vocab_size: got True"),
    ):
        with pytest.raises(ValueError, match=words):
            TransformerXLConfig(**{**vars(SHAPE), **change})
