"""Llama against Hugging Face: files, logits, gradients, ids."""

import json
import shutil

import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from safetensors.torch import load_file, save_file

from llmnotes.models.llama import (
    Llama,
    LlamaConfig,
    from_pretrained,
    save_pretrained,
)
from llmnotes.models.llama.files import ASSUMED
from llmnotes.transformer.gpt import generate, left_padded
from tests.models.llama.tiny import (
    FAMILY,
    LLAMA3,
    SHAPE,
    VOCAB,
    scatter,
    some_ids,
    theirs,
)

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module", params=FAMILY)
def pair(request, tmp_path_factory):
    """Their model, and ours from the folder that they wrote."""
    folder = tmp_path_factory.mktemp("theirs")
    model = theirs(FAMILY[request.param])
    model.save_pretrained(folder)
    return model, from_pretrained(folder), folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grouped")
    theirs(FAMILY["GQA"]).save_pretrained(folder)
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
    ids = some_ids()
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
    again = hf.LlamaForCausalLM.from_pretrained(tmp_path)
    ids = some_ids()
    assert torch.equal(again(ids).logits, their(ids).logits)
    assert from_pretrained(tmp_path).config == our.config


def test_greedy_ids_are_theirs(pair):
    their, our, _ = pair
    ids = some_ids(4)
    options = dict(max_new_tokens=12, do_sample=False)
    expected = their.generate(
        ids, attention_mask=torch.ones_like(ids), **options
    )
    assert torch.equal(generate(our, ids, 12, temperature=0), expected)


def test_left_padded_batches_have_their_logits_and_ids(pair):
    their, our, _ = pair
    ids, mask = left_padded([[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5]], pad=7)
    places = (mask.long().cumsum(1) - 1).clamp(min=0)
    a = our(ids, mask)
    b = their(ids, attention_mask=mask.long(), position_ids=places).logits
    close(a[mask], b[mask])
    written = generate(our, ids, 8, mask=mask, temperature=0)
    expected = their.generate(
        ids,
        attention_mask=mask.long(),
        max_new_tokens=8,
        do_sample=False,
        pad_token_id=7,
    )
    assert torch.equal(written, expected)


def test_reading_a_folder_draws_no_random_numbers(saved):
    """What is drawn would be thrown away, and cost time and a seed."""
    before = torch.get_rng_state()
    from_pretrained(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_sharded_checkpoint_of_theirs_is_read(saved, tmp_path):
    their = theirs(FAMILY["GQA"])
    their.save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    ids = some_ids()
    assert torch.equal(
        from_pretrained(tmp_path)(ids), from_pretrained(saved)(ids)
    )


def test_a_checkpoint_of_bfloat16_is_read_to_the_bit(tmp_path):
    their = theirs(FAMILY["GQA"]).bfloat16()
    their.save_pretrained(tmp_path)
    ours = from_pretrained(tmp_path).state_dict()
    assert all(
        torch.equal(ours[name].bfloat16(), tensor)
        for name, tensor in their.state_dict().items()
    )


def test_rope_is_read_where_older_files_have_it(saved, copied):
    path = copied / "config.json"
    given = json.loads(path.read_text())
    del given["rope_parameters"]
    given |= {"rope_theta": 500, "rope_scaling": LLAMA3}
    path.write_text(json.dumps(given))
    config = from_pretrained(copied).config
    assert config == LlamaConfig(
        **SHAPE, num_key_value_heads=2, rope_theta=500.0, rope_scaling=LLAMA3
    )
    change(copied, rope_scaling=None)
    assert from_pretrained(copied).config.rope_scaling is None
    assert from_pretrained(saved).config.rope_theta == 10000.0


def test_angles_among_old_weights_are_passed_over(saved, copied):
    weights = load_file(copied / WEIGHTS)
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(2)
    save_file(weights, copied / WEIGHTS)
    ids = some_ids()
    assert torch.equal(
        from_pretrained(copied)(ids), from_pretrained(saved)(ids)
    )


def test_a_tied_head_may_lie_in_the_file_and_must_be_the_embedding(tmp_path):
    theirs(FAMILY["tied head"]).save_pretrained(tmp_path)
    weights = load_file(tmp_path / WEIGHTS)
    head = weights["model.embed_tokens.weight"].clone()
    save_file(weights | {"lm_head.weight": head}, tmp_path / WEIGHTS)
    from_pretrained(tmp_path)
    save_file(weights | {"lm_head.weight": head + 1}, tmp_path / WEIGHTS)
    with pytest.raises(ValueError, match="lm_head.weight: got numbers of it"):
        from_pretrained(tmp_path)


SPOILED = {
    "model_type: got 'mistral', expected 'llama'": {"model_type": "mistral"},
    "hidden_act: got 'gelu', expected 'silu'": {"hidden_act": "gelu"},
    "attention_bias: got True, expected False": {"attention_bias": True},
    "mlp_bias: got True, expected False": {"mlp_bias": True},
    "attention_dropout: got 0.1, expected 0.0": {"attention_dropout": 0.1},
    "sliding_window: got 4096, expected None": {"sliding_window": 4096},
    "hidden_size: got None, expected int": {"hidden_size": None},
    "rms_norm_eps: got 'small', expected float": {"rms_norm_eps": "small"},
    "num_hidden_layers: got 0, expected at least 1": (
        {"num_hidden_layers": 0}
    ),
    "num_key_value_heads: got 4, expected a divisor of num_attention_hea": (
        {"num_key_value_heads": 4}
    ),
    "num_attention_heads: got 5, expected a divisor of hidden_size = 24": (
        {"num_attention_heads": 5, "head_dim": None}
    ),
    "head_dim: got 3, expected an even number": {"head_dim": 3},
    "rope_theta: got 0.5, expected more than 1": (
        {"rope_parameters": {"rope_theta": 0.5, "rope_type": "default"}}
    ),
    "rope_scaling: got rope_type 'yarn', expected 'llama3' or 'default'": (
        {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}
    ),
    "rope_scaling: got factor, expected factor, high_freq_factor, low_fr": (
        {"rope_parameters": {"rope_type": "llama3", "factor": 2.0}}
    ),
    "factor: got 0.5, expected at least 1": (
        {"rope_parameters": LLAMA3 | {"factor": 0.5}}
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
    path = change(copied, hidden_act="gelu", mlp_bias=True, vocab_size="many")
    with pytest.raises(ValueError) as error:
        from_pretrained(copied)
    assert str(error.value) == (
        f"{path}: hidden_act: got 'gelu', expected 'silu'\n"
        "  mlp_bias: got True, expected False\n"
        "  vocab_size: got 'many', expected int"
    )
    change(copied, hidden_act="silu", mlp_bias=False, vocab_size=0, head_dim=0)
    with pytest.raises(ValueError, match="vocab_size: got 0.*; head_dim: go"):
        from_pretrained(copied)


def test_all_tensors_that_do_not_fit_are_listed(copied):
    weights = load_file(copied / WEIGHTS)
    del weights["model.norm.weight"]
    weights["model.layers.0.self_attn.q_proj.bias"] = torch.ones(24)
    weights["model.layers.1.self_attn.k_proj.weight"] = torch.ones(24, 24)
    save_file(weights, copied / WEIGHTS)
    with pytest.raises(ValueError) as error:
        from_pretrained(copied)
    for words in (
        f"{copied / WEIGHTS}: got tensors that do not fit",
        "missing: model.norm.weight",
        "unknown: model.layers.0.self_attn.q_proj.bias",
        "k_proj.weight: got shape (24, 24), expected (8, 24)",
    ):
        assert words in str(error.value)


def test_a_truncated_file_is_refused(copied):
    path = copied / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="model.safetensors: cannot be read"):
        from_pretrained(copied)


def test_a_model_of_ours_goes_there_and_back(tmp_path):
    ours = scatter(Llama(LlamaConfig(**SHAPE, num_key_value_heads=2)))
    save_pretrained(ours, tmp_path)
    ids = some_ids()
    assert torch.equal(from_pretrained(tmp_path)(ids), ours(ids))
    assert ours(ids).shape == (*ids.shape, VOCAB)
