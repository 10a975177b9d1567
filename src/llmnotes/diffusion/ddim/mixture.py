"""A denoiser that needs no network, because it knows the data.

means   = μ_k, a picture for each part of a mixture of Gaussians
spreads = s_k, the standard deviation of each; shares = how likely it is
data    = E[x_0 | x_t], what a network of squared error can at best learn

Whatever a sampler does wrong with it is the sampler's own fault.

Sources
- Bishop 2006, "Pattern Recognition and Machine Learning", §2.3.1 and 9.2
  (conditioning a Gaussian; who is responsible for a point).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.diffusion.ddpm.schedule import Levels


class Mixture(nn.Module):
    """E[x_0 | x_t] where x_0 is drawn from a mixture of round Gaussians.

    `condition` says of which part a picture is; without it, any.
    """

    def __init__(
        self,
        schedule: Levels,
        means: Float[Tensor, "parts *shape"],
        spreads: Float[Tensor, "parts"],
        shares: Float[Tensor, "parts"] | None = None,
    ):
        super().__init__()
        self.schedule = schedule
        if shares is None:
            shares = torch.full_like(spreads, 1 / len(spreads))
        self.register_buffer("means", means)
        self.register_buffer("spreads", spreads)
        self.register_buffer("shares", shares)

    def data(
        self,
        xt: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
        condition: Int[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "batch *shape"]:
        """Every part's guess, weighted by how likely it made x_t."""
        x = xt.flatten(1)[:, None]  # batch, parts, numbers
        means = self.means.flatten(1).to(x.dtype)
        spreads = self.spreads.to(x.dtype)[:, None]
        alpha, sigma = self.schedule.alpha(t, x), self.schedule.sigma(t, x)
        off = x - alpha * means
        variance = (alpha * spreads) ** 2 + sigma**2
        guesses = means + alpha * spreads**2 / variance * off
        weights = self.weights(off, variance, condition)
        return (weights[..., None] * guesses).sum(1).view_as(xt)

    def weights(self, off, variance, condition) -> Tensor:
        """How likely each part is, given x_t; one where it is told."""
        if condition is not None:
            told = torch.nn.functional.one_hot(condition, len(self.means))
            return told.to(off.dtype)
        terms = off**2 / variance + variance.log()
        evidence = self.shares.to(off.dtype).log() - terms.sum(-1) / 2
        return evidence.softmax(1)
