"""The shapes of Stable Diffusion's two networks.

Names are those of the config.json that diffusers writes, and so are the
defaults, since a file that is silent about a field means them.

    block_out_channels  = channels of each resolution, the finest first; each
                          next one has half the rows and columns
    layers_per_block    = residual blocks of a resolution on the way down; on
                          the way up there is one more
    attention_head_dim  = the *number* of heads: a mistake of the first
                          version, which no file of that time can take back
    cross_attention_dim = width of a token of the context
    scaling_factor      = 1 / standard deviation of the latents
    sample_size         = rows and columns the model was trained on

Sources
- Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion
  Models", arXiv 2112.10752, §3 and appendix D.1 (scaling factor).
- config.json of the Stable Diffusion 1 checkpoints, for what it does not say.
- huggingface/diffusers#2011 (attention_head_dim).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from numbers import Real

from llmnotes.checks import check_divides, check_sizes
from llmnotes.models.llama.config import check_all
from llmnotes.transformer.positions import check_even

DOWN, CROSS_DOWN = "DownBlock2D", "CrossAttnDownBlock2D"
UP, CROSS_UP = "UpBlock2D", "CrossAttnUpBlock2D"


@dataclass(frozen=True)
class AutoencoderConfig:
    """The shape of an `AutoencoderKL`.

    Raises `ValueError` that lists the fields that cannot be.
    """

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = 4
    block_out_channels: Sequence[int] = (64,)
    layers_per_block: int = 1
    norm_num_groups: int = 32
    sample_size: int | None = 32
    scaling_factor: float = 0.18215

    def __post_init__(self):
        counts = "in_channels", "out_channels", "latent_channels"
        as_tuples(self, "block_out_channels")
        check_all(
            partial(check_counts, self, *counts, "layers_per_block"),
            partial(check_channels, self),
            partial(check_above_zero, scaling_factor=self.scaling_factor),
        )

    @property
    def factor(self) -> int:
        """f: rows and columns of a picture for one of its latents."""
        return 2 ** (len(self.block_out_channels) - 1)


@dataclass(frozen=True)
class UNetConfig:
    """The shape of a `UNet2DConditionModel`, as Stable Diffusion 1 uses it.

    Raises `ValueError` that lists the fields that cannot be.
    """

    in_channels: int = 4
    out_channels: int = 4
    block_out_channels: Sequence[int] = (320, 640, 1280, 1280)
    down_block_types: Sequence[str] = (*[CROSS_DOWN] * 3, DOWN)
    up_block_types: Sequence[str] = (UP, *[CROSS_UP] * 3)
    layers_per_block: int = 2
    attention_head_dim: int = 8
    cross_attention_dim: int = 1280
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    sample_size: int | None = None

    def __post_init__(self):
        counts = "in_channels", "out_channels", "layers_per_block"
        counts += "attention_head_dim", "cross_attention_dim"
        blocks = "down_block_types", "up_block_types"
        as_tuples(self, "block_out_channels", *blocks)
        check_all(
            partial(check_counts, self, *counts),
            partial(check_channels, self),
            partial(check_blocks, self, "down_block_types", DOWN, CROSS_DOWN),
            partial(check_blocks, self, "up_block_types", UP, CROSS_UP),
            partial(check_above_zero, norm_eps=self.norm_eps),
        )
        check_heads(self)

    @property
    def factor(self) -> int:
        """What rows and columns of latents must be divisible by."""
        return 2 ** (len(self.block_out_channels) - 1)

    @property
    def time_channels(self) -> int:
        """Width in which the residual blocks read the time."""
        return 4 * self.block_out_channels[0]


def as_tuples(config: object, *names: str) -> None:
    """Turn lists into tuples: JSON knows no other row."""
    for name in names:
        value = getattr(config, name)
        if isinstance(value, list):
            object.__setattr__(config, name, tuple(value))


def check_counts(config: object, *names: str) -> None:
    """Raise `ValueError` unless all these fields are 1 or more."""
    sizes = {name: getattr(config, name) for name in names}
    if config.sample_size is not None:
        sizes["sample_size"] = config.sample_size
    check_all(*(partial(check_sizes, **{n: sizes[n]}) for n in sizes))


def check_channels(config: object) -> None:
    """Raise `ValueError` unless groups divide all channels."""
    channels = config.block_out_channels
    if not isinstance(channels, tuple) or not channels:
        raise ValueError(
            f"block_out_channels: got {channels!r}, expected a number for "
            "each resolution"
        )
    check_sizes(norm_num_groups=config.norm_num_groups)
    for count in channels:
        check_sizes(block_out_channels=count)
        groups = config.norm_num_groups
        check_divides("block_out_channels", count, norm_num_groups=groups)


def check_blocks(config: UNetConfig, field: str, *known: str) -> None:
    """Raise `ValueError` unless there is a known block per resolution."""
    got, wanted = getattr(config, field), len(config.block_out_channels)
    if not isinstance(got, tuple) or len(got) != wanted:
        raise ValueError(
            f"{field}: got {got!r}, expected one for each of {wanted} "
            "resolutions"
        )
    for name in got:
        if name not in known:
            raise ValueError(
                f"{field}: got {name!r}, expected " + " or ".join(known)
            )


def check_heads(config: UNetConfig) -> None:
    """Raise `ValueError` unless heads divide what attends, and 2 the time."""
    channels = config.block_out_channels
    ways = config.down_block_types, reversed(config.up_block_types)
    attending = [channels[-1]]  # the middle
    for count, *names in zip(channels, *ways, strict=True):
        attending += [count] * bool({CROSS_DOWN, CROSS_UP} & set(names))
    heads = config.attention_head_dim
    for count in attending:
        check_divides("block_out_channels", count, attention_head_dim=heads)
    check_even("block_out_channels[0]", channels[0])


def check_above_zero(**numbers: object) -> None:
    """Raise `ValueError` unless all are numbers above 0."""
    for name, got in numbers.items():
        if not isinstance(got, Real) or not (got > 0 and isfinite(got)):
            raise ValueError(f"{name}: got {got}, expected a number above 0")


SD1_AUTOENCODER = AutoencoderConfig(
    block_out_channels=(128, 256, 512, 512),
    layers_per_block=2,
    sample_size=512,
)
SD1_UNET = UNetConfig(cross_attention_dim=768, sample_size=64)
# Pictures of 16 × 16 pixels in 4 × 4 latents, trained on a laptop. Its
# scaling factor is measured after training.
SMALL_AUTOENCODER = AutoencoderConfig(
    latent_channels=8,
    block_out_channels=(16, 24, 24),
    norm_num_groups=8,
    sample_size=16,
    scaling_factor=1.0,
)
SMALL_UNET = UNetConfig(
    in_channels=8,
    out_channels=8,
    block_out_channels=(48, 64),
    down_block_types=(CROSS_DOWN, DOWN),
    up_block_types=(UP, CROSS_UP),
    layers_per_block=1,
    attention_head_dim=4,
    cross_attention_dim=48,
    norm_num_groups=8,
    sample_size=4,
)
