"""GPT-2 and GPT-1 against Hugging Face: files, logits, gradients, ids."""

import json
import shutil

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch import nn

from llmnotes.transformer.gpt import GPT, GPT1, GPTConfig, generate
from llmnotes.transformer.gpt.files import ASSUMED, load_gpt2, save_gpt2

SHAPE = dict(vocab_size=23, n_positions=11, n_embd=12, n_layer=3, n_head=3)
WEIGHTS = "model.safetensors"


def scatter(model):
    """Random numbers everywhere: fresh biases are 0 and hide mistakes."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model.eval()


@pytest.fixture(scope="module")
def theirs():
    config = hf.GPT2Config(**SHAPE, bos_token_id=0, eos_token_id=0)
    return scatter(hf.GPT2LMHeadModel(config))


@pytest.fixture(scope="module")
def saved(theirs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def some_ids(length=9):
    torch.manual_seed(1)
    return torch.randint(23, (2, length))


def compare(ours, theirs, ids):
    """Logits and the gradient of every parameter."""
    upstream = torch.randn(*ids.shape, 23)
    a, b = ours(ids), theirs(ids).logits
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    gradients = []
    for model, logits in ((ours, a), (theirs, b)):
        model.zero_grad()
        (logits * upstream).sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for x, y in zip(*gradients, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4)


def test_their_checkpoint_gives_their_logits_and_gradients(theirs, saved):
    compare(load_gpt2(saved), theirs, some_ids())


def test_greedy_ids_are_equal(theirs, saved):
    ids = some_ids(3)
    ours = generate(load_gpt2(saved), ids, 8, temperature=0)
    # They stop at an end token; a model of random weights has none.
    options = dict(max_new_tokens=8, do_sample=False, eos_token_id=None)
    mask = torch.ones_like(ids)
    assert torch.equal(
        ours, theirs.generate(ids, attention_mask=mask, **options)
    )


def test_our_checkpoint_is_read_by_them(tmp_path):
    ours = scatter(GPT(GPTConfig(**SHAPE, dropout=0.25)))
    save_gpt2(ours, tmp_path)
    again = hf.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    compare(ours, again, some_ids())
    assert again.config.resid_pdrop == 0.25
    assert load_gpt2(tmp_path).config == ours.config


def test_names_in_the_file_are_theirs(saved, tmp_path):
    save_gpt2(load_gpt2(saved), tmp_path)
    ours, their = (load_file(f / WEIGHTS) for f in (tmp_path, saved))
    assert ours.keys() == their.keys()
    assert all(torch.equal(ours[name], their[name]) for name in ours)


def test_openais_names_and_masks_are_understood(saved, copied):
    weights = {
        name.removeprefix("transformer."): tensor
        for name, tensor in load_file(saved / WEIGHTS).items()
    }
    weights["h.0.attn.bias"] = torch.ones(1, 1, 11, 11).tril()
    weights["lm_head.weight"] = weights["wte.weight"].clone()
    save_file(weights, copied / WEIGHTS)
    ids = some_ids()
    assert torch.equal(load_gpt2(copied)(ids), load_gpt2(saved)(ids))


def test_a_square_matrix_loads_untransposed_without_complaint():
    model = scatter(GPT(GPTConfig(**SHAPE)))
    weight = model.transformer.h[0].attn.c_proj.weight
    linear = nn.Linear(*weight.shape)
    linear.load_state_dict(model.transformer.h[0].attn.c_proj.state_dict())
    x = torch.randn(2, 5, 12)
    right = model.transformer.h[0].attn.c_proj(x)
    assert not torch.allclose(linear(x), right)
    linear.weight = nn.Parameter(weight.T)
    torch.testing.assert_close(linear(x), right)


def test_gpt_1_gives_their_logits_and_gradients():
    theirs = scatter(hf.OpenAIGPTLMHeadModel(hf.OpenAIGPTConfig(**SHAPE)))
    ours = GPT1(GPTConfig(**SHAPE)).eval()
    names = {"tokens_embed": "wte", "positions_embed": "wpe"}
    weights = theirs.state_dict()
    weights.pop("lm_head.weight")
    for name in list(weights):
        part = name.split(".")[1]
        if part in names:
            weights[name.replace(part, names[part])] = weights.pop(name)
    ours.load_state_dict(
        {
            name: tensor
            for name, tensor in weights.items()
            if not name.endswith(".attn.bias")  # the mask
        }
    )
    torch.testing.assert_close(
        ours(some_ids()), theirs(some_ids()).logits, rtol=1e-4, atol=1e-5
    )


SPOILED = {
    "model_type: got 'llama', expected 'gpt2'": {"model_type": "llama"},
    "activation_function: got 'gelu', expected 'gelu_new' or 'gelu_pyt": (
        {"activation_function": "gelu"}
    ),
    "scale_attn_weights: got False": {"scale_attn_weights": False},
    "scale_attn_by_inverse_layer_idx: got True": (
        {"scale_attn_by_inverse_layer_idx": True}
    ),
    "add_cross_attention: got True": {"add_cross_attention": True},
    "tie_word_embeddings: got False": {"tie_word_embeddings": False},
    "n_inner: got 7, expected None or 48": {"n_inner": 7},
    "n_embd: got None, expected int": {"n_embd": None},
    "n_head: got 5, expected a divisor of n_embd = 12": {"n_head": 5},
    "attn_pdrop: got 0.3, expected 0.1": {"attn_pdrop": 0.3},
    "embd_pdrop: got 0.0, expected 0.1": {"embd_pdrop": 0.0},
    "attn_pdrop: got 0.1, expected 0.2": {"resid_pdrop": 0.2},
    "resid_pdrop: got 'a', expected float": {"resid_pdrop": "a"},
    "dropout: got 1.0, expected 0 <= dropout < 1": (
        {"resid_pdrop": 1, "attn_pdrop": 1, "embd_pdrop": 1}
    ),
}


@pytest.mark.parametrize(("message", "change"), SPOILED.items())
def test_a_config_of_another_model_is_refused_by_name(message, change, copied):
    path = copied / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError) as error:
        load_gpt2(copied)
    assert str(error.value).startswith(f"{path}: {message}")


def test_every_assumption_about_the_config_has_its_refusal():
    assert ASSUMED.keys() <= {name.split(":")[0] for name in SPOILED}


def test_a_config_that_is_silent_about_dropout_means_a_tenth(copied):
    path = copied / "config.json"
    given = json.loads(path.read_text())
    for name in ("resid_pdrop", "attn_pdrop", "embd_pdrop"):
        assert given.pop(name) == 0.1
    path.write_text(json.dumps(given))
    assert load_gpt2(copied).config.dropout == 0.1
    path.write_text(json.dumps(given | {"resid_pdrop": 0.0}))
    with pytest.raises(ValueError, match="attn_pdrop: got 0.1, expected 0.0"):
        load_gpt2(copied)


def test_all_tensors_that_do_not_fit_are_listed(copied):
    weights = load_file(copied / WEIGHTS)
    del weights["transformer.ln_f.bias"]
    weights["transformer.more"] = torch.ones(1)
    weights["transformer.wpe.weight"] = torch.ones(10, 12)
    weights["lm_head.weight"] = torch.ones(23, 12)
    save_file(weights, copied / WEIGHTS)
    with pytest.raises(ValueError) as error:
        load_gpt2(copied)
    for words in (
        f"{copied / WEIGHTS}: got tensors that do not fit",
        "missing: transformer.ln_f.bias",
        "unknown: transformer.more",
        "transformer.wpe.weight: got shape (10, 12), expected (11, 12)",
        "lm_head.weight: got numbers of its own, expected transformer.wte.we",
    ):
        assert words in str(error.value)


def test_a_sharded_checkpoint_of_theirs_is_read(theirs, saved, tmp_path):
    theirs.save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    ids = some_ids()
    assert torch.equal(load_gpt2(tmp_path)(ids), load_gpt2(saved)(ids))


def test_a_compiled_models_weights_are_read(saved, copied):
    weights = load_file(saved / WEIGHTS)
    found = {f"module._orig_mod.{name}": t for name, t in weights.items()}
    save_file(found, copied / WEIGHTS)
    ids = some_ids()
    assert torch.equal(load_gpt2(copied)(ids), load_gpt2(saved)(ids))
