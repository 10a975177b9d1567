"""Latent diffusion: noise is taken away where pictures are small."""

from llmnotes.diffusion.latent_diffusion.autoencoder import (
    Autoencoder,
    DiagonalGaussian,
    scaling_factor,
)
from llmnotes.diffusion.latent_diffusion.config import (
    SD1_AUTOENCODER,
    SD1_UNET,
    SMALL_AUTOENCODER,
    SMALL_UNET,
    AutoencoderConfig,
    UNetConfig,
)
from llmnotes.diffusion.latent_diffusion.files import (
    read_autoencoder,
    read_unet,
    save_pretrained,
)
from llmnotes.diffusion.latent_diffusion.img2img import redraw
from llmnotes.diffusion.latent_diffusion.pipeline import (
    StableDiffusion,
    from_pretrained,
)
from llmnotes.diffusion.latent_diffusion.unet import UNet
