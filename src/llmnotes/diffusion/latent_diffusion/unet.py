"""The U-Net of Stable Diffusion 1: latents, step and context in, noise out.

    x       = z_t (noisy latents)
    t       = step of each picture, counted from 0 as in diffusers
    context = τ_θ(y) (tokens of the caption)
    time    = silu of the embedded step, which every residual block reads
    states  = what the way down leaves for the way up: a stack, the last one
              on top
    level   = the blocks of one resolution

Names of attributes are those of diffusers' `UNet2DConditionModel`.

Sources
- Ronneberger et al. 2015, "U-Net", arXiv 1505.04597, §2.
- Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv
  2006.11239, appendix B.
- Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion
  Models", arXiv 2112.10752, §3.3 and appendix E.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Real
from torch import Tensor, nn

from llmnotes.checks import checked
from llmnotes.diffusion.latent_diffusion.blocks import (
    Downsample,
    TimedBlock,
    Upsample,
    check_channels,
    check_grid,
)
from llmnotes.diffusion.latent_diffusion.config import (
    CROSS_DOWN,
    CROSS_UP,
    DOWN,
    UP,
    UNetConfig,
)
from llmnotes.diffusion.latent_diffusion.transformer import (
    NoAttention,
    Transformer2D,
)


def step_sinusoids(
    t: Real[Tensor, "batch"], width: int
) -> Float[Tensor, "batch width"]:
    """All cosines of a step, then all sines, from fast to slow.

    In float32 and in this order of operations, in which the weights were
    trained: at t = 1000 another one differs in the fifth digit.

    Source: Ho et al. 2020, appendix B.
    """
    half = torch.arange(width // 2, dtype=torch.float32, device=t.device)
    frequencies = torch.exp(-math.log(10000) * half / (width // 2))
    angles = t[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimeEmbedding(nn.Module):
    """What a network makes of a step: two layers over its sinusoids."""

    def __init__(self, width: int, output: int):
        super().__init__()
        self.width = width
        self.linear_1 = nn.Linear(width, output)
        self.linear_2 = nn.Linear(output, output)

    def forward(
        self, t: Real[Tensor, "batch"], dtype: torch.dtype
    ) -> Float[Tensor, "batch output"]:
        """One row for each picture's step."""
        waves = step_sinusoids(t, self.width).to(dtype)
        return self.linear_2(F.silu(self.linear_1(waves)))


def timed_block(input: int, output: int, config: UNetConfig) -> TimedBlock:
    """A residual block as the config wants it."""
    groups, eps = config.norm_num_groups, config.norm_eps
    return TimedBlock(input, output, groups, eps, config.time_channels)


class Level(nn.Module):
    """Residual blocks of one resolution, each followed by its attention.

    `inputs` are the channels that each of them reads.
    """

    attention = NoAttention

    def __init__(self, inputs: list[int], output: int, config: UNetConfig):
        super().__init__()
        blocks = (timed_block(width, output, config) for width in inputs)
        attentions = (self.attention(output, config) for _ in inputs)
        self.resnets = nn.ModuleList(blocks)
        self.attentions = nn.ModuleList(attentions)

    def layers(self) -> zip:
        """Pairs of a residual block and what comes after it."""
        return zip(self.resnets, self.attentions, strict=True)


class DownLevel(Level):
    """One resolution on the way down."""

    def __init__(
        self, inputs: list[int], output: int, config: UNetConfig, *, last: bool
    ):
        super().__init__(inputs, output, config)
        halve = [] if last else [Downsample(output)]
        self.downsamplers = nn.ModuleList(halve)

    def forward(
        self,
        x: Float[Tensor, "batch input rows columns"],
        states: list[Tensor],
        time: Float[Tensor, "batch width"],
        context: Float[Tensor, "batch key context_width"],
    ) -> Float[Tensor, "batch output _ _"]:
        """Every state on the way is left on the stack."""
        for block, attention in self.layers():
            x = attention(block(x, time), context)
            states.append(x)
        for halve in self.downsamplers:
            x = halve(x)
            states.append(x)
        return x


class UpLevel(Level):
    """One resolution on the way up."""

    def __init__(
        self, inputs: list[int], output: int, config: UNetConfig, *, last: bool
    ):
        super().__init__(inputs, output, config)
        double = [] if last else [Upsample(output)]
        self.upsamplers = nn.ModuleList(double)

    def forward(
        self,
        x: Float[Tensor, "batch input rows columns"],
        states: list[Tensor],
        time: Float[Tensor, "batch width"],
        context: Float[Tensor, "batch key context_width"],
    ) -> Float[Tensor, "batch output _ _"]:
        """Every block reads one more state from the stack."""
        for block, attention in self.layers():
            x = torch.cat([x, states.pop()], dim=1)
            x = attention(block(x, time), context)
        for double in self.upsamplers:
            x = double(x)
        return x


class CrossDownLevel(DownLevel):
    """One that reads the context."""

    attention = Transformer2D


class CrossUpLevel(UpLevel):
    """One that reads the context."""

    attention = Transformer2D


class Middle(nn.Module):
    """The coarsest resolution, between the two ways."""

    def __init__(self, channels: int, config: UNetConfig):
        super().__init__()
        blocks = (timed_block(channels, channels, config) for _ in range(2))
        self.resnets = nn.ModuleList(blocks)
        self.attentions = nn.ModuleList([Transformer2D(channels, config)])

    def forward(
        self,
        x: Float[Tensor, "batch channels rows columns"],
        time: Float[Tensor, "batch width"],
        context: Float[Tensor, "batch key context_width"],
    ) -> Float[Tensor, "batch channels rows columns"]:
        """A residual block, attention, a residual block."""
        x = self.attentions[0](self.resnets[0](x, time), context)
        return self.resnets[1](x, time)


LEVELS = {
    DOWN: DownLevel,
    CROSS_DOWN: CrossDownLevel,
    UP: UpLevel,
    CROSS_UP: CrossUpLevel,
}


def down_levels(config: UNetConfig, states: list[int]) -> nn.ModuleList:
    """The way down; channels of the states it leaves are put on a stack."""
    levels, widths = nn.ModuleList(), config.block_out_channels
    for depth, name in enumerate(config.down_block_types):
        output, last = widths[depth], depth == len(widths) - 1
        left = [output] * config.layers_per_block
        inputs = [states[-1], *left[1:]]
        levels.append(LEVELS[name](inputs, output, config, last=last))
        states += left if last else [*left, output]
    return levels


def up_levels(config: UNetConfig, states: list[int]) -> nn.ModuleList:
    """The way up, which takes from the stack until nothing is left."""
    levels, widths = nn.ModuleList(), config.block_out_channels[::-1]
    for height, name in enumerate(config.up_block_types):
        output, last = widths[height], height == len(widths) - 1
        below = widths[max(height - 1, 0)]
        own = [below, *[output] * config.layers_per_block]
        inputs = [width + states.pop() for width in own]
        levels.append(LEVELS[name](inputs, output, config, last=last))
    return levels


class UNet(nn.Module):
    """The network that `UNet2DConditionModel` is in Stable Diffusion 1.

    Raises `ValueError` for latents or a context of other widths than the
    config says, for rows or columns that are no multiple of its `factor`,
    and unless each picture has a step and a context of its own.

    Source: Rombach et al. 2022, §3.3.
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        widths, groups = config.block_out_channels, config.norm_num_groups
        first, states = widths[0], [widths[0]]
        self.conv_in = nn.Conv2d(config.in_channels, first, 3, padding=1)
        self.time_embedding = TimeEmbedding(first, config.time_channels)
        self.down_blocks = down_levels(config, states)
        self.mid_block = Middle(widths[-1], config)
        self.up_blocks = up_levels(config, states)
        self.conv_norm_out = nn.GroupNorm(groups, first, config.norm_eps)
        self.conv_out = nn.Conv2d(first, config.out_channels, 3, padding=1)

    @checked
    def forward(
        self,
        x: Float[Tensor, "batch input rows columns"],
        t: Real[Tensor, "batch"],
        context: Float[Tensor, "batch key context_width"],
    ) -> Float[Tensor, "batch output rows columns"]:
        """What the target asks for, in the shape of x."""
        check_inputs(x, context, self.config)
        time = F.silu(self.time_embedding(t, x.dtype))
        x = self.conv_in(x)
        states = [x]
        for level in self.down_blocks:
            x = level(x, states, time, context)
        x = self.mid_block(x, time, context)
        for level in self.up_blocks:
            x = level(x, states, time, context)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


def check_inputs(x: Tensor, context: Tensor, config: UNetConfig) -> None:
    """Raise `ValueError` unless latents and context fit the network."""
    check_channels(x=x, in_channels=config.in_channels)
    check_grid("x", x, config.factor)
    if context.shape[2] != config.cross_attention_dim:
        raise ValueError(
            f"context: got width {context.shape[2]}, expected "
            f"cross_attention_dim = {config.cross_attention_dim}"
        )
