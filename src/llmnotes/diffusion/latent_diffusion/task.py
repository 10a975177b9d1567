"""Two things to learn, one after the other: an autoencoder, then its latents.

pictures = x, captioned shapes of 16 × 16 in three colours, from -1 to 1
weight   = what a nat of KL costs, in squared errors summed over a picture
x0       = latents of pictures, drawn and scaled: what diffusion sees

Batches are a function of (seed, step). The autoencoder does not change while
its latents are learned.

Sources
- Kingma and Welling 2013, "Auto-Encoding Variational Bayes", arXiv
  1312.6114, eq. 10.
- Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion
  Models", arXiv 2112.10752, §3.1 and §3.2 (two stages).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes import scenes
from llmnotes.diffusion.ddpm.task import generator
from llmnotes.diffusion.glide.task import JUDGED, Drawing, pixels
from llmnotes.diffusion.latent_diffusion.autoencoder import Autoencoder
from llmnotes.diffusion.latent_diffusion.config import AutoencoderConfig
from llmnotes.modes import evaluating
from llmnotes.scenes import Scene
from llmnotes.task import Task


class Encoding(Task):
    """Give pictures back that went through few numbers, with noise on them.

    Raises `ValueError` for a weight below 0.
    """

    unit, measure = "pictures", "loss"

    def __init__(
        self, config: AutoencoderConfig, among: Sequence[Scene], *,
        size: int = 32, seed: int = 0, weight: float = 1e-3,
    ):  # fmt: skip
        check_weight(weight)
        side = scenes.SIDE // config.factor
        self.shape = config.latent_channels, side, side
        self.among, self.size, self.seed = among, size, seed
        self.weight = weight
        self.judged = self.noised(
            scenes.batch(0, 0, JUDGED, among, split="test"), generator(0)
        )

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Pictures, and the noise that goes on their latents."""
        drawn = scenes.batch(self.seed, step, self.size, self.among)
        return self.noised(drawn, generator(self.seed, step))

    def noised(self, drawn: scenes.Batch, draw: torch.Generator) -> tuple:
        """Pictures of a batch, and noise for each."""
        shape = len(drawn.images), *self.shape
        return pixels(drawn.images), torch.randn(shape, generator=draw)

    def loss(self, model: Autoencoder, batch: tuple) -> Tensor:
        """Squared error and weighted KL, for each number of a picture."""
        return autoencoder_loss(model, *batch, self.weight)

    def evaluate(self, model: Autoencoder) -> float:
        """The same on other pictures, always with the same noise."""
        return self.loss(model, self.judged).item()


def autoencoder_loss(
    model: Autoencoder,
    pictures: Float[Tensor, "batch channels rows columns"],
    noise: Float[Tensor, "batch latent_channels latent_rows latent_columns"],
    weight: float,
) -> Float[Tensor, ""]:
    """The bound with a Gaussian decoder: ‖x - x̂‖² + weight · KL.

    Both are sums over a picture, and their mean is over all numbers of all
    pictures; weight is twice the decoder's variance.

    Source: Kingma and Welling 2013, eq. 10.
    """
    latents = model.encode(pictures)
    error = model.decode(latents.drawn(noise)) - pictures
    whole = error.square().sum() + weight * latents.kl().sum()
    return whole / pictures.numel()


class LatentDrawing(Drawing):
    """Say what is under the noise of latents, having read a caption."""

    def __init__(
        self, autoencoder: Autoencoder, among: Sequence[Scene], **options
    ):
        self.autoencoder = autoencoder
        super().__init__(among, **options)

    def noised(self, drawn: scenes.Batch, draw: torch.Generator) -> tuple:
        """As for pictures; what they become in the autoencoder is drawn."""
        x0, ids, t, _ = super().noised(drawn, draw)
        with evaluating(self.autoencoder):
            latents = self.autoencoder.to_latents(x0, draw)
        return latents, ids, t, torch.randn(latents.shape, generator=draw)


def check_weight(weight: float) -> None:
    """Raise `ValueError` unless what KL costs is 0 or more."""
    if not weight >= 0:
        raise ValueError(f"weight: got {weight}, expected 0 or more")
