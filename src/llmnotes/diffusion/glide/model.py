"""A patch transformer that reads a caption while it looks at noise.

x         = x_t, a noisy picture (or latent); time = t / T
tokens    = one for each patch of it, d_model wide
read      = what an encoder made of the caption: vectors to look at, and one
            for the whole
about     = what shifts, scales and gates each layer: time and the caption
shift, scale, gate = β, γ, α of adaLN-Zero; the gate begins at zero

Sources
- Nichol et al. 2022, "GLIDE", arXiv 2112.10741, §4.1 (a text encoder
  that is trained along; one vector of it stands beside time).
- Peebles & Xie 2023, "Scalable Diffusion Models with Transformers" (DiT),
  arXiv 2212.09748, §3.2 (patches, adaLN-Zero).
- Chen et al. 2023, "PixArt-α", arXiv 2310.00426, §2.3 (cross-attention
  between self-attention and MLP, beginning at zero).
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.checks import check_divides, check_sizes
from llmnotes.diffusion.ddpm.network import sines
from llmnotes.diffusion.glide.encoders import Read
from llmnotes.diffusion.glide.layers import (
    CrossAttention,
    SelfAttention,
    modulated,
    normal,
    zeros,
)
from llmnotes.diffusion.glide.patches import patchify, unpatchify


@dataclass(frozen=True)
class DiTConfig:
    """The shape of a patch transformer; `context` is the encoder's width.

    `places` is the size (standard deviation) of the positions at the start.

    Raises `ValueError` naming the field that cannot be.
    """

    channels: int = 3
    rows: int = 16
    columns: int = 16
    patch: int = 4
    width: int = 64
    depth: int = 6
    heads: int = 4
    context: int = 64
    places: float = 1.0

    def __post_init__(self):
        counts = "channels rows columns patch width depth heads context"
        check_sizes(**{name: getattr(self, name) for name in counts.split()})
        check_divides("width", self.width, heads=self.heads)
        check_divides("rows", self.rows, patch=self.patch)
        check_divides("columns", self.columns, patch=self.patch)

    @property
    def patches(self) -> int:
        """Tokens of a picture."""
        return self.rows // self.patch * (self.columns // self.patch)

    @property
    def pixels(self) -> int:
        """Numbers of a token."""
        return self.channels * self.patch**2


class Block(nn.Module):
    """Patches look at each other, then at the caption, then each thinks.

    `about` shifts, scales and gates the first and the last; nothing gates
    the caption, which starts at zero by itself.

    Source: Peebles & Xie 2023, §3.2; Chen et al. 2023, §2.3.
    """

    def __init__(self, config: DiTConfig):
        super().__init__()
        width, heads = config.width, config.heads
        self.modulation = zeros(nn.Linear(width, 6 * width))
        self.attend = SelfAttention(width, heads)
        self.look = CrossAttention(width, config.context, heads)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(
        self,
        x: Float[Tensor, "batch patches d_model"],
        about: Float[Tensor, "batch d_model"],
        read: Read,
    ) -> Float[Tensor, "batch patches d_model"]:
        """Add what each of the three has to say."""
        said = self.modulation(about)[:, None].chunk(6, dim=-1)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = said
        x = x + gate * self.attend(modulated(x, shift, scale))
        x = x + self.look(normal(x), read.vectors, read.visible)
        thought = self.up(modulated(x, mlp_shift, mlp_scale))
        return x + mlp_gate * self.down(F.silu(thought))


class DiT(nn.Module):
    """A network for `Denoiser` that reads conditions by its encoder.

    Raises `ValueError` for pictures of another size, and for an encoder
    whose vectors have another width than the config says.
    """

    def __init__(self, config: DiTConfig, encoder: nn.Module):
        super().__init__()
        check_encoder(encoder, config)
        self.config, self.encoder, width = config, encoder, config.width
        self.read = nn.Linear(config.pixels, width)
        self.places = nn.Parameter(places(config))
        self.time = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.summary = nn.Linear(config.context, width)
        self.h = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.modulation = zeros(nn.Linear(width, 2 * width))
        self.write = zeros(nn.Linear(width, config.pixels))

    def forward(
        self,
        x: Float[Tensor, "batch channels rows columns"],
        time: Float[Tensor, "batch"],
        condition: Any = None,
    ) -> Float[Tensor, "batch channels rows columns"]:
        """What the target asks for, in the shape of x."""
        check_picture(x, self.config)
        read = self.encoder(self.told(condition, len(x)))
        about = self.about(time, read)
        h = self.read(patchify(x, self.config.patch)) + self.places
        for block in self.h:
            h = block(h, about, read)
        shift, scale = self.modulation(about)[:, None].chunk(2, dim=-1)
        tokens = self.write(modulated(h, shift, scale))
        return unpatchify(tokens, self.config.patch, self.config.rows)

    def about(
        self, time: Float[Tensor, "batch"], read: Read
    ) -> Float[Tensor, "batch d_model"]:
        """Time and the caption as a whole, in one vector."""
        clock = self.time(sines(time, self.config.width))
        return F.silu(clock + self.summary(read.summary))

    def told(self, condition: Any, count: int) -> Any:
        """The condition; where there is none, one that says nothing."""
        return self.encoder.silence(count) if condition is None else condition

    def nothing(self, condition: Any) -> Any:
        """A condition of this form that says nothing, for guidance."""
        return self.encoder.nothing(condition)


def places(config: DiTConfig) -> Float[Tensor, "patches d_model"]:
    """Where each patch stands, at the start: its row plus its column."""
    rows = torch.randn(config.rows // config.patch, 1, config.width)
    columns = torch.randn(1, config.columns // config.patch, config.width)
    return config.places * (rows + columns).flatten(0, 1) / 2**0.5


def check_encoder(encoder: nn.Module, config: DiTConfig) -> None:
    """Raise `ValueError` unless its vectors have the width looked for."""
    if encoder.width != config.context:
        raise ValueError(
            f"encoder: got vectors of {encoder.width}, expected context = "
            f"{config.context}"
        )


def check_picture(x: Tensor, config: DiTConfig) -> None:
    """Raise `ValueError` unless channels, rows and columns fit."""
    expected = config.channels, config.rows, config.columns
    if tuple(x.shape[1:]) != expected:
        raise ValueError(
            f"x: got {tuple(x.shape[1:])}, expected channels, rows and "
            f"columns of {expected}"
        )
