"""Stable Diffusion as a whole against diffusers' pipeline."""

import dataclasses
import json
import shutil

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from llmnotes.diffusion.ddim import DDIM
from llmnotes.diffusion.latent_diffusion import (
    StableDiffusion,
    from_pretrained,
)
from llmnotes.diffusion.latent_diffusion.pipeline import read_text_encoder
from tests.diffusion.latent_diffusion import captions
from tests.diffusion.latent_diffusion.test_sampler import SD1
from tests.diffusion.latent_diffusion.witness import (
    SMALL,
    scatter,
    their_autoencoder,
    their_unet,
)

PROMPTS = ["a small red circle", "a large blue square left of a circle"]
SHAPE = SMALL | dict(in_channels=3, out_channels=3, cross_attention_dim=12)
LATENT = dict(latent_channels=3, block_out_channels=(6, 9), norm_num_groups=3)


def their_text_encoder():
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(captions.vocabulary()[0]),
        hidden_size=12,
        intermediate_size=20,
        num_hidden_layers=2,
        num_attention_heads=3,
        max_position_embeddings=captions.LONGEST,
        eos_token_id=2,
    )
    return scatter(CLIPTextModel(config))


@pytest.fixture(scope="module")
def theirs():
    pipeline = StableDiffusionPipeline(
        vae=their_autoencoder(LATENT).float(),
        text_encoder=their_text_encoder(),
        tokenizer=captions.theirs(),
        unet=their_unet(SHAPE).float(),
        scheduler=DDIMScheduler(**SD1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def saved(theirs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    theirs.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ours(saved):
    return from_pretrained(saved)


def seed(number=0):
    return torch.Generator().manual_seed(number)


OPTIONS = {
    "as published": {},
    "a negative caption": dict(negative="blue"),
    "no guidance": dict(scale=1.0),
    "another size": dict(size=(8, 20)),
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


def test_contexts_are_those_of_transformers(ours, theirs):
    ids = captions.their_ids(theirs.tokenizer, PROMPTS)
    expected = theirs.text_encoder(ids).last_hidden_state
    torch.testing.assert_close(ours.read(PROMPTS), expected)


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
    noise = torch.randn(2, 3, 6, 6, generator=seed(1))
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


def test_a_folder_without_a_part_is_refused(saved, tmp_path):
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "vae")
    with pytest.raises(ValueError, match="vae/config.json: cannot be read"):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("captions", ["a red circle", []])
def test_a_text_is_not_taken_for_a_list_of_captions(captions, ours):
    with pytest.raises(ValueError) as error:
        ours.draw(captions, generator=seed(), steps=1)
    expected = f"captions: got {captions!r}, expected a list of captions"
    assert str(error.value) == expected
