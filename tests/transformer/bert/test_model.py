"""What the BERT chapter claims of the model, proved."""

import math

import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from torch import nn

from llmnotes import train
from llmnotes.transformer.bert import (
    BERT_BASE,
    BERT_LARGE,
    MINILM_L6,
    Bert,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    count,
)
from llmnotes.transformer.bert.masking import hide
from llmnotes.transformer.gpt import GPT1, GPTConfig
from tests.transformer.bert.masked_runs import LeftToRightLM

SHAPE = dict(
    vocab_size=23, hidden_size=12, num_hidden_layers=3, num_attention_heads=3,
    intermediate_size=20, max_position_embeddings=11, type_vocab_size=2,
)  # fmt: skip
TINY = BertConfig(**SHAPE)
BATCH, LENGTH = 2, 7


def scatter(model, scale=0.2):
    """Random numbers everywhere: fresh biases are 0 and hide mistakes."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(scale * torch.randn_like(p))
    return model.eval().double()


def tiny(cls=BertModel, **change):
    torch.manual_seed(1)
    return scatter(cls(BertConfig(**{**SHAPE, **change})))


def some_ids(length=LENGTH, seed=1):
    torch.manual_seed(seed)
    return torch.randint(1, 23, (BATCH, length))


def padded():
    """Ids, what is real of them (7 and 4 tokens), and types."""
    mask = torch.arange(LENGTH) < torch.tensor([[LENGTH], [4]])
    types = (torch.arange(LENGTH) > 2).long().expand(BATCH, LENGTH)
    return some_ids() * mask, mask, types


@pytest.fixture(scope="module")
def theirs():
    return scatter(hf.BertModel(hf.BertConfig(**SHAPE)))


@pytest.fixture
def ours(theirs):
    model = BertModel(TINY).double().eval()
    model.load_state_dict(theirs.state_dict())
    return model


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters()}


def test_every_hidden_state_equals_theirs(ours, theirs):
    ids, mask, types = padded()
    right = theirs(ids, mask.long(), types, output_hidden_states=True)
    found = ours.hidden_states(ids, mask, types)
    assert len(found) == len(right.hidden_states) == 4
    for a, b in zip(found, right.hidden_states, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(ours.pool(found[-1]), right.pooler_output)
    torch.testing.assert_close(ours(ids), theirs(ids).last_hidden_state)


def test_the_gradient_of_every_parameter_equals_theirs(ours, theirs):
    ids, mask, types = padded()
    upstream = torch.randn(BATCH, LENGTH, 12, dtype=torch.float64)
    upstream = upstream * mask[:, :, None]
    hidden = ours(ids, mask, types)
    ((hidden * upstream).sum() + ours.pool(hidden).sin().sum()).backward()
    right = theirs(ids, mask.long(), types)
    theirs.zero_grad()
    loss = (right.last_hidden_state * upstream).sum()
    (loss + right.pooler_output.sin().sum()).backward()
    found, wanted = gradients(ours), gradients(theirs)
    assert found.keys() == wanted.keys()
    for name in found:
        torch.testing.assert_close(found[name], wanted[name], msg=name)


def test_logits_of_hidden_tokens_and_their_gradient_equal_theirs():
    theirs = scatter(hf.BertForMaskedLM(hf.BertConfig(**SHAPE)))
    weights = theirs.state_dict()
    for name in ("weight", "bias"):  # the embedding and the bias again
        del weights[f"cls.predictions.decoder.{name}"]
    ours = BertForMaskedLM(TINY).double().eval()
    ours.load_state_dict(weights)
    ids, mask, types = padded()
    labels = torch.where(torch.rand(BATCH, LENGTH) < 0.5, some_ids(), -100)
    logits = ours(ids, mask, types)
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    right = theirs(ids, mask.long(), types, labels=labels)
    torch.testing.assert_close(logits, right.logits)
    torch.testing.assert_close(loss, right.loss)
    loss.backward()
    right.loss.backward()
    found, wanted = gradients(ours), gradients(theirs)
    assert found.keys() == wanted.keys()
    for name in found:
        if "word_embeddings" in name:  # they freeze what [PAD] reads as
            found[name][0] = wanted[name][0] = 0
        torch.testing.assert_close(found[name], wanted[name], msg=name)


PUBLISHED = [
    (BERT_BASE, 109_482_240),
    (BERT_LARGE, 335_141_888),
    (MINILM_L6, 22_713_216),
]


@pytest.mark.parametrize(("config", "published"), PUBLISHED)
def test_parameter_counts_are_exact(config, published):
    with torch.device("meta"):  # shapes without numbers
        model = BertModel(config)
    assert sum(p.numel() for p in model.parameters()) == published
    assert sum(count(config).values()) == published


def test_the_count_follows_from_the_shape_term_by_term():
    parts = dict.fromkeys(("embeddings", "layers", "pooler"), 0)
    for name, p in BertModel(TINY).named_parameters():
        parts[name.split(".")[0].replace("encoder", "layers")] += p.numel()
    assert parts == count(TINY)


def moved(model, ids):
    """[i, j]: does a change of token j move the output at i?"""
    before = model(ids)
    rows = []
    for j in range(ids.shape[1]):
        changed = ids.clone()
        changed[:, j] = (ids[:, j] + 1) % 23
        rows.append((model(changed) - before).abs().amax((0, 2)) > 1e-9)
    return torch.stack(rows, 1)


def test_bert_sees_both_sides_and_gpt_1_only_the_left():
    ids = some_ids()
    gpt = scatter(GPT1(GPTConfig(23, 11, n_embd=12, n_layer=1, n_head=3)))
    everything = torch.ones(LENGTH, LENGTH, dtype=torch.bool)
    assert torch.equal(moved(tiny(num_hidden_layers=1), ids), everything)
    assert torch.equal(moved(gpt, ids), everything.tril())


def test_padding_changes_nothing():
    model, (ids, mask, _) = tiny(), padded()
    alone = model(ids[1:, :4])
    torch.testing.assert_close(model(ids, mask)[1:, :4], alone)
    assert not torch.allclose(model(ids)[1:, :4], alone)
    other = torch.where(mask, ids, 9)
    torch.testing.assert_close(
        model(other, mask)[mask], model(ids, mask)[mask]
    )


def test_without_positions_order_does_not_matter():
    model, ids = tiny(), some_ids()
    order = torch.randperm(LENGTH)
    shuffled = model(ids[:, order])
    assert not torch.allclose(shuffled, model(ids)[:, order])
    with torch.no_grad():
        model.embeddings.position_embeddings.weight.zero_()
    torch.testing.assert_close(model(ids[:, order]), model(ids)[:, order])


def test_types_tell_two_texts_apart():
    model, (ids, mask, types) = tiny(), padded()
    zeros = torch.zeros_like(ids)
    assert torch.equal(model(ids, mask), model(ids, mask, zeros))
    assert not torch.allclose(model(ids, mask, types), model(ids, mask))


def test_gelu_is_the_exact_one():
    layer = tiny().encoder["layer"][0]
    x = torch.randn(BATCH, LENGTH, 12, dtype=torch.float64)
    for name in ("weight", "bias"):  # attention adds nothing
        nn.init.zeros_(getattr(layer.attention["output"].dense, name))
    half = layer.attention["output"].LayerNorm(x)
    wide = layer.intermediate["dense"](half)
    exact = wide * (1 + torch.erf(wide / math.sqrt(2))) / 2
    torch.testing.assert_close(layer(x), layer.output(exact, half))
    tanh = layer.output(F.gelu(wide, approximate="tanh"), half)
    assert (layer(x) - tanh).abs().max() > 1e-5


def test_each_sum_is_normalised_not_each_input():
    model, ids = tiny(), some_ids()
    for state, norm in zip(
        model.hidden_states(ids)[1:],
        [layer.output.LayerNorm for layer in model.encoder["layer"]],
        strict=True,
    ):
        unit = (state - norm.bias) / norm.weight
        assert unit.mean(-1).abs().max() < 1e-9
        assert (unit.var(-1, correction=0) - 1).abs().max() < 1e-9


def test_a_silent_network_leaves_what_attention_added():
    # A second residual taken from the layer's input would lose it.
    layer = tiny().encoder["layer"][0]
    for name in ("weight", "bias"):
        nn.init.zeros_(getattr(layer.output.dense, name))
    x = torch.randn(BATCH, LENGTH, 12, dtype=torch.float64)
    half = layer.attention["output"](layer.attention["self"](x), x)
    torch.testing.assert_close(layer(x), layer.output.LayerNorm(half))
    assert not torch.allclose(layer(x), layer.output.LayerNorm(x))


def test_a_bias_of_the_keys_changes_nothing():
    # It adds the same to every score of a query, and softmax forgets that.
    model, (ids, mask, types) = tiny(), padded()
    before = model(ids, mask, types)
    before.sin().sum().backward()
    for layer in model.encoder["layer"]:
        part = layer.attention["self"]
        assert part.key.bias.grad.abs().max() < 1e-12
        assert part.query.bias.grad.abs().max() > 1e-6
        nn.init.normal_(part.key.bias)
    torch.testing.assert_close(model(ids, mask, types), before)


def test_norms_add_1e_12_to_the_variance():
    norms = [m for m in tiny().modules() if isinstance(m, nn.LayerNorm)]
    assert len(norms) == 7 and {norm.eps for norm in norms} == {1e-12}


def test_attention_weights_are_those_that_are_used():
    layer, (_, mask, _) = tiny().encoder["layer"][0], padded()
    x = torch.randn(BATCH, LENGTH, 12, dtype=torch.float64)
    visible = mask[:, None, None]
    part = layer.attention["self"]
    weights, value = part.weights(x, visible), part.split(x)[2]
    merged = (weights @ value).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(part(x, visible), merged)
    assert (weights[1, :, :, 4:] == 0).all()


def test_the_decoder_is_the_token_embedding():
    model, ids = tiny(BertForMaskedLM), some_ids()
    assert not any("decoder" in name for name in model.state_dict())
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[4] = 0
    ids = torch.where(ids == 4, 5, ids)
    bias = model.cls["predictions"].bias[4]
    torch.testing.assert_close(model(ids)[..., 4], bias.expand(BATCH, LENGTH))


def test_dropout_acts_on_embeddings_and_on_each_sublayers_output():
    model = tiny(Bert, hidden_dropout_prob=0.5).train()
    zeros = torch.zeros(BATCH, LENGTH, dtype=torch.long)
    dropped = (model.embeddings(some_ids(), zeros) == 0).double().mean()
    assert 0.3 < dropped < 0.7
    part = model.encoder["layer"][0].output
    x = torch.randn(BATCH, LENGTH, 20, dtype=torch.float64)
    part.LayerNorm = nn.Identity()
    added = part(x, torch.zeros(BATCH, LENGTH, 12, dtype=torch.float64))
    kept = added.abs() > 0
    assert 0.3 < kept.double().mean() < 0.7
    torch.testing.assert_close(added[kept], 2 * part.dense(x)[kept])


def test_a_fresh_model_predicts_nothing_in_particular():
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(**{**SHAPE, "hidden_size": 96}))
    logits = model.eval()(some_ids())
    loss = F.cross_entropy(logits.flatten(0, 1), some_ids().flatten())
    assert loss.item() == pytest.approx(math.log(23), abs=0.1)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            assert (p == 0).all()
        elif p.ndim == 1:
            assert (p == 1).all()
        else:
            assert p.std().item() == pytest.approx(0.02, rel=0.1)


def pairs(batch, seed):
    """Three pairs of symbols; the second of each follows from the first."""
    torch.manual_seed(seed)
    first = torch.randint(7, (batch, 3))
    return torch.stack([first, (3 * first + 2) % 7], -1).flatten(1)


class Pairs(train.Task):
    """Guess what is hidden of 64 rows of pairs."""

    def batch(self, step):
        text = pairs(64, step)
        return hide(text, mask_id=7, vocab_size=7, seed=0, step=step)

    def loss(self, model, batch):
        return train.loss(model, *batch)

    def evaluate(self, model):
        return self.loss(model, self.batch(train.EVALUATION)).item()


@pytest.mark.parametrize(
    ("cls", "low", "high"),
    [(BertForMaskedLM, 0.95, 1.0), (LeftToRightLM, 0.0, 0.3)],
)
def test_what_stands_to_the_right_is_learned_by_those_who_see_it(
    cls, low, high
):
    torch.manual_seed(0)
    shape = BertConfig(8, 24, 1, 2, 48, 6, 1, 0.0, initializer_range=0.2)
    model = cls(shape)
    config = train.TrainConfig(
        steps=80, learning_rate=1e-2, min_learning_rate=1e-2, warmup=0,
        clip=0.0,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters())
    train.fit(model, Pairs(), config, optimizer=optimizer, progress=False)
    text = pairs(500, seed=999)
    hidden = text.clone()
    hidden[:, 2] = 7  # the first of a pair: only its right neighbour tells
    guess = model(hidden)[:, 2].argmax(-1)
    assert low <= (guess == text[:, 2]).double().mean() <= high


def test_gradients_agree_with_finite_differences():
    model, ids = tiny(num_hidden_layers=1), some_ids(3)
    name = "embeddings.position_embeddings.weight"
    weight = model.get_parameter(name).detach().clone().requires_grad_()

    def run(positions):
        return torch.func.functional_call(model, {name: positions}, (ids,))

    assert torch.autograd.gradcheck(run, (weight,), fast_mode=True)


BAD_CONFIGS = {
    "vocab_size: got 0": {"vocab_size": 0},
    "type_vocab_size: got -1": {"type_vocab_size": -1},
    "num_attention_heads: got 5, expected a divisor of hidden_size = 12": {
        "num_attention_heads": 5
    },
    "hidden_dropout_prob: got 1.0": {"hidden_dropout_prob": 1.0},
}


@pytest.mark.parametrize(("message", "change"), BAD_CONFIGS.items())
def test_configs_that_cannot_be_are_named(message, change):
    with pytest.raises(ValueError, match=f"^{message}"):
        BertConfig(**{**SHAPE, **change})


ZEROS = torch.zeros(2, 3, dtype=torch.long)
FIRST = torch.tensor([[1, 0, 0]] * 2)
ONE_TWO = torch.tensor([[0, 1, 2]] * 2)
BAD_INPUTS = {
    "ids: got length 12, expected at most max_position_embeddings = 11": (
        torch.zeros(1, 12, dtype=torch.long),
    ),
    "ids: got shape (1, 0)": (torch.zeros(1, 0, dtype=torch.long),),
    "ids: got shape (2,), expected (batch, length)": (ZEROS[:, 0],),
    "ids: got torch.float32, expected an integer dtype": (ZEROS.float(),),
    "ids: got 0 to 23, expected 0 to 22": (torch.tensor([[0, 23]]),),
    "ids: got -1 to 0, expected 0 to 22": (torch.tensor([[0, -1]]),),
    "mask: got torch.int64, expected bool": (ZEROS, ZEROS),
    "mask: got length 2, expected ids' 3": (ZEROS, ZEROS[:, :2].bool()),
    "types: got 0 to 2, expected 0 to 1": (ZEROS, None, ZEROS + ONE_TWO),
    "types: got -1 to 0, expected 0 to 1": (ZEROS, None, ZEROS - 1 * FIRST),
    "types: got torch.bool, expected an integer dtype": (
        ZEROS, None, ZEROS.bool(),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("message", "arguments"), BAD_INPUTS.items())
@pytest.mark.parametrize("cls", [BertModel, BertForMaskedLM])
def test_inputs_that_do_not_fit_are_named(cls, message, arguments):
    with pytest.raises(ValueError) as error:
        cls(TINY)(*arguments)
    assert str(error.value).startswith(message)
