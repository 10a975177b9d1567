"""Stable Diffusion as a whole against diffusers' pipeline."""

import copy
import dataclasses
import json
import shutil

import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from safetensors.torch import load_file, save_file

from llmnotes.diffusion.ddim import DDIM
from llmnotes.diffusion.latent_diffusion import (
    StableDiffusion,
    from_pretrained,
)
from llmnotes.diffusion.latent_diffusion.pipeline import read_text_encoder
from tests.diffusion.latent_diffusion import captions, pipelines
from tests.diffusion.latent_diffusion.pipelines import PROMPTS
from tests.diffusion.latent_diffusion.witness import apart, draw


@pytest.fixture(scope="module")
def theirs():
    return pipelines.theirs()


@pytest.fixture(scope="module")
def saved(theirs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    theirs.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ours(saved):
    return from_pretrained(saved)


@pytest.fixture(scope="module")
def wide(saved, theirs):
    """Ours and theirs in float64."""
    parts = pipelines.in_float64(copy.deepcopy(theirs))
    return from_pretrained(saved).double(), parts


def seed(number=0):
    return torch.Generator().manual_seed(number)


OPTIONS = {
    "as published": {},
    "a negative caption": dict(negative="blue"),
    "no guidance": dict(scale=1.0),
    "another size": dict(size=(8, 24)),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_pictures_are_those_of_diffusers(name, ours, theirs):
    options = {"scale": 7.5, "negative": ""} | OPTIONS[name]
    rows, columns = options.get("size", (None, None))
    expected = theirs(
        PROMPTS,
        num_inference_steps=4,
        guidance_scale=options["scale"],
        negative_prompt=[options["negative"]] * len(PROMPTS),
        height=rows,
        width=columns,
        generator=seed(),
        output_type="pt",
    ).images
    found = ours.draw(PROMPTS, generator=seed(), steps=4, **options)
    assert found.std() > 0.1  # nothing was clipped away
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_the_noisy_sampler_draws_what_theirs_draws(ours, theirs):
    """η = 1: the noise of each step comes from the same generator."""
    expected = theirs(
        PROMPTS, num_inference_steps=3, eta=1.0, generator=seed(),
        output_type="pt",
    ).images  # fmt: skip
    found = ours.draw(PROMPTS, generator=seed(), steps=3, solver=DDIM(eta=1.0))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_contexts_are_those_of_transformers(wide):
    ours, theirs = wide
    ids = captions.their_ids(theirs.tokenizer, PROMPTS)
    expected = theirs.text_encoder(ids).last_hidden_state
    assert apart(ours.read(PROMPTS), expected) < 1e-10


def test_one_call_of_the_network_is_theirs(wide):
    """Ours counts steps from 1, theirs from 0."""
    ours, theirs = wide
    x, context = draw(2, 3, 4, 6), draw(2, 9, 12)
    said = ours.denoiser(x, torch.tensor([1, 1000]), context)
    expected = theirs.unet(x, torch.tensor([0, 999]), context).sample
    assert apart(said, expected) < 1e-10


@pytest.mark.parametrize("negative", ["", "blue"])
def test_the_whole_way_is_theirs_to_ten_digits(negative, wide):
    """Latents and pictures, with the same noise at the start."""
    ours, theirs = wide
    noise = draw(2, 3, 8, 4)
    options = dict(latents=noise, num_inference_steps=5, height=16, width=8)
    options["negative_prompt"] = [negative] * 2
    expected = theirs(PROMPTS, output_type="latent", **options).images
    found = ours.latents(noise, PROMPTS, steps=5, negative=negative)
    assert apart(found, expected) < 1e-10
    assert expected.abs().max() > 2  # nothing was clipped
    expected = theirs(PROMPTS, output_type="pt", **options).images
    assert apart(ours.shown(found), expected) < 1e-10


@pytest.mark.parametrize("strength", [0.2, 0.5, 0.79, 1.0])
def test_pictures_are_changed_as_diffusers_changes_them(
    strength, ours, theirs
):
    pictures = torch.rand(2, 3, 16, 8, generator=seed(5))
    kind = StableDiffusionImg2ImgPipeline
    change = kind(**theirs.components, requires_safety_checker=False)
    change.set_progress_bar_config(disable=True)
    expected = change(
        PROMPTS,
        image=pictures,
        strength=strength,
        num_inference_steps=5,
        guidance_scale=7.5,
        generator=seed(),
        output_type="pt",
    ).images
    found = ours.redraw(
        pictures, PROMPTS, strength=strength, steps=5, generator=seed()
    )
    assert found.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_the_published_text_encoder_and_its_old_names_are_read(
    ours, saved, tmp_path
):
    shutil.copytree(saved / "text_encoder", tmp_path, dirs_exist_ok=True)
    path = tmp_path / "model.safetensors"
    old = {f"text_model.{n}": t for n, t in load_file(path).items()}
    places = torch.arange(captions.LONGEST)[None]
    old["text_model.embeddings.position_ids"] = places
    save_file(old, path)
    found = read_text_encoder(tmp_path).state_dict()
    expected = ours.text_encoder.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_drawing_leaves_modes_gradients_and_seeds_alone(ours):
    ours.train()
    ours.autoencoder.eval()
    before = torch.get_rng_state()
    first = ours.draw(PROMPTS[:1], generator=seed(), steps=2)
    assert not first.requires_grad
    assert ours.denoiser.network.training and not ours.autoencoder.training
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(
        ours.draw(PROMPTS[:1], generator=seed(), steps=2), first
    )
    ours.eval()


def test_a_caption_has_the_picture_that_it_has_alone(ours):
    noise = torch.randn(2, 3, 8, 4, generator=seed(1))
    both = ours.latents(noise, PROMPTS, steps=2)
    alone = ours.latents(noise[1:], PROMPTS[1:], steps=2)
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-4)


def test_sizes_that_do_not_fit_are_refused(ours):
    with pytest.raises(ValueError) as error:
        ours.draw(PROMPTS, generator=seed(), size=(10, 8))
    assert str(error.value) == "size: got (10, 8), expected multiples of 4"


def parts(ours, **change):
    network = ours.denoiser.network
    whole = dict(
        unet=network,
        autoencoder=ours.autoencoder,
        text_encoder=ours.text_encoder,
        tokenizer=ours.tokenizer,
        sampler=ours.sampler,
    )
    return whole | change


def other(part, **change):
    """A part that says it has another shape."""
    config = dataclasses.replace(part.config, **change)
    fake = type(part)(config)
    return fake


MISFITS = {
    "in_channels: got 4, expected latent_channels = 3": (
        lambda ours: dict(unet=other(ours.denoiser.network, in_channels=4))
    ),
    "out_channels: got 6, expected latent_channels = 3": (
        lambda ours: dict(unet=other(ours.denoiser.network, out_channels=6))
    ),
    "cross_attention_dim: got 12, expected the text encoder's hidden_size": (
        lambda ours: dict(
            text_encoder=other(ours.text_encoder, hidden_size=15)
        )
    ),
    "tokenizer: got": (
        lambda ours: dict(text_encoder=other(ours.text_encoder, vocab_size=9))
    ),
    "longest: got 9, expected at most max_position_embeddings = 8": (
        lambda ours: dict(
            text_encoder=other(ours.text_encoder, max_position_embeddings=8)
        )
    ),
}


@pytest.mark.parametrize("message", MISFITS)
def test_parts_that_do_not_fit_together_are_refused(message, ours):
    with pytest.raises(ValueError) as error:
        StableDiffusion(**parts(ours, **MISFITS[message](ours)))
    assert str(error.value).startswith(message)


def test_another_text_encoder_is_refused(saved, tmp_path):
    shutil.copytree(saved / "text_encoder", tmp_path, dirs_exist_ok=True)
    path = tmp_path / "config.json"
    given = json.loads(path.read_text()) | {"model_type": "t5"}
    path.write_text(json.dumps(given))
    with pytest.raises(ValueError) as error:
        read_text_encoder(tmp_path)
    assert str(error.value) == (
        f"{path}: model_type: got 't5', expected 'clip_text_model'"
    )


MISSING = {
    "unet": "config.json",
    "vae": "config.json",
    "text_encoder": "config.json",
    "tokenizer": "tokenizer.json",
    "scheduler": "scheduler_config.json",
}


@pytest.mark.parametrize("part", MISSING)
def test_a_folder_without_a_part_is_refused(part, saved, tmp_path):
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / part)
    with pytest.raises(ValueError) as error:
        from_pretrained(tmp_path)
    path = tmp_path / part / MISSING[part]
    assert str(error.value).startswith(f"{path}: cannot be read")


def test_all_tensors_of_the_text_encoder_that_do_not_fit_are_listed(
    saved, tmp_path
):
    shutil.copytree(saved / "text_encoder", tmp_path, dirs_exist_ok=True)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    lost = next(n for n in weights if n.endswith("final_layer_norm.bias"))
    del weights[lost]
    weights["surplus.weight"] = torch.ones(2)
    save_file(weights, path)
    with pytest.raises(ValueError) as error:
        read_text_encoder(tmp_path)
    assert str(error.value) == (
        f"{path}: got tensors that do not fit: 1 missing, 1 unknown\n"
        "  missing: final_layer_norm.bias\n"
        "  unknown: surplus.weight"
    )


CHANGES = {
    "strength: got 0, expected above 0 and at most 1": dict(strength=0),
    "strength: got 1.2, expected above 0 and at most 1": dict(strength=1.2),
    "strength: got nan, expected above 0 and at most 1": (
        dict(strength=float("nan"))
    ),
    "strength: got 0.3, expected 0.5 or more: of 2 steps none is left": (
        dict(strength=0.3)
    ),
    "size: got (16, 10), expected multiples of 4": (
        dict(pictures=torch.rand(2, 3, 16, 10))
    ),
    "captions: got 2, expected 3, one for each picture": (
        dict(pictures=torch.rand(3, 3, 16, 8))
    ),
    "scale: got inf, expected a finite number": dict(scale=float("inf")),
}


@pytest.mark.parametrize("message", CHANGES)
def test_what_cannot_be_changed_is_refused(message, ours):
    given = dict(pictures=torch.rand(2, 3, 16, 8), captions=PROMPTS, steps=2)
    with pytest.raises(ValueError) as error:
        ours.redraw(**given | CHANGES[message], generator=seed())
    assert str(error.value) == message


@pytest.mark.parametrize("captions", ["a red circle", []])
def test_a_text_is_not_taken_for_a_list_of_captions(captions, ours):
    with pytest.raises(ValueError) as error:
        ours.draw(captions, generator=seed(), steps=1)
    expected = f"captions: got {captions!r}, expected a list of captions"
    assert str(error.value) == expected
