"""Phi against Hugging Face: files, logits, gradients, ids."""

import json
import shutil

import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from safetensors.torch import load_file, save_file

from llmnotes.models.kv_cache import generate
from llmnotes.models.phi import (
    Phi,
    Phi3,
    PhiConfig,
    from_pretrained,
    save_pretrained,
)
from llmnotes.models.phi.files import FAMILIES
from llmnotes.transformer.gpt import generate as recompute
from llmnotes.transformer.gpt import left_padded
from tests.models.llama.tiny import VOCAB, scatter
from tests.models.phi.tiny import FAMILY, SHAPE, THEIRS, ids, theirs

WEIGHTS = "model.safetensors"
PHI, PHI3 = ("phi", "grouped"), ("phi3", "grouped, in part")


@pytest.fixture(scope="module", params=FAMILY, ids=" ".join)
def pair(request, tmp_path_factory):
    """Their model, and ours from the folder that they wrote."""
    folder = tmp_path_factory.mktemp("theirs")
    model = theirs(request.param)
    model.save_pretrained(folder)
    return model, from_pretrained(folder), folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders that they wrote, one of each kind."""
    found = {}
    for name in (PHI, PHI3):
        found[name] = tmp_path_factory.mktemp(name[0])
        theirs(name).save_pretrained(found[name])
    return found


@pytest.fixture(params=(PHI, PHI3), ids=("phi", "phi3"))
def copied(request, saved, tmp_path):
    return shutil.copytree(saved[request.param], tmp_path / "copy")


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return path


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def their_name(model, name):
    """A weight of ours as Hugging Face calls it."""
    kind = "phi" if isinstance(model, Phi) else "phi3"
    return FAMILIES[kind].renamed(name)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}


def test_their_checkpoint_gives_their_logits_loss_and_gradients(pair):
    their, our, _ = pair
    text = ids()
    a, b = our(text), their(text, labels=text)
    close(a, b.logits)
    loss = F.cross_entropy(a[:, :-1].flatten(0, 1), text[:, 1:].flatten())
    close(loss, b.loss)
    ours, expected = gradients(our, loss), gradients(their, b.loss)
    assert {their_name(our, name) for name in ours} == expected.keys()
    for name, gradient in ours.items():
        if not name.endswith("k_proj.bias"):  # no softmax sees it: 0
            assert gradient.abs().sum() > 0, name
        close(gradient, expected[their_name(our, name)])


def test_config_json_says_which_of_the_two_it_is(pair):
    their, our, _ = pair
    kinds = {hf.PhiForCausalLM: Phi, hf.Phi3ForCausalLM: Phi3}
    assert type(our) is kinds[type(their)]
    assert not our.training


def test_names_and_numbers_in_the_file_are_theirs(pair, tmp_path):
    their, our, folder = pair
    save_pretrained(our, tmp_path)
    ours, expected = (load_file(f / WEIGHTS) for f in (tmp_path, folder))
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], expected[name]) for name in ours)
    again = type(their).from_pretrained(tmp_path)
    assert torch.equal(again(ids()).logits, their(ids()).logits)
    assert from_pretrained(tmp_path).config == our.config


def test_greedy_ids_are_theirs_cached_and_not(pair):
    their, our, _ = pair
    text = ids(4)
    expected = their.generate(
        text,
        attention_mask=torch.ones_like(text),
        max_new_tokens=9,
        do_sample=False,
    )
    assert torch.equal(generate(our, text, 9, temperature=0), expected)
    assert torch.equal(recompute(our, text, 9, temperature=0), expected)


def test_left_padded_batches_have_their_logits_and_ids(pair):
    their, our, _ = pair
    text, mask = left_padded([[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5]], pad=7)
    places = (mask.long().cumsum(1) - 1).clamp(min=0)
    a = our(text, mask)
    b = their(text, attention_mask=mask.long(), position_ids=places).logits
    close(a[mask], b[mask])
    expected = their.generate(
        text,
        attention_mask=mask.long(),
        max_new_tokens=6,
        do_sample=False,
        pad_token_id=7,
    )
    cached = generate(our, text, 6, lengths=mask.sum(1), temperature=0)
    assert torch.equal(cached, expected)


@pytest.mark.parametrize("name", [PHI, PHI3], ids=("phi", "phi3"))
def test_a_sharded_checkpoint_of_theirs_is_read(name, saved, tmp_path):
    theirs(name).save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    sharded, single = from_pretrained(tmp_path), from_pretrained(saved[name])
    assert torch.equal(sharded(ids()), single(ids()))


def test_rope_is_read_where_older_files_have_it(copied):
    path = copied / "config.json"
    given = json.loads(path.read_text())
    del given["rope_parameters"]
    given |= {"rope_theta": 500, "partial_rotary_factor": 0.75}
    path.write_text(json.dumps(given | {"hidden_size": 48, "head_dim": 8}))
    with pytest.raises(ValueError, match="of another shape"):
        from_pretrained(copied)
    path.write_text(json.dumps(given | {"partial_rotary_factor": 1}))
    config = from_pretrained(copied).config
    assert (config.rope_theta, config.rotary_dim) == (500.0, 4)
    config = PhiConfig(**SHAPE, num_key_value_heads=3, head_dim=8)
    assert config.partial_rotary_factor == 0.5  # where the file is silent


def test_angles_among_old_weights_are_passed_over(copied):
    before = from_pretrained(copied)
    weights = load_file(copied / WEIGHTS)
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(2)
    save_file(weights, copied / WEIGHTS)
    assert torch.equal(from_pretrained(copied)(ids()), before(ids()))


BOTH = {
    "model_type: got 'llama', expected 'phi' or 'phi3'": (
        {"model_type": "llama"}
    ),
    "model_type: got 'phi-msft', expected 'phi' or 'phi3'": (
        {"model_type": "phi-msft"}
    ),
    "model_type: got None, expected 'phi' or 'phi3'": {"model_type": None},
    "attention_dropout: got 0.1, expected 0.0": {"attention_dropout": 0.1},
    "embd_pdrop: got 0.1, expected 0.0": {"embd_pdrop": 0.1},
    "rope_type: got 'longrope', expected 'default'": (
        {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}
    ),
    "rope_type: got 'su', expected 'default'": (
        {"rope_parameters": None, "rope_scaling": {"type": "su"}}
    ),
    "rope_type: got 'linear', expected 'default'": (
        {"rope_parameters": None, "rope_scaling": "linear"}
    ),
    "vocab_size: got 'many', expected int": {"vocab_size": "many"},
    "num_hidden_layers: got 0, expected at least 1": (
        {"num_hidden_layers": 0}
    ),
    "partial_rotary_factor: got 1.5, expected 0 < it <= 1": (
        {"rope_parameters": {"partial_rotary_factor": 1.5}}
    ),
    "head_dim * partial_rotary_factor: got 3, expected an even number": (
        {"rope_parameters": {"partial_rotary_factor": 0.75}}
    ),
}
SPOILED = {
    "phi": {
        **BOTH,
        "hidden_act: got 'gelu', expected 'gelu_new' or 'gelu_pytorch_tanh'": (
            {"hidden_act": "gelu"}
        ),
        "qk_layernorm: got True, expected False": {"qk_layernorm": True},
        "layer_norm_eps: got 'small', expected float": (
            {"layer_norm_eps": "small"}
        ),
        "tie_word_embeddings: got True, expected False": (
            {"tie_word_embeddings": True}
        ),
        "resid_pdrop: got 1.0, expected 0 <= it < 1": {"resid_pdrop": 1},
    },
    "phi3": {
        **BOTH,
        "hidden_act: got 'gelu', expected 'silu'": {"hidden_act": "gelu"},
        "attention_bias: got True, expected False": {"attention_bias": True},
        "resid_pdrop: got 0.1, expected 0.0": {"resid_pdrop": 0.1},
        "sliding_window: got 0, expected at least 1": {"sliding_window": 0},
    },
}
CASES = [
    pytest.param(kind, message, values, id=f"{kind}: {message[:40]}")
    for kind, cases in SPOILED.items()
    for message, values in cases.items()
]


@pytest.mark.parametrize(("kind", "message", "values"), CASES)
def test_a_config_of_another_model_is_refused_by_name(
    kind, message, values, saved, tmp_path
):
    name = {"phi": PHI, "phi3": PHI3}[kind]
    folder = shutil.copytree(saved[name], tmp_path / "copy")
    path = change(folder, **values)
    with pytest.raises(ValueError) as error:
        from_pretrained(folder)
    assert str(error.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_assumption_about_the_config_has_its_refusal(kind):
    refused = {message.split(":")[0] for message in SPOILED[kind]}
    assert FAMILIES[kind].assumed.keys() <= refused


def test_all_that_is_wrong_with_a_config_is_listed(saved, tmp_path):
    folder = shutil.copytree(saved[PHI], tmp_path / "copy")
    path = change(
        folder, hidden_act="gelu", qk_layernorm=True, vocab_size="many"
    )
    with pytest.raises(ValueError) as error:
        from_pretrained(folder)
    assert str(error.value) == (
        f"{path}: hidden_act: got 'gelu', expected 'gelu_new' or "
        "'gelu_pytorch_tanh'\n"
        "  qk_layernorm: got True, expected False\n"
        "  vocab_size: got 'many', expected int"
    )


def test_all_tensors_that_do_not_fit_are_listed(saved, tmp_path):
    folder = shutil.copytree(saved[PHI], tmp_path / "copy")
    weights = load_file(folder / WEIGHTS)
    del weights["lm_head.bias"]
    weights["model.layers.0.self_attn.qkv_proj.weight"] = torch.ones(24, 24)
    weights["model.layers.1.mlp.fc1.weight"] = torch.ones(24, 20)
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(ValueError) as error:
        from_pretrained(folder)
    for words in (
        f"{folder / WEIGHTS}: got tensors that do not fit",
        "missing: lm_head.bias",
        "unknown: model.layers.0.self_attn.qkv_proj.weight",
        "fc1.weight: got shape (24, 20), expected (20, 24)",
    ):
        assert words in str(error.value)


def test_a_truncated_file_is_refused(copied):
    path = copied / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="model.safetensors: cannot be read"):
        from_pretrained(copied)


def test_a_model_of_ours_goes_there_and_back(tmp_path):
    our = scatter(Phi(PhiConfig(**SHAPE, resid_pdrop=0.1)))
    save_pretrained(our, tmp_path)
    again = from_pretrained(tmp_path)
    assert again.config == our.config
    assert torch.equal(again(ids()), our(ids()))
    their = THEIRS["phi"][1].from_pretrained(tmp_path)
    assert their.config.resid_pdrop == 0.1
    close(their(ids()).logits, our(ids()))
    assert our(ids()).shape == (*ids().shape, VOCAB)
