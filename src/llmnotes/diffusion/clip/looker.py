"""A CLIP for pictures of 16 × 16: convolutions look, a transformer reads.

4 × 4 patches cut a thing of five pixels in pieces; two convolutions whose
windows overlap do not. The tower for captions is that of `towers`.

Sources
- Radford et al. 2021, "Learning Transferable Visual Models From Natural
  Language Supervision", arXiv 2103.00020, §2.4 (a ResNet or a ViT looks).
- Wu & He 2018, "Group Normalization", arXiv 1803.08494, eq. 7.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.diffusion.clip.config import CLIPConfig, VisionConfig
from llmnotes.diffusion.clip.model import CLIP

CHANNELS, WIDTH, GROUPS = (48, 96), 128, 8
WINDOW = dict(kernel_size=4, stride=2, padding=1)


class Looker(nn.Module):
    """Two convolutions, each halving the sides, and a layer on top."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        few, many = CHANNELS
        self.first = nn.Conv2d(config.num_channels, few, **WINDOW)
        self.second = nn.Conv2d(few, many, **WINDOW)
        self.norms = nn.ModuleList(
            nn.GroupNorm(GROUPS, channels) for channels in CHANNELS
        )
        places = (config.image_size // 4) ** 2
        self.top = nn.Linear(places * many, WIDTH)
        self.norm, self.width = nn.LayerNorm(WIDTH), WIDTH

    def forward(
        self, images: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch d_model"]:
        """One vector for each image."""
        x, convs = images, (self.first, self.second)
        for conv, norm in zip(convs, self.norms, strict=True):
            x = F.gelu(norm(conv(x)))
        x = rearrange(x, "batch w rows columns -> batch (w rows columns)")
        return self.norm(F.gelu(self.top(x)))


class ShapesCLIP(CLIP):
    """CLIP whose image tower is a `Looker`; it is trained on a laptop."""

    std = 0.2  # of a word at the start; of a place, a tenth of it

    def looker(self, config: CLIPConfig) -> nn.Module:
        """Convolutions in place of patches."""
        return Looker(config.vision_config)

    @property
    def h(self) -> nn.ModuleList:
        """The parts whose matrices Muon moves: all but the embeddings."""
        top = self.visual_projection, self.text_projection
        return nn.ModuleList(
            [self.text_model.encoder, self.vision_model, *top]
        )

    @torch.no_grad()
    def draw(self) -> None:
        """New weights; words of another size than OpenAI's."""
        super().draw()
        embeddings = self.text_model.embeddings
        nn.init.normal_(embeddings.token_embedding.weight, std=self.std)
        nn.init.normal_(embeddings.position_embedding.weight, std=0.02)


class DrownedCLIP(ShapesCLIP):
    """Words start at the size of `nn.Embedding`, fifty times a place's."""

    std = 1.0
