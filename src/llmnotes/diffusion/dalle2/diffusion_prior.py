"""The diffusion prior: out of noise comes an embedding, not a picture.

x0    = z_i, a picture's embedding, scaled; the network is asked for it
drop  = share of captions hidden in training, so that they can be guided
scale = s of u + s (c - u): 1 is the prior as it was trained

Embeddings are not bounded by 1 as pictures are: nothing is clipped.

Sources
- Ramesh et al. 2022, "DALL·E 2", arXiv 2204.06125, §2.2 (z_i is predicted
  itself, squared error; the caption is hidden from a tenth).
- Ho & Salimans 2022, "Classifier-Free Diffusion Guidance", arXiv 2207.12598,
  algorithm 1.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.diffusion.dalle2.priors import Prior
from llmnotes.diffusion.ddim import DPMSolver2M, sample
from llmnotes.diffusion.ddpm import (
    Data,
    Denoiser,
    Schedule,
    cosine,
    denoising_loss,
)
from llmnotes.diffusion.ddpm.task import check_drop
from llmnotes.diffusion.guidance import ClassifierFree, dropped


class DiffusionPrior(Prior):
    """A denoiser of embeddings that is told a caption's.

    `steps` and `scale` are how `drawn` asks it; both may be set anew. With
    one step it says what it guesses at t = T: the mean, as `Regression`.

    Raises `ValueError` for a share to drop that is none.

    Source: Ramesh et al. 2022, §2.2.
    """

    def __init__(
        self, network: nn.Module, *, drop: float = 0.1,
        steps: int = 20, scale: float = 1.0,
    ):  # fmt: skip
        super().__init__()
        check_drop(drop)
        self.denoiser = Denoiser(network, Schedule(cosine()), Data())
        self.drop, self.steps, self.scale = drop, steps, scale

    def guess(
        self,
        texts: Float[Tensor, "batch features"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch features"]:
        """An embedding for each caption; never clipped."""
        x0 = sample(
            ClassifierFree(self.denoiser, self.scale), tuple(texts.shape),
            texts, generator=generator, steps=self.steps,
            solver=DPMSolver2M(), clip=None,
        )  # fmt: skip
        return x0.to(texts.dtype)

    def loss(self, texts, images, generator) -> Tensor:
        """The simple loss at a t for each; some captions are hidden."""
        last = self.denoiser.schedule.steps
        t = torch.randint(1, last + 1, (len(images),), generator=generator)
        noise = torch.randn(images.shape, generator=generator).to(images)
        nothing = self.denoiser.nothing(texts)
        told = dropped(texts, nothing, self.drop, generator=generator)
        return denoising_loss(
            self.denoiser, images, t.to(images.device), noise, told
        )
