"""CLIP against Hugging Face: files, logits, loss, gradients."""

import json
import shutil

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from llmnotes.diffusion.clip import (
    contrastive_loss,
    from_pretrained,
    save_pretrained,
)
from llmnotes.diffusion.clip.files import ASSUMED, TOWER
from tests.diffusion.clip.tiny import (
    FAMILY,
    ours,
    some_ids,
    some_images,
    theirs,
)

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module", params=FAMILY)
def pair(request, tmp_path_factory):
    """Their model, and ours from the folder that they wrote."""
    folder = tmp_path_factory.mktemp("theirs")
    model = theirs(*FAMILY[request.param])
    model.save_pretrained(folder)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return model, from_pretrained(folder), folder
    finally:
        torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    theirs(*FAMILY["plain"]).save_pretrained(folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def change(folder, values, part=None):
    """Change config.json, or the part of one tower."""
    path = folder / "config.json"
    given = json.loads(path.read_text())
    inside = given[part] if part else given
    inside |= values
    path.write_text(json.dumps(given))
    return path


def looked_at(model):
    vision = model.config.vision_config
    return some_images(5, vision.num_channels, vision.image_size)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


def test_their_checkpoint_gives_their_logits_loss_and_gradients(pair):
    their, our, _ = pair
    images, ids = looked_at(our), some_ids()
    mask = (ids != 1).long()  # which changes nothing: the text is causal
    found = their(
        input_ids=ids, pixel_values=images, attention_mask=mask,
        return_loss=True,
    )  # fmt: skip
    logits = our(images, ids)
    close(logits, found.logits_per_image)
    close(logits.T, found.logits_per_text)
    loss = contrastive_loss(logits)
    close(loss, found.loss)
    given, expected = gradients(our, loss), gradients(their, found.loss)
    assert given.keys() == expected.keys()
    for name, gradient in given.items():
        assert gradient.abs().sum() > 0, name
        close(gradient, expected[name])


def test_other_numbers_of_images_and_captions_give_their_logits(pair):
    their, our, _ = pair
    images, ids = looked_at(our)[:3], some_ids()
    found = their(input_ids=ids, pixel_values=images).logits_per_image
    assert our(images, ids).shape == (3, 5)
    close(our(images, ids), found)


def test_vectors_are_theirs_made_as_long_as_one(pair):
    their, our, _ = pair
    images, ids = looked_at(our), some_ids()
    found = their(input_ids=ids, pixel_values=images)
    close(our.embed_images(images), found.image_embeds)
    close(our.embed_texts(ids), found.text_embeds)
    hidden = their.text_model(input_ids=ids).last_hidden_state
    close(our.text_model.hidden(ids), hidden)


def test_names_and_numbers_in_the_file_are_theirs(pair, tmp_path):
    their, our, folder = pair
    save_pretrained(our, tmp_path)
    given, expected = (load_file(f / WEIGHTS) for f in (tmp_path, folder))
    assert given.keys() == expected.keys() == our.state_dict().keys()
    assert all(torch.equal(given[name], expected[name]) for name in given)
    again = hf.CLIPModel.from_pretrained(tmp_path)
    inputs = dict(input_ids=some_ids(), pixel_values=looked_at(our))
    close(
        again.double()(**inputs).logits_per_image,
        their(**inputs).logits_per_image,
    )
    assert from_pretrained(tmp_path).config == our.config


def test_places_and_older_shapes_in_old_files_are_read(saved, copied):
    weights = load_file(copied / WEIGHTS)
    for tower, places in (("text", 9), ("vision", 10)):
        name = f"{tower}_model.embeddings.position_ids"
        weights[name] = torch.arange(places)[None]
    save_file(weights, copied / WEIGHTS)
    path = copied / "config.json"
    given = json.loads(path.read_text())
    given["text_config_dict"] = given["text_config"]
    given |= {"text_config": {"hidden_size": 99}, "vision_config_dict": None}
    path.write_text(json.dumps(given))
    ids, images = some_ids(), some_images(dtype=torch.float32)
    expected = from_pretrained(saved)(images, ids)
    assert torch.equal(from_pretrained(copied)(images, ids), expected)


def test_the_end_of_text_is_the_first_one_or_the_largest_id(copied):
    """Files before 2023 say 2 and mean the largest; new words may be more."""
    ids = some_ids(2)
    again = ids.clone()
    again[ids == 1] = 21  # padded with the end of text itself
    larger = ids.clone()
    larger[:, 1] = 22  # a word that was added behind it
    first = from_pretrained(copied)
    change(copied, {"eos_token_id": 2}, "text_config")
    largest = from_pretrained(copied)
    assert torch.equal(first.embed_texts(ids), largest.embed_texts(ids))
    assert torch.equal(first.embed_texts(again), first.embed_texts(ids))
    pooled = largest.text_model(larger)
    assert torch.equal(pooled, largest.text_model.hidden(larger)[:, 1])
    pooled = first.text_model(larger)
    ends = [row.index(21) for row in ids.tolist()]
    assert torch.equal(pooled, first.text_model.hidden(larger)[[0, 1], ends])


SPOILED = {
    "model_type: got 'siglip', expected 'clip'": (
        None, {"model_type": "siglip"}
    ),
    "projection_dim: got '7', expected int": (None, {"projection_dim": "7"}),
    "projection_dim: got 0, expected at least 1": (
        None, {"projection_dim": 0}
    ),
    "text_config: got 3, expected an object": (None, {"text_config": 3}),
    "text_config: attention_dropout: got 0.1, expected 0.0": (
        "text_config", {"attention_dropout": 0.1}
    ),
    "text_config: hidden_act: got 'relu', expected one of quick_gelu, gelu": (
        "text_config", {"hidden_act": "relu"}
    ),
    "text_config: eos_token_id: got [21, 22], expected int": (
        "text_config", {"eos_token_id": [21, 22]}
    ),
    "text_config: eos_token_id: got 23, expected less than vocab_size = 23": (
        "text_config", {"eos_token_id": 23}
    ),
    "text_config: num_attention_heads: got 5, expected a divisor of hidden_s":
        ("text_config", {"num_attention_heads": 5}),
    "text_config: max_position_embeddings: got 0, expected at least 1": (
        "text_config", {"max_position_embeddings": 0}
    ),
    "vision_config: layer_norm_eps: got 0.0, expected more than 0": (
        "vision_config", {"layer_norm_eps": 0.0}
    ),
    "vision_config: image_size: got [12, 12], expected int": (
        "vision_config", {"image_size": [12, 12]}
    ),
    "vision_config: patch_size: got 5, expected a divisor of image_size = 12":
        ("vision_config", {"patch_size": 5}),
    "vision_config: num_hidden_layers: got 0, expected at least 1": (
        "vision_config", {"num_hidden_layers": 0}
    ),
}  # fmt: skip


@pytest.mark.parametrize(("message", "change_"), SPOILED.items())
def test_a_config_of_another_model_is_refused_by_name(
    message, change_, copied
):
    part, values = change_
    path = change(copied, values, part)
    with pytest.raises(ValueError) as error:
        from_pretrained(copied)
    assert str(error.value).startswith(f"{path}: {message}")


def test_every_assumption_about_the_config_has_its_refusal():
    assert all(
        any(f"{name}: got" in message for message in SPOILED)
        for name in (*ASSUMED, *TOWER)
    )


def test_all_that_is_wrong_with_a_config_is_listed(copied):
    change(copied, {"hidden_size": "wide"}, "text_config")
    change(copied, {"patch_size": None}, "vision_config")
    path = change(copied, {"model_type": "align"})
    with pytest.raises(ValueError) as error:
        from_pretrained(copied)
    assert str(error.value) == (
        f"{path}: model_type: got 'align', expected 'clip'\n"
        "  text_config: hidden_size: got 'wide', expected int\n"
        "  vision_config: patch_size: got None, expected int"
    )


def test_all_tensors_that_do_not_fit_are_listed(copied):
    weights = load_file(copied / WEIGHTS)
    del weights["logit_scale"]
    weights["logit_bias"] = torch.ones(1)
    weights["text_projection.weight"] = torch.ones(7, 13)
    save_file(weights, copied / WEIGHTS)
    with pytest.raises(ValueError) as error:
        from_pretrained(copied)
    for words in (
        f"{copied / WEIGHTS}: got tensors that do not fit",
        "missing: logit_scale",
        "unknown: logit_bias",
        "text_projection.weight: got shape (7, 13), expected (7, 12)",
    ):
        assert words in str(error.value)


def test_a_model_of_ours_goes_there_and_back(tmp_path):
    model = ours()
    save_pretrained(model, tmp_path)
    ids, images = some_ids(), some_images(dtype=torch.float32)
    expected = model(images, ids)
    assert torch.equal(from_pretrained(tmp_path)(images, ids), expected)
