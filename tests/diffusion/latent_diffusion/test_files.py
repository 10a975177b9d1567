"""Folders that diffusers wrote, and folders that diffusers reads."""

import json
import shutil

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from llmnotes.diffusion.latent_diffusion import (
    read_autoencoder,
    read_unet,
    save_pretrained,
)
from llmnotes.diffusion.latent_diffusion.files import (
    AUTOENCODER,
    UNET,
    WEIGHTS,
)
from tests.diffusion.latent_diffusion.witness import (
    AUTOENCODERS,
    SMALL,
    UNETS,
    draw,
    our_autoencoder,
    our_unet,
    their_autoencoder,
    their_unet,
)

NARROW = "Stable Diffusion 1, narrow"
READERS = {"unet": read_unet, "vae": read_autoencoder}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with both networks, as their library wrote it."""
    folder = tmp_path_factory.mktemp("theirs")
    their_unet(SMALL).float().save_pretrained(folder / "unet")
    small = their_autoencoder(AUTOENCODERS["one block"])
    small.float().save_pretrained(folder / "vae")
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return path


def same(ours, theirs):
    own, their = ours.state_dict(), theirs.state_dict()
    assert own.keys() == their.keys()
    assert all(torch.equal(own[name], their[name]) for name in own)


@pytest.mark.parametrize("name", UNETS)
def test_their_unet_is_read_under_its_own_names(name, tmp_path):
    theirs = their_unet(UNETS[name]).float()
    theirs.save_pretrained(tmp_path)
    ours = read_unet(tmp_path)
    same(ours, theirs)
    assert ours.config == our_unet(UNETS[name]).config
    assert not ours.training


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_their_autoencoder_is_read_under_its_own_names(name, tmp_path):
    theirs = their_autoencoder(AUTOENCODERS[name]).float()
    theirs.save_pretrained(tmp_path)
    ours = read_autoencoder(tmp_path)
    same(ours, theirs)
    assert ours.config == our_autoencoder(AUTOENCODERS[name]).config


@pytest.mark.parametrize("shape", [SMALL, UNETS[NARROW]])
def test_diffusers_reads_the_unet_that_we_wrote(shape, tmp_path):
    ours = our_unet(shape).float()
    save_pretrained(ours, tmp_path)
    same(ours, UNet2DConditionModel.from_pretrained(tmp_path))
    again = read_unet(tmp_path)
    same(again, ours)
    assert again.config == ours.config


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_diffusers_reads_the_autoencoder_that_we_wrote(name, tmp_path):
    ours = our_autoencoder(AUTOENCODERS[name]).float()
    save_pretrained(ours, tmp_path)
    theirs = AutoencoderKL.from_pretrained(tmp_path)
    same(ours, theirs)
    assert theirs.config.scaling_factor == ours.config.scaling_factor
    assert read_autoencoder(tmp_path).config == ours.config


def test_what_we_write_says_what_diffusers_would_say(tmp_path):
    """No field of theirs is left to a default, which may change."""
    save_pretrained(our_unet(SMALL), tmp_path / "ours")
    their_unet(SMALL).save_pretrained(tmp_path / "theirs")
    ours, theirs = (
        json.loads((tmp_path / side / "config.json").read_text())
        for side in ("ours", "theirs")
    )
    told = {"_diffusers_version", "addition_embed_type_num_heads"}
    told |= {
        "addition_time_embed_dim",
        "projection_class_embeddings_input_dim",
    }
    assert theirs.keys() - ours.keys() == told  # of parts that are off
    assert all(theirs[name] == value for name, value in ours.items())


def test_the_published_files_and_their_old_names_are_read(saved, copied):
    """Stable Diffusion 1.5: few fields, and attention under older names."""
    path, file = copied / "vae" / "config.json", copied / "vae" / WEIGHTS
    given = json.loads(path.read_text())
    known = (
        "_class_name", "act_fn", "block_out_channels", "down_block_types",
        "in_channels", "latent_channels", "layers_per_block",
        "norm_num_groups", "out_channels", "sample_size", "up_block_types",
    )  # fmt: skip
    path.write_text(json.dumps({name: given[name] for name in known}))
    old = {}
    for name, tensor in load_file(file).items():
        for ours, theirs in (
            ("to_q", "query"),
            ("to_k", "key"),
            ("to_v", "value"),
            ("to_out.0", "proj_attn"),
        ):
            name = name.replace(ours, theirs)
        old[name] = tensor
    assert "encoder.mid_block.attentions.0.proj_attn.bias" in old
    save_file(old, file)
    ours = read_autoencoder(copied / "vae")
    same(ours, read_autoencoder(saved / "vae"))
    assert ours.config.scaling_factor == 0.18215
    same(ours, AutoencoderKL.from_pretrained(copied / "vae"))


def test_shards_and_half_precision_are_read(tmp_path):
    theirs = their_unet(SMALL).bfloat16()
    theirs.save_pretrained(tmp_path, max_shard_size="60KB")
    assert not (tmp_path / WEIGHTS).exists()
    ours = read_unet(tmp_path)
    assert ours.conv_in.weight.dtype == torch.float32
    same(ours.bfloat16(), theirs)


def test_reading_draws_no_random_numbers(saved):
    before = torch.get_rng_state()
    read_unet(saved / "unet")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_read_unet_computes(saved):
    ours, theirs = read_unet(saved / "unet"), their_unet(SMALL).float()
    x, context = draw(2, 3, 4, 6).float(), draw(2, 5, 7).float()
    t = torch.tensor([3, 700])
    expected = theirs(x, t, context).sample
    torch.testing.assert_close(ours(x, t, context), expected)


SPOILED_UNET = {
    "_class_name": "UNet2DModel",
    "act_fn": "gelu",
    "addition_embed_type": "text_time",
    "attention_type": "gated",
    "center_input_sample": True,
    "class_embed_type": "timestep",
    "class_embeddings_concat": True,
    "conv_in_kernel": 5,
    "conv_out_kernel": 1,
    "cross_attention_norm": "layer_norm",
    "downsample_padding": 0,
    "dropout": 0.1,
    "dual_cross_attention": True,
    "encoder_hid_dim": 9,
    "encoder_hid_dim_type": "text_proj",
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "mid_block_only_cross_attention": True,
    "mid_block_scale_factor": 2,
    "mid_block_type": "UNetMidBlock2D",
    "num_attention_heads": 4,
    "num_class_embeds": 10,
    "only_cross_attention": True,
    "resnet_out_scale_factor": 2.0,
    "resnet_skip_time_act": True,
    "resnet_time_scale_shift": "scale_shift",
    "reverse_transformer_layers_per_block": [[1], [2]],
    "time_cond_proj_dim": 256,
    "time_embedding_act_fn": "silu",
    "time_embedding_dim": 99,
    "time_embedding_type": "fourier",
    "timestep_post_act": "silu",
    "transformer_layers_per_block": [1, 2],
    "upcast_attention": True,
    "use_linear_projection": True,
    "attention_head_dim": [1, 2],
    "cross_attention_dim": [7, 7],
    "layers_per_block": [1, 2],
    "norm_num_groups": None,
    "down_block_types": ["AttnDownBlock2D", "DownBlock2D"],
}
SPOILED_AUTOENCODER = {
    "_class_name": "VQModel",
    "act_fn": "relu",
    "latents_mean": [0.0],
    "latents_std": [1.0],
    "mid_block_add_attention": False,
    "shift_factor": 0.1,
    "use_post_quant_conv": False,
    "use_quant_conv": False,
    "down_block_types": ["AttnDownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D"],
    "latent_channels": "four",
}
CASES = [("unet", *case) for case in SPOILED_UNET.items()]
CASES += [("vae", *case) for case in SPOILED_AUTOENCODER.items()]


@pytest.mark.parametrize(("part", "name", "value"), CASES)
def test_a_config_of_another_network_is_refused_by_name(
    part, name, value, copied
):
    path = change(copied / part, **{name: value})
    with pytest.raises(ValueError) as error:
        READERS[part](copied / part)
    assert str(error.value).startswith(f"{path}: {name}: got ")
    assert "expected" in str(error.value)


def test_every_assumption_has_its_refusal():
    assert UNET.keys() <= SPOILED_UNET.keys()
    assert AUTOENCODER.keys() <= SPOILED_AUTOENCODER.keys()


def test_all_that_is_wrong_with_a_config_is_listed(copied):
    path = change(copied / "unet", dropout=0.5, norm_eps="small", freq_shift=1)
    with pytest.raises(ValueError) as error:
        read_unet(copied / "unet")
    assert str(error.value) == (
        f"{path}: dropout: got 0.5, expected 0.0\n"
        "  freq_shift: got 1, expected 0\n"
        "  norm_eps: got 'small', expected float"
    )


def test_all_tensors_that_do_not_fit_are_listed(copied):
    path = copied / "unet" / WEIGHTS
    weights = load_file(path)
    del weights["conv_in.bias"]
    weights["class_embedding.weight"] = torch.ones(2)
    weights["conv_out.weight"] = torch.ones(4, 12, 3, 3)
    save_file(weights, path)
    with pytest.raises(ValueError) as error:
        read_unet(copied / "unet")
    assert str(error.value) == (
        f"{path}: got tensors that do not fit: 1 missing, 1 unknown, "
        "1 of another shape\n"
        "  missing: conv_in.bias\n"
        "  unknown: class_embedding.weight\n"
        "  of another shape: conv_out.weight: got shape (4, 12, 3, 3), "
        "expected (5, 12, 3, 3)"
    )


def test_a_pickle_is_not_read(copied):
    folder = copied / "vae"
    (folder / WEIGHTS).rename(folder / "diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match="model.bin is a pickle, which can r"):
        read_autoencoder(folder)


def test_one_network_is_not_taken_for_the_other(copied):
    with pytest.raises(ValueError, match="_class_name: got 'AutoencoderKL'"):
        read_unet(copied / "vae")
