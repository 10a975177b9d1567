"""Two convolutions around a patch transformer, so that patches fit together.

features = channels between the convolutions and the patches

A thing lies across several patches, and no token sees over its border. The
first convolution shows each what lies beside it, the last one draws across.

Sources
- Bao et al. 2022, "All are Worth Words: A ViT Backbone for Diffusion Models"
  (U-ViT), arXiv 2209.12152, §3.1 (a convolution before the output).
"""

from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.diffusion.glide.layers import zeros
from llmnotes.diffusion.glide.model import DiT, DiTConfig, check_picture

FEATURES, WINDOW = 12, 5


class Stitched(nn.Module):
    """A network for `Denoiser`: a `DiT` on features in place of pixels.

    Raises `ValueError` for pictures of another size, and for an encoder
    whose vectors have another width than the config says.
    """

    def __init__(self, config: DiTConfig, encoder: nn.Module):
        super().__init__()
        self.config, pad = config, WINDOW // 2
        channels = config.channels
        self.first = nn.Conv2d(channels, FEATURES, WINDOW, padding=pad)
        self.dit = DiT(replace(config, channels=FEATURES), encoder)
        self.last = zeros(nn.Conv2d(FEATURES, channels, WINDOW, padding=pad))

    def forward(
        self,
        x: Float[Tensor, "batch channels rows columns"],
        time: Float[Tensor, "batch"],
        condition: Any = None,
    ) -> Float[Tensor, "batch channels rows columns"]:
        """What the target asks for, in the shape of x."""
        check_picture(x, self.config)
        seen = self.first(x)
        return self.last(F.gelu(seen + self.dit(seen, time, condition)))

    @property
    def h(self) -> nn.ModuleList:
        """The layers whose matrices Muon moves: patches', and words'."""
        return nn.ModuleList([*self.dit.h, *self.encoder.layers])

    @property
    def encoder(self) -> nn.Module:
        """What reads the condition."""
        return self.dit.encoder

    def nothing(self, condition: Any) -> Any:
        """A condition of this form that says nothing, for guidance."""
        return self.dit.nothing(condition)
