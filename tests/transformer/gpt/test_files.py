"""GPT-2 and GPT-1 against Hugging Face: files, logits, gradients, ids."""

import json
import shutil

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch import nn

from llmnotes.transformer.gpt import GPT, GPT1, GPTConfig, generate
from llmnotes.transformer.gpt.files import load_gpt2, save_gpt2

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


def spoil_config(folder, **change):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def spoil_weights(folder, change):
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


SPOILED = {
    "config.json: model_type: got 'llama', expected 'gpt2'": (
        lambda f: spoil_config(f, model_type="llama")
    ),
    "config.json: activation_function: got 'gelu'": (
        lambda f: spoil_config(f, activation_function="gelu")
    ),
    "config.json: n_inner: got 7": lambda f: spoil_config(f, n_inner=7),
    "config.json: cannot be read": (
        lambda f: (f / "config.json").write_text("{")
    ),
    "n_head: got 5": lambda f: spoil_config(f, n_head=5),
    "model.safetensors: cannot be read": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-9])
    ),
    "transformer.ln_f.bias is missing": lambda f: spoil_weights(
        f, lambda w: w.pop("transformer.ln_f.bias")
    ),
    "transformer.more is unknown": lambda f: spoil_weights(
        f, lambda w: w.update({"transformer.more": torch.ones(1)})
    ),
    "transformer.wpe.weight: got shape (10, 12), expected (11, 12)": (
        lambda f: spoil_weights(
            f, lambda w: w.update(
                {"transformer.wpe.weight": torch.ones(10, 12)}
            ),
        )
    ),
    "lm_head.weight: got a head of its own": lambda f: spoil_weights(
        f, lambda w: w.update({"lm_head.weight": torch.ones(23, 12)})
    ),
}  # fmt: skip


@pytest.mark.parametrize(("message", "spoil"), SPOILED.items())
def test_what_is_wrong_with_a_checkpoint_is_said(message, spoil, copied):
    spoil(copied)
    with pytest.raises(ValueError) as error:
        load_gpt2(copied)
    assert message in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="config.json: cannot be read"):
        load_gpt2(tmp_path)
