"""The variational bound in continuous time: an integral over the noise.

denoiser(z, gamma) = x̂_0, whatever says what is under the noise
gamma  = γ(t) = -ln SNR, see `log_snr`; z = z_t = α x_0 + σ ε
values = the grey levels that there are, in order

bound = prior + ½ E_t γ'(t) ‖ε - ε̂‖² + decoder, nats for each picture. With γ
for t the middle is ½ ∫ E ‖ε - ε̂‖² dγ, in which t has gone: only the ends of
γ matter for the bound, while its variance under random t depends on the way.

Sources
- Kingma, Salimans, Poole & Ho 2021, "Variational Diffusion Models", arXiv
  2107.00630 (§3.3, eq. 7: decoder; eq. 11: terms; eq. 17, 18: integral).
- Guo, Shamai & Verdú 2005, "Mutual Information and Minimum Mean-Square
  Error in Gaussian Channels", arXiv cs/0412108 (why it can be exact).
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.diffusion.ddpm.log_snr import Gamma, alpha_sigma, spread_times
from llmnotes.modes import evaluating

Guess = Callable[[Tensor, Tensor], Tensor]  # of x_0, from z and γ


def diffusion(
    denoiser: Guess,
    gamma: Gamma,
    x0: Float[Tensor, "batch *shape"],
    t: Float[Tensor, "batch"],
    noise: Float[Tensor, "batch *shape"],
) -> Float[Tensor, "batch"]:
    """One draw of ½ γ'(t) ‖ε - ε̂‖² for each picture, in nats.

    Source: Kingma et al. 2021, eq. 17.
    """
    check_real_times(t, x0)
    at = gamma(t)
    alpha, sigma = alpha_sigma(at, x0)
    said = denoiser(alpha * x0 + sigma * noise, at)
    wrong = alpha / sigma * (said - x0)  # = ε - ε̂
    return gamma.slope(t) * wrong.square().flatten(1).sum(1) / 2


def prior(
    x0: Float[Tensor, "batch *shape"], gamma: float
) -> Float[Tensor, "batch"]:
    """KL of the noisiest z from the noise that samples begin with, nats."""
    alpha, sigma = alpha_sigma(torch.tensor([gamma]), x0)
    kl = (sigma**2 + (alpha * x0) ** 2 - 1) / 2 - sigma.log()
    return kl.flatten(1).sum(1)


def likelihood(
    z: Float[Tensor, "batch *shape"],
    gamma: Float[Tensor, "batch"],
    values: Float[Tensor, "levels"],
) -> Float[Tensor, "batch *shape levels"]:
    """Log of q(z | level) for each number and level, up to a constant."""
    alpha, sigma = alpha_sigma(gamma, z[..., None])
    return -((z[..., None] - alpha * values) ** 2) / (2 * sigma**2)


def decoder(
    x0: Float[Tensor, "batch *shape"],
    noise: Float[Tensor, "batch *shape"],
    gamma: float,
    values: Float[Tensor, "levels"],
) -> Float[Tensor, "batch"]:
    """-ln p(x_0 | z_0), nats: which level was it, at the lowest noise.

    Source: Kingma et al. 2021, eq. 7: p(x | z_0) ∝ q(z_0 | x).
    """
    right = nearest(x0, values)
    at = torch.full(x0.shape[:1], gamma)
    alpha, sigma = alpha_sigma(at, x0)
    logs = likelihood(alpha * x0 + sigma * noise, at, values).log_softmax(-1)
    said = logs.gather(-1, right[..., None])[..., 0]
    return -said.flatten(1).sum(1)


def grey_levels(count: int) -> Float[Tensor, "levels"]:
    """Levels from -1 to 1."""
    return torch.linspace(-1, 1, count)


def nearest(x0: Tensor, values: Tensor) -> Tensor:
    """The number of each level; `ValueError` for what is none of them."""
    away = (x0[..., None] - values).abs()
    far, right = away.min(-1)
    if len(far) and float(far.max()) > 1e-4:
        raise ValueError(
            f"x0: got {float(x0.flatten()[far.argmax()]):.4f}, expected one "
            f"of {len(values)} grey levels: probabilities of real numbers "
            "cannot be compared with those of levels"
        )
    return right


class VelocityGuess(nn.Module):
    """x̂_0 from a network that says v; it reads γ, never t."""

    def __init__(self, network: nn.Module, ends: tuple[float, float]):
        super().__init__()
        self.network, self.ends = network, ends

    def forward(
        self, z: Float[Tensor, "batch *shape"], gamma: Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch *shape"]:
        """α z - σ v."""
        alpha, sigma = alpha_sigma(gamma, z)
        return alpha * z - sigma * self.network(z, share(gamma, self.ends))


class LevelsGuess(nn.Module):
    """x̂_0 by Bayes' rule for each number, over the levels that there are.

    What z says of its own level needs no learning. The network is told
    that, softmaxed, as (batch, numbers · levels), and adds what the other
    numbers say.
    """

    def __init__(
        self, network: nn.Module, ends: tuple[float, float], values: Tensor
    ):
        super().__init__()
        self.network, self.ends = network, ends
        self.register_buffer("values", values)

    def forward(
        self, z: Float[Tensor, "batch *shape"], gamma: Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch *shape"]:
        """The mean of the levels, each as likely as it now is."""
        own = likelihood(z, gamma, self.values)
        told = self.network(own.softmax(-1), share(gamma, self.ends))
        return (own + told).softmax(-1) @ self.values


class Fourier(nn.Module):
    """Numbers with sin and cos of 2^n π z beside them, numbers last.

    n = 3 and 4 turn once in two levels of 17, and once in one: from them a
    network sees how far z is from the nearest level.

    Source: Kingma et al. 2021, §4 ("Fourier features"), there n = 7 and 8.
    """

    def __init__(self, powers: tuple[int, ...] = (3, 4)):
        super().__init__()
        self.powers = powers

    def forward(
        self, z: Float[Tensor, "batch input"]
    ) -> Float[Tensor, "batch output"]:
        """Numbers and their waves, side by side."""
        turns = [z * (2**n * math.pi) for n in self.powers]
        waves = [wave for a in turns for wave in (a.sin(), a.cos())]
        return torch.cat([z, *waves], dim=1)


@torch.no_grad()
def bound(
    denoiser: nn.Module,
    gamma: Gamma,
    x0: Float[Tensor, "batch *shape"],
    values: Float[Tensor, "levels"],
    draws: int = 64,
    *,
    generator: torch.Generator,
) -> Float[Tensor, "batch terms"]:
    """Prior, diffusion and decoder of each picture, in nats.

    The middle is the mean of `draws` times, spread within each picture and,
    between those of one, over all pictures.
    """
    times = spread_times(draws * len(x0), generator).view(draws, -1)
    with evaluating(denoiser):
        middle = [
            diffusion(denoiser, gamma, x0, t, normal(x0, generator))
            for t in times
        ]
    last = decoder(x0, normal(x0, generator), gamma.first, values)
    mean = torch.stack(middle).mean(0)
    return torch.stack([prior(x0, gamma.last), mean, last], dim=1)


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise, shaped and typed like pictures."""
    return torch.randn(like.shape, generator=generator).to(like)


def share(gamma: Tensor, ends: tuple[float, float]) -> Tensor:
    """γ as a number from 0 to 1, for a network to read as its time."""
    first, last = ends
    return (gamma - first) / (last - first)


def check_real_times(t: Tensor, x0: Tensor) -> None:
    """Raise `ValueError` unless each picture has a time from 0 to 1."""
    if t.shape != x0.shape[:1]:
        raise ValueError(
            f"t: got shape {tuple(t.shape)} for {len(x0)} pictures, "
            "expected one time for each"
        )
    if len(t) and not (0 <= float(t.min()) and float(t.max()) <= 1):
        raise ValueError(
            f"t: got {float(t.min())} to {float(t.max())}, expected times "
            "from 0 to 1"
        )
