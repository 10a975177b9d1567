"""The decoder: GLIDE's network, which is told a picture's embedding.

images = z_i, embeddings of pictures, scaled; zeros say nothing
x      = x_T, the noise that a picture begins with
scale  = s of classifier-free guidance
TOKENS = vectors that the patches look at, made of one embedding

Sources
- Ramesh et al. 2022, "DALL·E 2", arXiv 2204.06125, §2.1 (the embedding
  beside time, and as four more tokens; zeros in a tenth of all cases).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import checked
from llmnotes.diffusion.dalle2.embeddings import check_scaled
from llmnotes.diffusion.ddim import DPMSolver2M, Solver, solve, visited
from llmnotes.diffusion.ddpm import Data, Denoiser, Schedule, cosine
from llmnotes.diffusion.ddpm.model import draw as noise
from llmnotes.diffusion.glide import DiTConfig, Stitched, Vectors
from llmnotes.diffusion.glide.task import shown
from llmnotes.diffusion.guidance import ClassifierFree

TOKENS = 4


def decoder(shape: DiTConfig, features: int) -> Denoiser:
    """GLIDE's network that reads embeddings; x_0 is its target.

    Source: Ramesh et al. 2022, §2.1.
    """
    reader = Vectors(features, shape.context, TOKENS)
    return Denoiser(Stitched(shape, reader), Schedule(cosine()), Data())


def told(
    images: Float[Tensor, "batch features"],
) -> Float[Tensor, "batch 1 features"]:
    """Embeddings as the decoder is told them: a set of one vector."""
    return images[:, None]


def beginnings(
    decoder: Denoiser, count: int, generator: torch.Generator
) -> Float[Tensor, "batch channels rows columns"]:
    """Noise in the shape of the decoder's pictures."""
    shape = decoder.network.config
    size = count, shape.channels, shape.rows, shape.columns
    return noise(size, decoder.schedule.alphas.device, generator)


@checked
def decode(
    decoder: Denoiser,
    images: Float[Tensor, "batch features"],
    x: Float[Tensor, "batch channels rows columns"],
    *,
    scale: float = 1.0,
    steps: int = 20,
    solver: Solver | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch channels rows columns"]:
    """From noise and embeddings to pictures between -1 and 1.

    Without a solver that draws, it is a function of both.

    Raises `ValueError` for embeddings of another length than √width or of
    another width, and for steps that the schedule does not have.
    """
    check_features(images, decoder)
    check_scaled("images", images)
    return solve(
        ClassifierFree(decoder, scale), x,
        visited(decoder.schedule.steps, steps), told(images),
        solver=solver or DPMSolver2M(), generator=generator,
    )  # fmt: skip


def draw(
    decoder: Denoiser,
    images: Float[Tensor, "batch features"],
    *,
    generator: torch.Generator,
    scale: float = 2.0,
    steps: int = 20,
) -> Float[Tensor, "batch channels rows columns"]:
    """A picture for each embedding, from 0 to 1."""
    x = beginnings(decoder, len(images), generator)
    return shown(decode(decoder, images, x, scale=scale, steps=steps))


def check_features(images: Tensor, decoder: Denoiser) -> None:
    """Raise `ValueError` unless embeddings are as wide as those learned."""
    expected = decoder.network.encoder.features
    if images.shape[1] != expected:
        raise ValueError(
            f"images: got {images.shape[1]} features, expected {expected}, "
            "as many as the decoder has learned"
        )
