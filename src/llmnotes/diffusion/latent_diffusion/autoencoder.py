"""The KL autoencoder: pictures in a small space, and back.

    pictures       = x, between -1 and 1
    latents        = z, one place for factor × factor pixels
    mean, logvar   = μ, ln σ² of q(z | x), one Gaussian for each number
    moments        = μ above ln σ², as the encoder writes them
    kl             = KL(q(z | x) ‖ N(0, 1)), a sum over a picture, in nats
    scaling_factor = 1 / standard deviation of z, so that what diffusion sees
                     has variance 1

Names of attributes are those of diffusers' `AutoencoderKL`.

Sources
- Kingma and Welling 2013, "Auto-Encoding Variational Bayes", arXiv
  1312.6114, eq. 10 and appendix B.
- Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion
  Models", arXiv 2112.10752, §3.1, appendix D.1 and G.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.checks import checked
from llmnotes.diffusion.latent_diffusion.blocks import (
    EPS,
    CornerDownsample,
    PictureAttention,
    ResidualBlock,
    Upsample,
    check_channels,
    check_grid,
)
from llmnotes.diffusion.latent_diffusion.config import AutoencoderConfig

LOWEST, HIGHEST = -30.0, 20.0  # of logvar, so that no exp overflows


@dataclass(frozen=True)
class DiagonalGaussian:
    """A Gaussian for each number of the latents, independent of the rest."""

    mean: Float[Tensor, "batch channels rows columns"]
    logvar: Float[Tensor, "batch channels rows columns"]

    def mode(self) -> Float[Tensor, "batch channels rows columns"]:
        """What is most likely: the mean."""
        return self.mean

    def sample(
        self, generator: torch.Generator
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Mean + standard deviation · noise, drawn where the generator is.

        Source: Kingma and Welling 2013, eq. 4.
        """
        shape, dtype = self.mean.shape, self.mean.dtype
        noise = torch.randn(
            shape, generator=generator, device=generator.device, dtype=dtype
        )
        return self.drawn(noise.to(self.mean.device))

    def drawn(
        self, noise: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Mean + standard deviation · a given noise.

        Source: Kingma and Welling 2013, eq. 4.
        """
        return self.mean + (self.logvar / 2).exp() * noise

    def kl(self) -> Float[Tensor, "batch"]:
        """Nats from the standard normal: ½ Σ (μ² + σ² - 1 - ln σ²).

        Source: Kingma and Welling 2013, appendix B.
        """
        each = self.mean.square() + self.logvar.exp() - 1 - self.logvar
        return each.sum(dim=(1, 2, 3)) / 2


def scaling_factor(latents: Float[Tensor, "*shape"]) -> float:
    """1 / standard deviation of all numbers of latents, taken together.

    One number for all channels, and no mean is taken off. Stable
    Diffusion's .18215 was measured so, on its first batch.

    Raises `ValueError` for latents that do not differ.

    Source: Rombach et al. 2022, appendix G.
    """
    deviation = latents.double().std(correction=0).item()
    if not deviation > 0:
        raise ValueError(
            f"latents: got a standard deviation of {deviation}, expected "
            "more than 0"
        )
    return 1 / deviation


def gaussian(
    moments: Float[Tensor, "batch moments rows columns"],
) -> DiagonalGaussian:
    """Read the encoder's output: means first, logarithms behind them."""
    mean, logvar = moments.chunk(2, dim=1)
    return DiagonalGaussian(mean, logvar.clamp(LOWEST, HIGHEST))


def level(
    input: int, output: int, blocks: int, groups: int, **sampler: nn.Module
) -> nn.Sequential:
    """Residual blocks of one resolution, and what leads to the next."""
    inputs = [input, *[output] * (blocks - 1)]
    resnets = (ResidualBlock(width, output, groups) for width in inputs)
    parts = OrderedDict(resnets=nn.Sequential(*resnets))
    for name, module in sampler.items():
        parts[name] = nn.Sequential(module)
    return nn.Sequential(parts)


def down_levels(config: AutoencoderConfig) -> Iterator[nn.Sequential]:
    """From fine to coarse; after the last one nothing is left to halve."""
    widths, layers = config.block_out_channels, config.layers_per_block
    pairs = list(zip(widths[:1] + widths, widths, strict=False))
    for input, output in pairs[:-1]:
        halve = CornerDownsample(output)
        groups = config.norm_num_groups
        yield level(input, output, layers, groups, downsamplers=halve)
    yield level(*pairs[-1], layers, config.norm_num_groups)


def up_levels(config: AutoencoderConfig) -> Iterator[nn.Sequential]:
    """From coarse to fine, with one block more than on the way down."""
    widths, layers = config.block_out_channels[::-1], config.layers_per_block
    pairs = list(zip(widths[:1] + widths, widths, strict=False))
    for input, output in pairs[:-1]:
        double = Upsample(output)
        groups = config.norm_num_groups
        yield level(input, output, layers + 1, groups, upsamplers=double)
    yield level(*pairs[-1], layers + 1, config.norm_num_groups)


class Middle(nn.Module):
    """At the coarsest resolution each place sees all others, once."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        blocks = (ResidualBlock(channels, channels, groups) for _ in range(2))
        self.resnets = nn.ModuleList(blocks)
        self.attentions = nn.ModuleList([PictureAttention(channels, groups)])

    def forward(
        self, x: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """A residual block, attention, a residual block."""
        x = self.attentions[0](self.resnets[0](x))
        return self.resnets[1](x)


class Encoder(nn.Module):
    """Pictures into moments: finer and fewer channels first."""

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        widths, groups = config.block_out_channels, config.norm_num_groups
        first, last, latent = widths[0], widths[-1], config.latent_channels
        self.conv_in = nn.Conv2d(config.in_channels, first, 3, padding=1)
        self.down_blocks = nn.Sequential(*down_levels(config))
        self.mid_block = Middle(last, groups)
        self.conv_norm_out = nn.GroupNorm(groups, last, EPS)
        self.conv_out = nn.Conv2d(last, 2 * latent, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch moments latent_rows latent_columns"]:
        """Down, through the middle, and out."""
        x = self.mid_block(self.down_blocks(self.conv_in(x)))
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Decoder(nn.Module):
    """Latents into pictures: the encoder backwards, one block longer."""

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        widths, groups = config.block_out_channels, config.norm_num_groups
        first, last, latent = widths[0], widths[-1], config.latent_channels
        self.conv_in = nn.Conv2d(latent, last, 3, padding=1)
        self.mid_block = Middle(last, groups)
        self.up_blocks = nn.Sequential(*up_levels(config))
        self.conv_norm_out = nn.GroupNorm(groups, first, EPS)
        self.conv_out = nn.Conv2d(first, config.out_channels, 3, padding=1)

    def forward(
        self,
        x: Float[Tensor, "batch latent_channels latent_rows latent_columns"],
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Through the middle, up, and out."""
        x = self.up_blocks(self.mid_block(self.conv_in(x)))
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Autoencoder(nn.Module):
    """The network that `AutoencoderKL` is in diffusers.

    Raises `ValueError` for pictures and latents with other channels than the
    config says, and for pictures whose rows or columns are no multiple of
    its `factor`.

    Source: Rombach et al. 2022, appendix G.
    """

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        self.config = config
        latent = config.latent_channels
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)

    @checked
    def encode(
        self, pictures: Float[Tensor, "batch channels rows columns"]
    ) -> DiagonalGaussian:
        """q(z | x): where the latents of each picture lie."""
        config = self.config
        check_channels(pictures=pictures, in_channels=config.in_channels)
        check_grid("pictures", pictures, config.factor)
        return gaussian(self.quant_conv(self.encoder(pictures)))

    @checked
    def decode(
        self,
        latents: Float[
            Tensor, "batch latent_channels latent_rows latent_columns"
        ],
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Pictures that latents stand for; not clipped."""
        wanted = self.config.latent_channels
        check_channels(latents=latents, latent_channels=wanted)
        return self.decoder(self.post_quant_conv(latents))

    def forward(
        self,
        pictures: Float[Tensor, "batch channels rows columns"],
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, "batch output rows columns"], DiagonalGaussian]:
        """Pictures there and back, and where their latents lie.

        With a generator the latents are drawn, as in training.
        """
        latents = self.encode(pictures)
        drawn = latents.sample(generator) if generator else latents.mode()
        return self.decode(drawn), latents

    def to_latents(
        self,
        pictures: Float[Tensor, "batch channels rows columns"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch latent_channels latent_rows latent_columns"]:
        """What diffusion sees: latents times `scaling_factor`.

        Source: Rombach et al. 2022, appendix D.1.
        """
        latents = self.encode(pictures)
        drawn = latents.sample(generator) if generator else latents.mode()
        return drawn * self.config.scaling_factor

    def to_pictures(
        self,
        latents: Float[
            Tensor, "batch latent_channels latent_rows latent_columns"
        ],
    ) -> Float[Tensor, "batch channels rows columns"]:
        """The way back: latents over `scaling_factor`, decoded."""
        return self.decode(latents / self.config.scaling_factor)
