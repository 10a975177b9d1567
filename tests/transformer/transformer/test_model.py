"""What the Transformer chapter claims of the model, proved."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llmnotes.transformer.attention import causal_mask
from llmnotes.transformer.gpt import parameters
from llmnotes.transformer.positions import sinusoidal
from llmnotes.transformer.transformer import (
    BASE,
    BIG,
    EncoderLayer,
    Transformer,
    TransformerConfig,
)
from llmnotes.transformer.transformer.pre_norm import PreNormTransformer

BATCH, SOURCE, TARGET = 3, 7, 5
SHAPE = TransformerConfig(
    vocab_size=13, d_model=12, heads=3, layers=2, d_ff=22, dropout=0.0,
    attention_bias=True,
)  # fmt: skip
BOTH = pytest.mark.parametrize("cls", [Transformer, PreNormTransformer])


def tiny(cls=Transformer, seed=0, **options):
    """A model whose weights are all random: a fresh one has zero biases."""
    torch.manual_seed(seed)
    model = cls(TransformerConfig(**{**vars(SHAPE), **options})).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def some_ids(length, seed=1):
    torch.manual_seed(seed)
    return torch.randint(SHAPE.vocab_size, (BATCH, length))


def pytorchs(model):
    """`nn.Transformer` with the weights of ours."""
    c = model.config
    theirs = nn.Transformer(
        c.d_model, c.heads, c.layers, c.layers, c.d_ff, dropout=0.0,
        batch_first=True, norm_first=isinstance(model, PreNormTransformer),
    ).double()  # fmt: skip
    if not isinstance(model, PreNormTransformer):
        theirs.encoder.norm = theirs.decoder.norm = None  # not in the paper
    theirs.load_state_dict(pytorchs_names(dict(model.named_parameters())))
    return theirs


def pytorchs_names(tensors):
    """Our names to PyTorch's: q, k and v lie in one matrix there."""
    out = {}
    for name, tensor in tensors.items():
        if ".q_proj." in name:
            qkv = [tensors[name.replace("q_proj", f"{x}_proj")] for x in "qkv"]
            out[name.replace("q_proj.", "in_proj_")] = torch.cat(qkv)
        elif ".o_proj." in name:
            out[name.replace("o_proj", "out_proj")] = tensor
        elif ".k_proj." not in name and ".v_proj." not in name:
            out[name] = tensor
    return {n: t.detach() for n, t in out.items() if "embedding" not in n}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@BOTH
def test_logits_and_gradients_equal_pytorchs_masks_included(cls):
    model = tiny(cls)
    theirs, table = pytorchs(model), model.embedding.weight
    source, target = some_ids(SOURCE), some_ids(TARGET, 2)
    lengths = torch.tensor([SOURCE, 4, 1])
    hidden = torch.arange(SOURCE) >= lengths[:, None]  # True hides, there
    x, y = (
        F.embedding(ids, table) * math.sqrt(SHAPE.d_model)
        + sinusoidal(ids.shape[1], SHAPE.d_model, dtype=torch.float64)
        for ids in (source, target)
    )
    a = model(source, target, lengths)
    b = F.linear(
        theirs(
            x, y, tgt_mask=~causal_mask(TARGET, TARGET),
            src_key_padding_mask=hidden, memory_key_padding_mask=hidden,
        ),
        table,
    )  # fmt: skip
    torch.testing.assert_close(a, b)
    upstream = torch.randn_like(a)
    (shared,) = torch.autograd.grad(b, table, upstream, retain_graph=True)
    a.backward(upstream)
    torch.testing.assert_close(table.grad, shared)
    b.backward(upstream)
    ours = {n: p.grad for n, p in model.named_parameters()}
    for name, grad in pytorchs_names(ours).items():
        torch.testing.assert_close(theirs.get_parameter(name).grad, grad)


def test_the_published_shapes_have_the_counts_that_follow_from_them():
    with torch.device("meta"):  # shapes without numbers
        assert parameters(Transformer(BASE)) == 63_045_632
        assert parameters(Transformer(BIG)) == 214_171_648


def by_formula(c):
    """Σ of an encoder's layer, a decoder's and the one embedding."""
    attention = 4 * c.d_model**2 + 4 * c.d_model * c.attention_bias
    feed_forward = 2 * c.d_model * c.d_ff + c.d_ff + c.d_model
    encoder = attention + feed_forward + 2 * 2 * c.d_model
    decoder = 2 * attention + feed_forward + 3 * 2 * c.d_model
    return c.layers * (encoder + decoder) + c.vocab_size * c.d_model


def test_the_count_follows_from_the_shape():
    for config in (SHAPE, BASE, BIG):
        with torch.device("meta"):
            post, pre = Transformer(config), PreNormTransformer(config)
        assert parameters(post) == by_formula(config)
        assert parameters(pre) == by_formula(config) + 4 * config.d_model


def test_pytorchs_default_is_base_without_words_with_biases_and_two_norms():
    with torch.device("meta"):
        theirs = nn.Transformer(batch_first=True)
    biases, norms = 18 * 4 * 512, 2 * 2 * 512
    words = 37000 * 512
    assert parameters(theirs) == 44_140_544
    assert parameters(theirs) == 63_045_632 - words + biases + norms


@BOTH
def test_changing_the_future_of_the_target_changes_nothing(cls):
    model, source, target = tiny(cls), some_ids(SOURCE), some_ids(TARGET, 2)
    before = model(source, target)
    for t in range(TARGET - 1):
        changed = target.clone()
        changed[:, t + 1 :] = (target[:, t + 1 :] + 1) % SHAPE.vocab_size
        after = model(source, changed)
        assert torch.equal(after[:, : t + 1], before[:, : t + 1])
        assert not torch.allclose(after[:, t + 1], before[:, t + 1])


@BOTH
def test_every_source_token_and_every_earlier_target_token_is_seen(cls):
    model, source, target = tiny(cls), some_ids(SOURCE), some_ids(TARGET, 2)
    before = model(source, target)
    for t in range(SOURCE):
        changed = source.clone()
        changed[:, t] = (source[:, t] + 1) % SHAPE.vocab_size
        moved = (model(changed, target) - before).abs().amax(-1)
        assert (moved > 1e-9).all()  # at every position, the first as well
    for t in range(TARGET):
        changed = target.clone()
        changed[:, t] = (target[:, t] + 1) % SHAPE.vocab_size
        moved = (model(source, changed) - before).abs().amax(-1)
        assert (moved[:, t:] > 1e-9).all()


@BOTH
def test_a_padded_batch_equals_its_rows_alone(cls):
    model, source, target = tiny(cls), some_ids(SOURCE), some_ids(TARGET, 2)
    source_lengths = torch.tensor([4, SOURCE, 1])
    target_lengths = [2, TARGET, 3]
    padded = model(source, target, source_lengths)
    for row in range(BATCH):
        n, m = source_lengths[row], target_lengths[row]
        alone = model(source[row : row + 1, :n], target[row : row + 1, :m])
        torch.testing.assert_close(padded[row : row + 1, :m], alone)


@BOTH
def test_what_stands_in_the_padding_does_not_matter(cls):
    model, source, target = tiny(cls), some_ids(SOURCE), some_ids(TARGET, 2)
    lengths = torch.tensor([4, SOURCE, 1])
    before = model(source, target, lengths)
    source[0, 4:], source[2, 1:] = 7, 0
    assert torch.equal(model(source, target, lengths), before)
    assert not torch.allclose(model(source, target), before)


def test_swapping_two_source_tokens_is_noticed():
    model, source, target = tiny(), some_ids(SOURCE), some_ids(TARGET, 2)
    swapped = source[:, [1, 0, *range(2, SOURCE)]]
    before = model(source, target)
    assert not torch.allclose(model(swapped, target), before)


def test_an_embedding_is_scaled_and_gets_its_position_once():
    model, ids = tiny(), some_ids(SOURCE)
    position = sinusoidal(SOURCE, SHAPE.d_model, dtype=torch.float64)
    for row in range(BATCH):
        for p in range(SOURCE):
            word = model.embedding.weight[ids[row, p]]
            expected = math.sqrt(SHAPE.d_model) * word + position[p]
            torch.testing.assert_close(model.embed(ids)[row, p], expected)
    with torch.no_grad():  # layers that do nothing pass it on as it came
        silent = tiny(PreNormTransformer)
        for name, parameter in silent.named_parameters():
            if "o_proj" in name or "linear2" in name:
                parameter.zero_()
        silent.encoder.norm = nn.Identity()
        torch.testing.assert_close(
            silent.encode(ids).values, silent.embed(ids)
        )


def test_one_matrix_embeds_both_texts_and_predicts():
    model, source, target = tiny(), some_ids(SOURCE), some_ids(TARGET, 2)
    tables = [n for n, p in model.named_parameters() if 13 in p.shape]
    assert tables == ["embedding.weight"]
    with torch.no_grad():
        model.embedding.weight[4] = 0
    assert (model(source, target)[..., 4] == 0).all()
    zero = torch.full((1, 1), 4)  # as a word it is nothing but its position
    position = sinusoidal(1, SHAPE.d_model, dtype=torch.float64)
    torch.testing.assert_close(model.embed(zero)[0], position)


def test_a_fresh_embedding_is_as_large_as_its_position():
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(vocab_size=500, layers=1))
    table = model.embedding.weight.detach()
    assert table.norm(dim=-1).mean().item() == pytest.approx(1, rel=0.01)
    scaled = math.sqrt(512) * table
    assert scaled.std().item() == pytest.approx(1, rel=0.01)


@BOTH
def test_fresh_matrices_have_xaviers_variance_biases_0_and_norms_1(cls):
    torch.manual_seed(0)
    shape = TransformerConfig(500, 96, 4, 2, 160, attention_bias=True)
    for name, p in cls(shape).named_parameters():
        if name.endswith("bias"):
            assert (p == 0).all()
        elif p.ndim == 1:
            assert (p == 1).all()
        elif "embedding" not in name:
            std = math.sqrt(2 / sum(p.shape))
            assert p.std().item() == pytest.approx(std, rel=0.03)
            assert p.abs().max().item() <= math.sqrt(3) * std  # uniform


def test_post_norm_ends_in_a_norm_and_pre_norm_gets_one():
    source = some_ids(SOURCE)
    for cls, last in (
        (Transformer, lambda m: m.encoder.layers[-1].norm2),
        (PreNormTransformer, lambda m: m.encoder.norm),
    ):
        model = tiny(cls)
        norm = last(model)
        unit = (model.encode(source).values - norm.bias) / norm.weight
        assert unit.mean(-1).abs().max() < 1e-9
        assert (unit.var(-1, correction=0) - 1).abs().max() < 1e-3
    assert not list(tiny().encoder.norm.parameters())


class OneResidual(EncoderLayer):
    """The mistake: both sublayers are added to the layer's input."""

    def forward(self, x, mask=None):
        residual = x
        x = residual + self.self_attn(self.norm1(x), mask=mask)
        return residual + self.feed_forward(self.norm2(x))


def silenced(layer):
    """A layer whose feed-forward network says nothing."""
    with torch.no_grad():
        layer.linear2.weight.zero_()
        layer.linear2.bias.zero_()
    return layer


def test_a_silent_feed_forward_leaves_what_attention_found():
    torch.manual_seed(0)
    x = torch.randn(1, 2, SHAPE.d_model)
    wrong = silenced(OneResidual(SHAPE))
    assert torch.equal(wrong(x), x)  # attention is lost entirely
    for cls in (Transformer, PreNormTransformer):
        layer = silenced(cls.encoder_layer(SHAPE))
        alone = torch.cat([layer(x[:, :1]), layer(x[:, 1:])], dim=1)
        assert not torch.allclose(layer(x), alone)  # they see each other
    layer = silenced(PreNormTransformer.encoder_layer(SHAPE))
    expected = x + layer.self_attn(layer.norm1(x))
    torch.testing.assert_close(layer(x), expected)


class NormInside(EncoderLayer):
    """The mistake: x + norm(sublayer(x)), neither post- nor pre-norm."""

    def forward(self, x, mask=None):
        x = x + self.norm1(self.self_attn(x, mask=mask))
        return x + self.norm2(self.feed_forward(x))


def test_post_norm_normalises_the_sum_and_pre_norm_what_is_read():
    torch.manual_seed(0)
    x = 100 * torch.randn(1, 4, SHAPE.d_model, dtype=torch.float64)
    post, pre, wrong = (
        cls(SHAPE).double()
        for cls in (EncoderLayer, PreNormTransformer.encoder_layer, NormInside)
    )

    def spread(layer, x):
        return layer(x).std(-1, correction=0).mean().item()

    # Only post-norm hands on rows of size 1, whatever came in.
    assert spread(post, x) == pytest.approx(1, abs=1e-3)
    assert spread(pre, x) > 50 and spread(wrong, x) > 50
    # Only pre-norm adds the same when its input is a hundred times larger.
    silenced(pre)
    added, smaller = pre(x) - x, pre(x / 100) - x / 100
    torch.testing.assert_close(added, smaller, rtol=1e-4, atol=1e-4)
    with torch.no_grad():  # what is added follows the sublayer's size
        for name in ("self_attn.o_proj", "linear2"):
            for layer in (pre, wrong):
                layer.get_submodule(name).weight.zero_()
                layer.get_submodule(name).bias.zero_()
                layer.get_submodule(name).bias[0] = 1e-2
    assert (pre(x) - x).abs().max().item() == pytest.approx(2e-2)
    assert (wrong(x) - x).abs().max() > 1  # a whisper becomes a shout


def test_dropout_acts_on_the_sum_of_embedding_and_position():
    model, ids = tiny(dropout=0.5), some_ids(SOURCE)
    clean = model.eval().embed(ids)
    dropped = model.train().embed(ids)
    kept = dropped != 0
    assert 0.3 < kept.double().mean() < 0.7
    torch.testing.assert_close(dropped[kept], 2 * clean[kept])


SUBLAYERS = {
    "encoder_layer": ["self_attn.o_proj", "linear2"],
    "decoder_layer": ["self_attn.o_proj", "multihead_attn.o_proj", "linear2"],
}


@pytest.mark.parametrize(
    ("kind", "loud"), [(k, last) for k, v in SUBLAYERS.items() for last in v]
)
@BOTH
def test_dropout_acts_on_a_sublayers_output_not_inside_it(cls, kind, loud):
    torch.manual_seed(0)
    config = TransformerConfig(**{**vars(SHAPE), "dropout": 0.5})
    layer = getattr(cls, kind)(config).double()
    layer.norm1 = layer.norm2 = layer.norm3 = nn.Identity()
    with torch.no_grad():
        for name in SUBLAYERS[kind]:
            if name != loud:
                layer.get_submodule(name).weight.zero_()
                layer.get_submodule(name).bias.zero_()
    x = torch.randn(BATCH, TARGET, SHAPE.d_model, dtype=torch.float64)
    memory = torch.randn(BATCH, SOURCE, SHAPE.d_model, dtype=torch.float64)
    inputs = (x,) if kind == "encoder_layer" else (x, memory)
    clean = layer.eval()(*inputs) - x
    added = layer.train()(*inputs) - x
    kept = added.abs() > 1e-12
    assert 0.3 < kept.double().mean() < 0.7
    torch.testing.assert_close(added[kept], 2 * clean[kept])


def test_finite_differences_agree():
    model = tiny(layers=1)
    source, target = some_ids(3)[:1], some_ids(2, 2)[:1]
    table = model.embedding.weight.detach().clone().requires_grad_()

    def run(weight):
        names = {"embedding.weight": weight}
        return torch.func.functional_call(model, names, (source, target))

    assert torch.autograd.gradcheck(run, (table,), fast_mode=True)


BAD_CONFIGS = {
    "vocab_size: got 0": {"vocab_size": 0},
    "layers: got -1": {"layers": -1},
    "d_model: got 9, expected an even number": {"d_model": 9},
    "heads: got 5, expected a divisor of d_model = 12": {"heads": 5},
    "dropout: got 1.0": {"dropout": 1.0},
}


@pytest.mark.parametrize(("message", "change"), BAD_CONFIGS.items())
def test_configs_that_cannot_be_are_named(message, change):
    with pytest.raises(ValueError, match=f"^{message}"):
        TransformerConfig(**{**vars(SHAPE), **change})


IDS = torch.zeros(2, 4, dtype=torch.long)
BAD_INPUTS = {
    "source: got torch.float32": (IDS.float(), IDS),
    "source: got shape (4,), expected (batch, source)": (IDS[0], IDS),
    "source: got -1 to -1, expected 0 to 12": (IDS - 1, IDS),
    "target_in: got torch.bool": (IDS, IDS.bool()),
    "target_in: got shape (2, 0), expected no empty axis": (IDS, IDS[:, :0]),
    "target_in: got 13 to 13, expected 0 to 12": (IDS, IDS + 13),
    "target_in: got batch 1, expected source's 2": (IDS, IDS[:1]),
    "source_lengths: got batch 3, expected source's 2": (
        IDS, IDS, torch.tensor([1, 2, 3]),
    ),
    "source_lengths: got torch.float32": (IDS, IDS, torch.ones(2)),
    "source_lengths: got 0 to 4, expected 1 to 4": (
        IDS, IDS, torch.tensor([0, 4]),
    ),
    "source_lengths: got 1 to 5, expected 1 to 4": (
        IDS, IDS, torch.tensor([1, 5]),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("message", "inputs"), BAD_INPUTS.items())
def test_inputs_that_do_not_fit_are_named(message, inputs):
    with pytest.raises(ValueError) as error:
        Transformer(SHAPE)(*inputs)
    assert str(error.value).startswith(message)
