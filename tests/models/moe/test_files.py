"""Mixtral against Hugging Face: files, logits, gradients, ids."""

import json
import shutil

import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from safetensors.torch import load_file, save_file

from llmnotes.models.kv_cache import generate
from llmnotes.models.moe import (
    Mixtral,
    MixtralConfig,
    from_pretrained,
    save_pretrained,
)
from llmnotes.models.moe.files import ASSUMED
from llmnotes.transformer.gpt import left_padded
from tests.models.llama.test_files import WEIGHTS, change, close, gradients
from tests.models.llama.tiny import scatter, some_ids
from tests.models.moe.tiny import FAMILY, SHAPE, theirs

W2 = "model.layers.1.block_sparse_moe.experts.3.w2.weight"


@pytest.fixture(scope="module", params=FAMILY)
def pair(request, tmp_path_factory):
    """Their model, and ours from the folder that they wrote."""
    folder = tmp_path_factory.mktemp("theirs")
    model = theirs(FAMILY[request.param])
    model.save_pretrained(folder)
    return model, from_pretrained(folder), folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixtral")
    theirs({}).save_pretrained(folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def test_their_checkpoint_gives_their_logits_loss_and_gradients(pair):
    their, our, _ = pair
    ids = some_ids()
    a, b = our(ids), their(ids, labels=ids)
    close(a, b.logits)
    loss = F.cross_entropy(a[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    close(loss, b.loss)
    ours, expected = gradients(our, loss), gradients(their, b.loss)
    assert ours.keys() == expected.keys()
    for name, gradient in ours.items():
        alone = our.config.num_experts_per_tok == 1 and "gate.weight" in name
        assert alone or gradient.abs().sum() > 0, name
        close(gradient, expected[name])


def test_names_and_numbers_in_the_file_are_theirs(pair, tmp_path):
    their, our, folder = pair
    save_pretrained(our, tmp_path)
    ours, expected = (load_file(f / WEIGHTS) for f in (tmp_path, folder))
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], expected[name]) for name in ours)
    again = hf.MixtralForCausalLM.from_pretrained(tmp_path)
    ids = some_ids()
    assert torch.equal(again(ids).logits, their(ids).logits)
    assert from_pretrained(tmp_path).config == our.config


@pytest.mark.parametrize("cached", [True, False])
def test_greedy_ids_are_theirs_with_a_cache_and_without(pair, cached):
    their, our, _ = pair
    ids = some_ids(4)
    expected = their.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=9,
        do_sample=False,
        use_cache=cached,
    )
    assert torch.equal(generate(our, ids, 9, temperature=0), expected)


def test_left_padded_batches_have_their_logits_and_ids(pair):
    their, our, _ = pair
    ids, mask = left_padded([[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5]], pad=7)
    places = (mask.long().cumsum(1) - 1).clamp(min=0)
    a = our(ids, mask)
    b = their(ids, attention_mask=mask.long(), position_ids=places).logits
    close(a[mask], b[mask])
    written = generate(our, ids, 8, lengths=mask.sum(1), temperature=0)
    expected = their.generate(
        ids,
        attention_mask=mask.long(),
        max_new_tokens=8,
        do_sample=False,
        pad_token_id=7,
    )
    assert torch.equal(written, expected)


def test_a_sharded_checkpoint_of_theirs_is_read(saved, tmp_path):
    theirs({}).save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    ids = some_ids()
    ours = from_pretrained(tmp_path)(ids)
    assert torch.equal(ours, from_pretrained(saved)(ids))


def test_a_checkpoint_of_bfloat16_is_read_to_the_bit(tmp_path):
    their = theirs({}).bfloat16()
    their.save_pretrained(tmp_path)
    ours = from_pretrained(tmp_path).state_dict()
    assert all(
        torch.equal(ours[name].bfloat16(), tensor)
        for name, tensor in their.state_dict().items()
    )


def test_an_expert_lies_in_the_file_in_three_matrices(saved):
    model, found = from_pretrained(saved), load_file(saved / WEIGHTS)
    name = "model.layers.2.block_sparse_moe.experts.4"
    w1, w2, w3 = (found[f"{name}.w{i}.weight"] for i in (1, 2, 3))
    experts = model.model["layers"][2].mlp.experts
    assert torch.equal(experts.gate_up_proj[4], torch.cat([w1, w3]))
    assert torch.equal(experts.down_proj[4], w2)


SPOILED = {
    "model_type: got 'mistral', expected 'mixtral'": {"model_type": "mistral"},
    "hidden_act: got 'gelu', expected 'silu'": {"hidden_act": "gelu"},
    "attention_dropout: got 0.1, expected 0.0": {"attention_dropout": 0.1},
    "sliding_window: got 4096, expected None": {"sliding_window": 4096},
    "router_jitter_noise: got 0.1, expected 0.0": {"router_jitter_noise": 0.1},
    "num_local_experts: got 0, expected at least 1": {"num_local_experts": 0},
    "num_experts_per_tok: got 6, expected at most num_local_experts = 5": (
        {"num_experts_per_tok": 6}
    ),
    "num_experts_per_tok: got 0, expected at least 1": (
        {"num_experts_per_tok": 0}
    ),
    "router_aux_loss_coef: got -1.0, expected at least 0": (
        {"router_aux_loss_coef": -1.0}
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


def test_all_tensors_that_do_not_fit_are_listed_by_the_names_in_the_file(
    copied,
):
    weights = load_file(copied / WEIGHTS)
    del weights[W2]
    weights["model.layers.0.block_sparse_moe.gate.bias"] = torch.ones(5)
    w1 = W2.replace("w2", "w1")
    weights[w1] = torch.ones(24, 20)
    save_file(weights, copied / WEIGHTS)
    with pytest.raises(ValueError) as error:
        from_pretrained(copied)
    for words in (
        f"{copied / WEIGHTS}: got tensors that do not fit: 1 missing, 1 unk",
        f"missing: {W2}",
        "unknown: model.layers.0.block_sparse_moe.gate.bias",
        f"{w1}: got shape (24, 20), expected (20, 24)",
    ):
        assert words in str(error.value)


def test_a_truncated_file_is_refused(copied):
    path = copied / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="model.safetensors: cannot be read"):
        from_pretrained(copied)


def test_their_balancing_coefficient_is_kept(saved, copied, tmp_path):
    change(copied, router_aux_loss_coef=0.02)
    model = from_pretrained(copied)
    assert model.config.router_aux_loss_coef == 0.02
    save_pretrained(model, tmp_path / "again")
    given = json.loads((tmp_path / "again/config.json").read_text())
    assert given["router_aux_loss_coef"] == 0.02


def test_a_model_of_ours_goes_there_and_back(tmp_path):
    ours = scatter(Mixtral(MixtralConfig(**SHAPE)))
    save_pretrained(ours, tmp_path)
    ids = some_ids()
    assert torch.equal(from_pretrained(tmp_path)(ids), ours(ids))
