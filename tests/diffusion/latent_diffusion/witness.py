"""diffusers' networks of random weights, and ours with the same ones."""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from llmnotes.diffusion.latent_diffusion import (
    Autoencoder,
    AutoencoderConfig,
    UNet,
    UNetConfig,
)

DOWN, CROSS_DOWN = "DownBlock2D", "CrossAttnDownBlock2D"
UP, CROSS_UP = "UpBlock2D", "CrossAttnUpBlock2D"
SMALL = dict(
    in_channels=3,
    out_channels=5,
    block_out_channels=(12, 8),
    down_block_types=(CROSS_DOWN, DOWN),
    up_block_types=(UP, CROSS_UP),
    layers_per_block=1,
    attention_head_dim=2,
    cross_attention_dim=7,
    norm_num_groups=4,
    sample_size=6,
)
UNETS = {
    "one head, attention on every way but one": SMALL
    | dict(up_block_types=(CROSS_UP, CROSS_UP), attention_head_dim=1),
    "three blocks of one resolution": SMALL
    | dict(
        block_out_channels=(8,),
        down_block_types=(CROSS_DOWN,),
        up_block_types=(CROSS_UP,),
        layers_per_block=3,
        attention_head_dim=4,
        cross_attention_dim=6,
    ),
    "attention in the middle alone": SMALL
    | dict(
        block_out_channels=(6, 9, 12),
        down_block_types=(DOWN,) * 3,
        up_block_types=(UP,) * 3,
        attention_head_dim=3,
        norm_num_groups=3,
        norm_eps=1e-3,
    ),
    "Stable Diffusion 1, narrow": dict(
        block_out_channels=(16, 24, 32, 32),
        attention_head_dim=8,
        cross_attention_dim=10,
        norm_num_groups=8,
        sample_size=8,
    ),
}
AUTOENCODERS = {
    "one block": dict(
        in_channels=2,
        out_channels=3,
        latent_channels=5,
        block_out_channels=(6, 9),
        norm_num_groups=3,
    ),
    "three blocks of one resolution": dict(
        block_out_channels=(8,),
        layers_per_block=3,
        latent_channels=1,
        norm_num_groups=4,
    ),
    "Stable Diffusion 1, narrow": dict(
        block_out_channels=(8, 12, 16, 16),
        layers_per_block=2,
        norm_num_groups=4,
    ),
}


def scatter(model, seed=0):
    """Random numbers everywhere: fresh zeros and ones hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.add_(0.2 * noise.to(p.dtype))
    return model.eval()


def their_unet(shape):
    """Their U-Net of this shape in float64."""
    torch.manual_seed(0)
    return scatter(UNet2DConditionModel(**shape).double())


def their_autoencoder(shape):
    """Their autoencoder of this shape in float64."""
    torch.manual_seed(0)
    count = len(shape["block_out_channels"])
    blocks = dict(
        down_block_types=("DownEncoderBlock2D",) * count,
        up_block_types=("UpDecoderBlock2D",) * count,
    )
    return scatter(AutoencoderKL(**blocks, **shape).double())


def our_unet(shape, theirs=None):
    """Our U-Net of this shape, with their weights."""
    torch.manual_seed(0)
    ours = UNet(UNetConfig(**shape)).double()
    return scatter(ours) if theirs is None else same_weights(ours, theirs)


def our_autoencoder(shape, theirs=None):
    """Our autoencoder of this shape, with their weights."""
    torch.manual_seed(0)
    ours = Autoencoder(AutoencoderConfig(**shape)).double()
    return scatter(ours) if theirs is None else same_weights(ours, theirs)


def same_weights(ours, theirs):
    """Ours, filled under their names: none more, none less."""
    ours.load_state_dict(theirs.state_dict())
    return ours.eval()


def draw(*shape, seed=1):
    """Normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def apart(ours, theirs):
    """The largest difference, relative to the largest number."""
    ours, theirs = ours.detach(), theirs.detach()
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1))


def gradients(model, out, *inputs):
    """{name: gradient} of all weights and inputs, for one random loss."""
    weights = dict(model.named_parameters())
    names = [*weights, *(f"input {i}" for i in range(len(inputs)))]
    loss = (out * draw(*out.shape, seed=2)).sum()
    found = torch.autograd.grad(loss, [*weights.values(), *inputs])
    return dict(zip(names, found, strict=True))
