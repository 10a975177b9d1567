"""Priors: from what a caption says to what its picture may look like.

texts     = z_t, CLIP's embeddings of captions, scaled
images    = z_i, CLIP's embeddings of pictures, scaled
guess     = what a prior says, of any length; `drawn` brings it to √width
gap       = mean of pictures minus mean of captions

Whether a prior helps is asked by leaving it out: `Direct` hands the caption's
embedding to a decoder that has never seen one.

Sources
- Ramesh et al. 2022, "DALL·E 2", arXiv 2204.06125, §2.2 (two drawn, the one
  nearer to the caption kept), §5.1 (captions' embeddings without a prior).
- Liang et al. 2022, "Mind the Gap", arXiv 2203.02053, §4.2 (shifting).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.checks import check_sizes, checked
from llmnotes.diffusion.dalle2.embeddings import (
    check_scaled,
    mean_gap,
    scaled,
)
from llmnotes.modes import evaluating


class Prior(nn.Module):
    """What all priors are: a guess for each caption, on the sphere.

    A variant has a `guess`; one that learns has a `loss`, too.
    """

    @checked
    def drawn(
        self,
        texts: Float[Tensor, "batch features"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch features"]:
        """Embeddings of pictures that these captions may have, scaled.

        Raises `ValueError` for embeddings of another length than √width.
        """
        check_scaled("texts", texts)
        with evaluating(self):
            return scaled(self.guess(texts, generator))

    def guess(
        self,
        texts: Float[Tensor, "batch features"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch features"]:
        """Embeddings of pictures, of any length."""
        raise NotImplementedError

    def loss(
        self,
        texts: Float[Tensor, "batch features"],
        images: Float[Tensor, "batch features"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """How far off it is; every draw comes from the generator."""
        raise NotImplementedError


class Direct(Prior):
    """No prior at all: a caption's embedding, as if it were a picture's."""

    def guess(self, texts, generator) -> Tensor:
        """The same."""
        return texts


class MeanGap(Prior):
    """A caption's embedding, moved by what pictures are on average.

    Source: Liang et al. 2022, §4.2.
    """

    def __init__(
        self,
        texts: Float[Tensor, "examples features"],
        images: Float[Tensor, "examples features"],
    ):
        super().__init__()
        self.register_buffer("gap", mean_gap(texts, images))

    def guess(self, texts, generator) -> Tensor:
        """The caption's, and the gap."""
        return texts + self.gap


class Regression(Prior):
    """The mean of all embeddings that a caption's pictures have.

    Its network is that of the diffusion prior, which at t = T sees noise
    alone: one that hears nothing else learns the mean, and so does this.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def guess(self, texts, generator) -> Tensor:
        """One call, nothing drawn."""
        nothing, last = torch.zeros_like(texts), texts.new_ones(len(texts))
        return self.network(nothing, last, texts)

    def loss(self, texts, images, generator) -> Tensor:
        """Squared error, the mean of all numbers."""
        return F.mse_loss(self.guess(texts, generator), images)


class BestOf(Prior):
    """Another prior asked several times; what is nearest to the caption.

    Nearest by the dot product with the caption's embedding. Raises
    `ValueError` for a count below 1.

    Source: Ramesh et al. 2022, §2.2, with 2.
    """

    def __init__(self, prior: Prior, count: int = 2):
        super().__init__()
        check_sizes(count=count)
        self.prior, self.count = prior, count

    def guess(self, texts, generator) -> Tensor:
        """All at once, then the best of each caption."""
        many = texts.repeat(self.count, 1)  # candidate by candidate
        found = self.prior.drawn(many, generator)
        found = found.view(self.count, *texts.shape)
        return best(found, texts)


class MeanOf(BestOf):
    """Another prior asked several times; the mean of what it says.

    Of many draws it is the mean that a regression learns.
    """

    def guess(self, texts, generator) -> Tensor:
        """All at once, then their mean."""
        many = texts.repeat(self.count, 1)
        found = self.prior.drawn(many, generator)
        return found.view(self.count, *texts.shape).mean(0)


def best(
    found: Float[Tensor, "candidates batch features"],
    texts: Float[Tensor, "batch features"],
) -> Float[Tensor, "batch features"]:
    """The candidate with the largest dot product with each caption."""
    chosen = (found * texts).sum(-1).argmax(0)
    return found[chosen, torch.arange(len(texts), device=texts.device)]
