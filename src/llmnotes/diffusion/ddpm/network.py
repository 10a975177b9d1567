"""The network that denoises digits: an MLP of residual blocks.

time      = between 0 and 1, read as sines of many frequencies
condition = class numbers; None, or the number of classes, is no class
about     = what time and class say, a narrow row: they are two numbers, and
            a wide one would cost as much as the pictures do

Sources
- Vaswani et al. 2017, arXiv 1706.03762, §3.5 (the sines).
- Peebles & Xie 2023, "DiT", arXiv 2212.09748, §3.2 (shift, scale and gate
  from time and class, the gate beginning at zero).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class MLPConfig:
    """A residual MLP over pictures of `size` numbers."""

    size: int = 64
    classes: int = 10
    width: int = 192
    depth: int = 2
    about: int = 64


def sines(
    time: Float[Tensor, "batch"], width: int, fastest: float = 1000.0
) -> Float[Tensor, "batch width"]:
    """Sines and cosines of times between 0 and 1."""
    half = width // 2
    powers = torch.arange(half, device=time.device) / half
    angles = fastest * time[:, None] * torch.exp(-math.log(1e4) * powers)
    return torch.cat([angles.cos(), angles.sin()], dim=1).to(time.dtype)


class Block(nn.Module):
    """A residual branch that time and class shift, scale and gate."""

    def __init__(self, width: int, about: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(about, 3 * width)
        self.branch = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, h: Tensor, about: Tensor) -> Tensor:
        """Add what this block has to say."""
        shift, scale, gate = self.modulation(about).chunk(3, dim=1)
        return h + gate * self.branch(self.norm(h) * (1 + scale) + shift)


class ResidualMLP(nn.Module):
    """Pictures as rows of numbers; `condition` are classes."""

    def __init__(self, config: MLPConfig):
        super().__init__()
        self.config = config
        width, about = config.width, config.about
        self.read = nn.Linear(config.size, width)
        self.time = nn.Sequential(
            nn.Linear(about, about), nn.SiLU(), nn.Linear(about, about)
        )
        self.classes = nn.Embedding(config.classes + 1, about)
        self.blocks = nn.ModuleList(
            Block(width, about) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width)
        self.write = nn.Linear(width, config.size)

    def nothing(self, condition: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        """As many conditions that name no class."""
        return torch.full_like(condition, self.config.classes)

    def forward(
        self,
        x: Float[Tensor, "batch *shape"],
        time: Float[Tensor, "batch"],
        condition: Int[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "batch *shape"]:
        """What the target asks for, in the shape of x."""
        if condition is None:
            condition = torch.full_like(time, self.config.classes).long()
        about = self.time(sines(time, self.config.about))
        about = nn.functional.silu(about + self.classes(condition))
        h = self.read(x.flatten(1))
        for block in self.blocks:
            h = block(h, about)
        return self.write(self.norm(h)).view_as(x)
