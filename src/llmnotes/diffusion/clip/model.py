"""Two towers that put images and captions into one space: CLIP.

    text_model, vision_model = the towers; each gives one vector of its own
    text_projection, visual_projection = W_t, W_i into the common space
    logit_scale = t = ln(1/τ), learned; logits are e^t · cosine

Sources
- Radford et al. 2021, "Learning Transferable Visual Models From Natural
  Language Supervision", arXiv 2103.00020, figure 3.
- Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training", arXiv
  2303.15343, §3.2 (the bias).
- openai/CLIP, `clip/model.py`: how weights are drawn.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import checked
from llmnotes.diffusion.clip.config import CLIPConfig
from llmnotes.diffusion.clip.towers import (
    Encoder,
    TextEmbeddings,
    TextModel,
    VisionEmbeddings,
    VisionModel,
)


class CLIP(nn.Module):
    """Says which caption fits which image.

    `model(images, ids)` is e^t times the cosine of each image with each
    caption: one row for each image. It is symmetric but for that.
    """

    def __init__(self, config: CLIPConfig):
        super().__init__()
        self.config, space = config, config.projection_dim
        self.text_model = TextModel(config.text_config)
        self.vision_model = self.looker(config)
        self.visual_projection = nn.Linear(
            self.vision_model.width, space, bias=False
        )
        self.text_projection = nn.Linear(
            self.text_model.width, space, bias=False
        )
        start = torch.tensor(float(config.logit_scale_init_value))
        self.logit_scale = nn.Parameter(start)
        self.draw()

    def looker(self, config: CLIPConfig) -> nn.Module:
        """The tower for images, which a variant may replace."""
        return VisionModel(config.vision_config)

    @checked
    def embed_images(
        self, images: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch features"]:
        """Unit vectors of images."""
        found = self.visual_projection(self.vision_model(images))
        return F.normalize(found, dim=-1)

    @checked
    def embed_texts(
        self, ids: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch features"]:
        """Unit vectors of captions."""
        return F.normalize(self.text_projection(self.text_model(ids)), dim=-1)

    def forward(
        self,
        images: Float[Tensor, "images channels rows columns"],
        ids: Int[Tensor, "texts length"],
    ) -> Float[Tensor, "images texts"]:
        """Logits: how well each caption fits each image."""
        cosines = self.embed_images(images) @ self.embed_texts(ids).T
        return self.logit_scale.exp() * cosines

    @torch.no_grad()
    def draw(self) -> None:
        """New weights, of the sizes that OpenAI gives the text tower.

        Source: openai/CLIP, `CLIP.initialize_parameters`.
        """
        for module in self.modules():
            if isinstance(module, Encoder):
                draw_layers(module)
            elif isinstance(module, TextEmbeddings):
                nn.init.normal_(module.token_embedding.weight, std=0.02)
                nn.init.normal_(module.position_embedding.weight, std=0.01)
            elif isinstance(module, VisionEmbeddings):
                std = module.class_embedding.numel() ** -0.5
                nn.init.normal_(module.class_embedding, std=std)
                nn.init.normal_(module.position_embedding.weight, std=std)
        for layer in (self.visual_projection, self.text_projection):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)


class SigmoidCLIP(CLIP):
    """CLIP for the sigmoid loss: a bias says how rare a right pair is.

    Its config's `logit_scale_init_value` should be ln 10; the bias starts
    at -10, so that at first every pair counts as wrong.

    Source: Zhai et al. 2023, §3.2.
    """

    def __init__(self, config: CLIPConfig):
        super().__init__(config)
        self.logit_bias = nn.Parameter(torch.tensor(-10.0))

    def forward(
        self,
        images: Float[Tensor, "images channels rows columns"],
        ids: Int[Tensor, "texts length"],
    ) -> Float[Tensor, "images texts"]:
        """Logits of "this caption belongs to this image"."""
        return super().forward(images, ids) + self.logit_bias


def draw_layers(encoder: Encoder) -> None:
    """Draw matrices so that the sum over all layers keeps its size."""
    shrink = (2 * len(encoder.layers)) ** -0.5
    for layer in encoder.layers:
        attend, mlp = layer.self_attn, layer.mlp
        std = attend.q_proj.in_features**-0.5
        sizes = {
            attend.q_proj: std,
            attend.k_proj: std,
            attend.v_proj: std,
            attend.out_proj: std * shrink,
            mlp.fc1: std / math.sqrt(2),
            mlp.fc2: std * shrink,
        }
        for linear, size in sizes.items():
            nn.init.normal_(linear.weight, std=size)
            nn.init.zeros_(linear.bias)
