"""A network that reads embeddings: a noisy picture's, and a caption's.

x        = a picture's embedding under noise, scaled
time     = t / T; the network reads sines of it
texts    = a caption's embedding, scaled; zeros say nothing
about    = what shifts, scales and gates each block: time and the caption

A residual MLP in place of the paper's transformer, whose tokens are the
caption's, its embedding, time, the noisy embedding, and one to be read off.

Sources
- Ramesh et al. 2022, "DALL·E 2", arXiv 2204.06125, §2.2 (what a prior
  reads).
- Peebles & Xie 2023, "DiT", arXiv 2212.09748, §3.2 (shift, scale, gate).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.checks import check_sizes
from llmnotes.diffusion.ddpm.network import Block, sines


@dataclass(frozen=True)
class EmbeddingConfig:
    """A residual MLP over embeddings of `features` numbers.

    Raises `ValueError` naming the field that cannot be.
    """

    features: int = 64
    width: int = 192
    depth: int = 3
    about: int = 64

    def __post_init__(self):
        check_sizes(**vars(self))


class EmbeddingNetwork(nn.Module):
    """Says x_0 of a noisy embedding, for `Denoiser`; the caption is told.

    Raises `ValueError` for embeddings of another width.
    """

    def __init__(self, config: EmbeddingConfig):
        super().__init__()
        self.config = config
        features, about = config.features, config.about
        self.read = nn.Linear(2 * features, config.width)
        self.time = nn.Sequential(
            nn.Linear(about, about), nn.SiLU(), nn.Linear(about, about)
        )
        self.told = nn.Linear(features, about)
        self.blocks = nn.ModuleList(
            Block(config.width, about) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width)
        self.write = nn.Linear(config.width, features)

    def forward(
        self,
        x: Float[Tensor, "batch features"],
        time: Float[Tensor, "batch"],
        condition: Float[Tensor, "batch features"] | None = None,
    ) -> Float[Tensor, "batch features"]:
        """What the target asks for."""
        check_width(x, self.config.features)
        texts = self.nothing(x) if condition is None else condition
        clock = self.time(sines(time, self.config.about))
        about = F.silu(clock + self.told(texts))
        h = self.read(torch.cat([x, texts], dim=1))
        for block in self.blocks:
            h = block(h, about)
        return self.write(self.norm(h))

    def nothing(
        self, condition: Float[Tensor, "batch features"]
    ) -> Float[Tensor, "batch features"]:
        """Zeros: no caption has them, since captions lie on a sphere."""
        return torch.zeros_like(condition)


def check_width(x: Tensor, features: int) -> None:
    """Raise `ValueError` unless embeddings are as wide as the network's."""
    if x.shape[1] != features:
        raise ValueError(
            f"x: got embeddings of {x.shape[1]} features, expected {features}"
        )
