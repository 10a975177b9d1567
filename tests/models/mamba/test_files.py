"""Mamba and Mamba-2 against Hugging Face: files, logits, gradients."""

import json
import shutil

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from llmnotes.models.kv_cache import generate
from llmnotes.models.mamba import (
    Mamba,
    Mamba2,
    Mamba2Config,
    MambaConfig,
    from_pretrained,
    save_pretrained,
)
from llmnotes.models.mamba.files import FAMILIES
from llmnotes.transformer.gpt import left_padded
from tests.models.llama.tiny import scatter
from tests.models.mamba.tiny import FAMILY, THEIRS, VOCAB, ids, theirs

WEIGHTS = "model.safetensors"
LIMITED = ("mamba2", "limited")


@pytest.fixture(scope="module", params=FAMILY, ids=" ".join)
def pair(request, tmp_path_factory):
    """Their model, and ours from the folder that they wrote."""
    folder = tmp_path_factory.mktemp("theirs")
    model = theirs(request.param)
    model.save_pretrained(folder)
    return model, from_pretrained(folder), folder, request.param


@pytest.fixture
def copied(pair, tmp_path):
    return shutil.copytree(pair[2], tmp_path / "copy")


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_their_checkpoint_gives_their_logits_loss_and_gradients(pair):
    their, our, _, _ = pair
    text = ids()
    a, b = our(text), their(text, labels=text)
    close(a, b.logits)
    loss = F.cross_entropy(a[:, :-1].flatten(0, 1), text[:, 1:].flatten())
    close(loss, b.loss)
    loss.backward()
    b.loss.backward()
    expected = {name: p.grad for name, p in their.named_parameters()}
    ours = {name: p.grad for name, p in our.named_parameters()}
    assert ours.keys() == expected.keys()
    for name, gradient in ours.items():
        size = expected[name].abs().max()
        assert size > 0, name
        assert (gradient - expected[name]).abs().max() < 1e-5 * size, name


def test_logits_of_a_read_past_are_theirs(pair):
    their, our, _, name = pair
    text, past = ids(), our.cache_for(11)
    with torch.no_grad():
        prompt = their(text[:, :5], use_cache=True)
        close(our(text[:, :5], past=past), prompt.logits)
        kept = prompt.cache_params
        for t in range(5, 11):
            step = their(text[:, t : t + 1], cache_params=kept, use_cache=True)
            ours = our.step(text[:, t], past)
            if name != LIMITED:  # theirs does not cut Δ there
                close(ours, step.logits[:, 0])
            close(ours, our(text[:, : t + 1])[:, -1])


def test_their_step_of_one_token_does_not_cut_its_step(tmp_path):
    their = theirs(LIMITED)
    text = ids()
    with torch.no_grad():
        whole = their(text).logits[:, -1]
        kept = their(text[:, :-1], use_cache=True).cache_params
        step = their(text[:, -1:], cache_params=kept, use_cache=True).logits
        assert (step[:, 0] - whole).abs().max() > 1e-3
        their.save_pretrained(tmp_path)
        close(from_pretrained(tmp_path)(text)[:, -1], whole)


def test_their_mamba_forgets_its_state_before_several_tokens():
    text = ids()
    with torch.no_grad():
        for kind, right in (("mamba", False), ("mamba2", True)):
            name = next(name for name in FAMILY if name[0] == kind)
            their = theirs(name)
            kept = their(text[:, :5], use_cache=True).cache_params
            two = their(text[:, 5:7], cache_params=kept, use_cache=True)
            error = two.logits - their(text[:, :7]).logits[:, 5:]
            assert (error.abs().max() < 1e-5) == right


def test_greedy_ids_are_theirs(pair):
    their, our, _, name = pair
    text = ids(4)
    expected = their.generate(
        text,
        attention_mask=torch.ones_like(text),
        max_new_tokens=7,
        do_sample=False,
        use_cache=name != LIMITED,  # theirs does not cut Δ there
    )
    assert torch.equal(generate(our, text, 7, temperature=0), expected)


def test_left_padded_batches_have_their_logits(pair):
    their, our, _, _ = pair
    text, mask = left_padded([[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5]], pad=7)
    a = our(text, mask)
    if not our.config.use_bias:  # theirs hides padding before the bias
        b = their(text, attention_mask=mask.long()).logits
        close(a[mask], b[mask])
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = their(text[row : row + 1, -length:]).logits[0]
        close(a[row, -length:], alone)


def test_names_and_numbers_in_the_file_are_theirs(pair, tmp_path):
    their, our, folder, _ = pair
    save_pretrained(our, tmp_path)
    ours, expected = (load_file(f / WEIGHTS) for f in (tmp_path, folder))
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], expected[name]) for name in ours)
    again = type(their).from_pretrained(tmp_path)
    assert torch.equal(again(ids()).logits, their(ids()).logits)
    assert from_pretrained(tmp_path).config == our.config


def test_the_file_says_which_of_the_two_it_is(pair):
    _, our, _, name = pair
    assert type(our) is {"mamba": Mamba, "mamba2": Mamba2}[name[0]]
    assert not our.training


def test_the_first_checkpoints_call_the_table_embedding(copied):
    before = from_pretrained(copied)
    weights = load_file(copied / WEIGHTS)
    weights["backbone.embedding.weight"] = weights.pop(
        "backbone.embeddings.weight"
    )
    save_file(weights, copied / WEIGHTS)
    assert torch.equal(from_pretrained(copied)(ids()), before(ids()))


def test_a_tied_head_may_lie_there_too_but_no_other(pair, copied):
    head, weights = "lm_head.weight", load_file(copied / WEIGHTS)
    if not pair[1].config.tie_word_embeddings:
        assert head in weights
        return
    assert head not in weights
    weights[head] = weights["backbone.embeddings.weight"].clone()
    save_file(weights, copied / WEIGHTS)
    assert torch.equal(from_pretrained(copied)(ids()), pair[1](ids()))
    weights[head][0, 0] += 1
    save_file(weights, copied / WEIGHTS)
    with pytest.raises(ValueError, match=f"not tied: {head}: got numbers"):
        from_pretrained(copied)


def test_no_token_is_said_to_begin_or_end_a_text(pair, tmp_path):
    save_pretrained(pair[1], tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    names = "bos_token_id", "eos_token_id", "pad_token_id"
    assert [said[name] for name in names] == [None] * 3


SPOILED = {
    "model_type: got 'mamba3', expected 'mamba' or 'mamba2'": (
        dict(model_type="mamba3")
    ),
    "model_type: got None, expected 'mamba' or 'mamba2'": (
        dict(model_type=None)
    ),
    "hidden_act: got 'gelu', expected 'silu'": dict(hidden_act="gelu"),
    "vocab_size: got 'many', expected int": dict(vocab_size="many"),
    "state_size: got 0, expected at least 1": dict(state_size=0),
}


@pytest.mark.parametrize("message", SPOILED)
def test_a_config_of_another_model_is_refused_by_name(message, copied):
    path = copied / "config.json"
    given = json.loads(path.read_text()) | SPOILED[message]
    path.write_text(json.dumps(given))
    with pytest.raises(ValueError) as error:
        from_pretrained(copied)
    assert str(error.value).startswith(f"{path}: {message}")


def test_tensors_that_do_not_fit_are_listed(copied):
    weights = load_file(copied / WEIGHTS)
    del weights["backbone.norm_f.weight"]
    weights["backbone.layers.0.mixer.E"] = torch.ones(2)
    weights["backbone.layers.1.mixer.D"] = torch.ones(1)
    save_file(weights, copied / WEIGHTS)
    with pytest.raises(ValueError) as error:
        from_pretrained(copied)
    for words in (
        "missing: backbone.norm_f.weight",
        "unknown: backbone.layers.0.mixer.E",
        "layers.1.mixer.D: got shape (1,), expected",
    ):
        assert words in str(error.value)


def test_a_truncated_file_is_refused(copied):
    path = copied / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="model.safetensors: cannot be read"):
        from_pretrained(copied)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_model_of_ours_goes_there_and_back(kind, tmp_path):
    shape = next(shape for name, shape in FAMILY.items() if name[0] == kind)
    config, build = dict(
        mamba=(MambaConfig, Mamba), mamba2=(Mamba2Config, Mamba2)
    )[kind]
    our = scatter(build(config(**shape)))
    save_pretrained(our, tmp_path)
    again = from_pretrained(tmp_path)
    assert again.config == our.config
    assert torch.equal(again(ids()), our(ids()))
    close(THEIRS[kind][1].from_pretrained(tmp_path)(ids()).logits, our(ids()))
    assert our(ids()).shape == (*ids().shape, VOCAB)
