"""Mistral against Hugging Face: files, logits, gradients, ids."""

import json
import shutil

import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from safetensors.torch import load_file, save_file

from llmnotes.models import llama
from llmnotes.models.kv_cache import GrowingCache, generate
from llmnotes.models.mistral import (
    Mistral,
    MistralConfig,
    from_pretrained,
    save_pretrained,
)
from llmnotes.models.mistral.files import ASSUMED
from llmnotes.transformer.gpt import left_padded
from tests.models.llama.tiny import scatter
from tests.models.mistral.tiny import FAMILY, SHAPE, some_ids, theirs

WEIGHTS = "model.safetensors"
LONG = 11  # tokens: more than every window that is to be seen


@pytest.fixture(scope="module", params=FAMILY)
def pair(request, tmp_path_factory):
    """Their model, and ours from the folder that they wrote."""
    folder = tmp_path_factory.mktemp("theirs")
    model = theirs(FAMILY[request.param])
    model.save_pretrained(folder)
    return model, from_pretrained(folder), folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("windowed")
    theirs(FAMILY["window 4"]).save_pretrained(folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return path


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_their_checkpoint_gives_their_logits_loss_and_gradients(pair):
    their, our, _ = pair
    ids = some_ids(LONG)
    a, b = our(ids), their(ids, labels=ids)
    close(a, b.logits)
    loss = F.cross_entropy(a[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    close(loss, b.loss)
    ours, expected = gradients(our, loss), gradients(their, b.loss)
    assert ours.keys() == expected.keys()
    for name, gradient in ours.items():
        assert gradient.abs().sum() > 0, name
        close(gradient, expected[name])


def test_names_and_numbers_in_the_file_are_theirs(pair, tmp_path):
    their, our, folder = pair
    save_pretrained(our, tmp_path)
    ours, expected = (load_file(f / WEIGHTS) for f in (tmp_path, folder))
    assert ours.keys() == expected.keys() == our.state_dict().keys()
    assert all(torch.equal(ours[name], expected[name]) for name in ours)
    again = hf.MistralForCausalLM.from_pretrained(tmp_path)
    assert again.config.sliding_window == our.config.sliding_window
    ids = some_ids(LONG)
    assert torch.equal(again(ids).logits, their(ids).logits)
    assert from_pretrained(tmp_path).config == our.config


def caches():
    """Those of ours that fit: one that it chooses, and a full one."""
    return [None, GrowingCache()]


@pytest.mark.parametrize("cached", [True, False])
def test_greedy_ids_are_theirs(pair, cached):
    their, our, _ = pair
    ids = some_ids(6)
    expected = their.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=12,
        do_sample=False,
        use_cache=cached,
    )
    for past in caches():
        written = generate(our, ids, 12, past=past, temperature=0)
        assert torch.equal(written, expected)


def test_left_padded_batches_have_their_logits_and_ids(pair):
    their, our, _ = pair
    prompts = [[3, 1, 4, 1, 5, 9, 2], [6, 5], [3, 5, 8, 9, 7]]
    ids, mask = left_padded(prompts, pad=7)
    places = (mask.long().cumsum(1) - 1).clamp(min=0)
    a = our(ids, mask)
    b = their(ids, attention_mask=mask.long(), position_ids=places).logits
    close(a[mask], b[mask])
    expected = their.generate(
        ids,
        attention_mask=mask.long(),
        max_new_tokens=8,
        do_sample=False,
        pad_token_id=7,
    )
    for past in caches():
        options = dict(lengths=mask.sum(1), past=past, temperature=0)
        assert torch.equal(generate(our, ids, 8, **options), expected)


def test_a_sharded_checkpoint_of_theirs_is_read(saved, tmp_path):
    their = theirs(FAMILY["window 4"])
    their.save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    ids = some_ids()
    assert torch.equal(
        from_pretrained(tmp_path)(ids), from_pretrained(saved)(ids)
    )


def test_a_file_that_is_silent_about_the_window_means_4096(copied):
    path = copied / "config.json"
    given = json.loads(path.read_text())
    del given["sliding_window"]
    path.write_text(json.dumps(given))
    assert from_pretrained(copied).config.sliding_window == 4096
    there = hf.MistralConfig.from_pretrained(copied)
    assert there.sliding_window == 4096
    change(copied, sliding_window=None)
    assert from_pretrained(copied).config.sliding_window is None


def test_a_model_of_ours_goes_there_and_back(tmp_path):
    ours = scatter(Mistral(MistralConfig(**SHAPE, sliding_window=3)))
    save_pretrained(ours, tmp_path)
    ids = some_ids()
    assert torch.equal(from_pretrained(tmp_path)(ids), ours(ids))


SPOILED = {
    "model_type: got 'llama', expected 'mistral'": {"model_type": "llama"},
    "model_type: got 'mixtral', expected 'mistral'": (
        {"model_type": "mixtral"}
    ),
    "hidden_act: got 'gelu', expected 'silu'": {"hidden_act": "gelu"},
    "attention_dropout: got 0.1, expected 0.0": {"attention_dropout": 0.1},
    "layer_types: got ['full_attention'], expected None": (
        {"layer_types": ["full_attention"]}
    ),
    "sliding_window: got 0, expected at least 1": {"sliding_window": 0},
    "sliding_window: got -1, expected at least 1": {"sliding_window": -1},
    "sliding_window: got '4096', expected int | None": (
        {"sliding_window": "4096"}
    ),
    "sliding_window: got [4, None], expected int | None": (
        {"sliding_window": [4, None]}
    ),
}


@pytest.mark.parametrize(("message", "values"), SPOILED.items())
def test_a_config_of_another_model_is_refused_by_name(message, values, copied):
    path = change(copied, **values)
    with pytest.raises(ValueError) as error:
        from_pretrained(copied)
    assert str(error.value).startswith(f"{path}: {message}")


def test_every_assumption_about_the_config_has_its_refusal():
    assert ASSUMED.keys() <= {name.split(":")[0] for name in SPOILED}


def test_all_that_is_wrong_with_a_config_is_listed(copied):
    path = change(copied, hidden_act="gelu", sliding_window=2.5)
    with pytest.raises(ValueError) as error:
        from_pretrained(copied)
    assert str(error.value) == (
        f"{path}: hidden_act: got 'gelu', expected 'silu'\n"
        "  sliding_window: got 2.5, expected int | None"
    )


def test_llama_refuses_a_mistral_and_a_llama_with_a_window(copied):
    with pytest.raises(ValueError, match="model_type: got 'mistral'"):
        llama.from_pretrained(copied)
    change(copied, model_type="llama")
    with pytest.raises(ValueError, match="sliding_window: got 4, expected N"):
        llama.from_pretrained(copied)


def test_tensors_that_do_not_fit_are_listed_and_a_cut_file_refused(copied):
    path = copied / WEIGHTS
    weights = load_file(path)
    del weights["model.norm.weight"]
    save_file(weights, path)
    with pytest.raises(ValueError, match="missing: model.norm.weight"):
        from_pretrained(copied)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="model.safetensors: cannot be read"):
        from_pretrained(copied)
