"""Shapes that cannot be are refused, all at once and by name."""

import pytest

from llmnotes.diffusion.latent_diffusion import (
    SD1_AUTOENCODER,
    SD1_UNET,
    AutoencoderConfig,
    UNetConfig,
)


def test_lists_of_a_file_are_tuples_here():
    widths, blocks = [32, 64], ["DownBlock2D"] * 2
    config = UNetConfig(
        block_out_channels=widths,
        down_block_types=blocks,
        up_block_types=["UpBlock2D"] * 2,
    )
    assert config.block_out_channels == (32, 64)
    assert config.down_block_types == ("DownBlock2D",) * 2
    assert hash(AutoencoderConfig(block_out_channels=widths))


def test_stable_diffusion_makes_eight_pixels_one_latent():
    assert SD1_AUTOENCODER.factor == 8
    assert SD1_AUTOENCODER.sample_size // 8 == SD1_UNET.sample_size
    assert SD1_UNET.time_channels == 1280


def test_of_heads_only_those_that_are_used_must_divide():
    """The middle always attends; where nothing does, any width will do."""
    shape = dict(norm_num_groups=2, attention_head_dim=8)
    blocks = dict(
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    )
    UNetConfig(block_out_channels=(6, 8), **shape, **blocks)
    blocks["up_block_types"] = "UpBlock2D", "CrossAttnUpBlock2D"
    with pytest.raises(ValueError, match="a divisor of block_out_channels = "):
        UNetConfig(block_out_channels=(6, 8), **shape, **blocks)


UNETS = {
    "in_channels: got 0, expected at least 1": dict(in_channels=0),
    "layers_per_block: got 0, expected at least 1": dict(layers_per_block=0),
    "cross_attention_dim: got -1, expected at least 1": (
        dict(cross_attention_dim=-1)
    ),
    "sample_size: got 0, expected at least 1": dict(sample_size=0),
    "block_out_channels: got (), expected a number for each resolution; "
    "down_block_types: got (": dict(block_out_channels=()),
    "norm_num_groups: got 7, expected a divisor of block_out_channels = 320": (
        dict(norm_num_groups=7)
    ),
    "norm_num_groups: got 0, expected at least 1": dict(norm_num_groups=0),
    "attention_head_dim: got 0, expected at least 1": (
        dict(attention_head_dim=0)
    ),
    "attention_head_dim: got 3, expected a divisor of block_out_channels": (
        dict(attention_head_dim=3)
    ),
    "block_out_channels[0]: got 25, expected an even number": dict(
        block_out_channels=(25, 25),
        norm_num_groups=5,
        attention_head_dim=5,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    ),
    "down_block_types: got ('DownBlock2D',), expected one for each of 4 res": (
        dict(down_block_types=("DownBlock2D",))
    ),
    "up_block_types: got 'AttnUpBlock2D', expected UpBlock2D or CrossAttnUp": (
        dict(up_block_types=("AttnUpBlock2D",) * 4)
    ),
    "norm_eps: got 0.0, expected a number above 0": dict(norm_eps=0.0),
}
AUTOENCODERS = {
    "latent_channels: got 0, expected at least 1; layers_per_block: got 0, ": (
        dict(latent_channels=0, layers_per_block=0)
    ),
    "norm_num_groups: got 32, expected a divisor of block_out_channels = 48": (
        dict(block_out_channels=(32, 48))
    ),
    "block_out_channels: got 0, expected at least 1": (
        dict(block_out_channels=(0,))
    ),
    "scaling_factor: got nan, expected a number above 0": (
        dict(scaling_factor=float("nan"))
    ),
    "scaling_factor: got inf, expected a number above 0": (
        dict(scaling_factor=float("inf"))
    ),
}
CASES = [(UNetConfig, *case) for case in UNETS.items()]
CASES += [(AutoencoderConfig, *case) for case in AUTOENCODERS.items()]


@pytest.mark.parametrize(("kind", "message", "values"), CASES)
def test_what_cannot_be_is_refused_by_name(kind, message, values):
    with pytest.raises(ValueError) as error:
        kind(**values)
    assert str(error.value).startswith(message)
