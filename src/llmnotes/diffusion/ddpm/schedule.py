"""How much of the picture and how much noise there is at each step.

t          = 1 … T; 0 is the clean picture (diffusers counts t - 1)
betas      = β_t (variance of the noise that step t adds), β_0 = 0
alphas_bar = ᾱ_t = Π (1 - β_s), the share of the picture's variance; ᾱ_0 = 1
alpha(t)   = √ᾱ_t, sigma(t) = √(1 - ᾱ_t): x_t = alpha x_0 + sigma ε

All in float64, whatever the pictures are: in float32 1 - ᾱ_1, a difference of
nearly equal numbers, is off in the fourth digit.

Sources
- Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv
  2006.11239 (eq. 4: one draw; eq. 6, 7: the posterior).
- Nichol & Dhariwal 2021, "Improved DDPM", arXiv 2102.09672 (eq. 17: cosine).
- Rombach et al. 2022, "Latent Diffusion", arXiv 2112.10752 (√β in a line).
"""

import math

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

LARGEST = 0.999  # a β of 1 would leave nothing to go back from


def linear(
    steps: int = 1000, first: float = 1e-4, last: float = 0.02
) -> Float[Tensor, "steps"]:
    """β_t in a line. Source: Ho et al. 2020, §4."""
    return torch.linspace(first, last, steps, dtype=torch.float64)


def scaled_linear(
    steps: int = 1000, first: float = 0.00085, last: float = 0.012
) -> Float[Tensor, "steps"]:
    """√β_t in a line, as Stable Diffusion has it. Source: Rombach 2022."""
    ends = math.sqrt(first), math.sqrt(last)
    return torch.linspace(*ends, steps, dtype=torch.float64) ** 2


def cosine(steps: int = 1000, s: float = 0.008) -> Float[Tensor, "steps"]:
    """ᾱ_t as a squared cosine. Source: Nichol & Dhariwal 2021, eq. 17."""
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    bar = torch.cos((t + s) / (1 + s) * torch.pi / 2) ** 2
    return (1 - bar[1:] / bar[:-1]).clamp(max=LARGEST)


class Levels(nn.Module):
    """How much of the picture and how much noise there is at t = 0 … T.

    What depends on t is a buffer: it follows `.to(device)` and
    `state_dict()`, and stays float64 when the model around it becomes half.
    """

    steps: int  # T
    alphas: Float[Tensor, "times"]  # of the picture, at 0 … T
    sigmas: Float[Tensor, "times"]  # of the noise

    def _apply(self, fn, recurse=True):
        """Follow to another device, not to another dtype."""
        kept = {name: buffer for name, buffer in self.named_buffers()}
        super()._apply(fn, recurse)
        for name, buffer in kept.items():
            moved = buffer.to(getattr(self, name).device)
            setattr(self, name, moved)
        return self

    def alpha(self, t: Int[Tensor, "batch"], like: Tensor) -> Tensor:
        """Alpha at each t, shaped and typed to multiply pictures `like`."""
        return self.at(self.alphas, t, like)

    def sigma(self, t: Int[Tensor, "batch"], like: Tensor) -> Tensor:
        """Sigma at each t, shaped and typed to multiply pictures `like`."""
        return self.at(self.sigmas, t, like)

    def at(
        self, values: Tensor, t: Int[Tensor, "batch"], like: Tensor
    ) -> Tensor:
        """A value for each picture's t, as (batch, 1, 1, …)."""
        check_times(t, like, self.steps)
        return values[t].to(like.dtype).view(-1, *[1] * (like.ndim - 1))

    def noisy(
        self,
        x0: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
        noise: Float[Tensor, "batch *shape"],
    ) -> Float[Tensor, "batch *shape"]:
        """x_t in one draw, equal in distribution to t small steps.

        Source: Ho et al. 2020, eq. 4.
        """
        return self.alpha(t, x0) * x0 + self.sigma(t, x0) * noise


class Schedule(Levels):
    """β_t, ᾱ_t and what follows from them.

    Raises `ValueError` for betas that are not one row between 0 and 1, or
    that leave more than a tenth of the picture's amplitude at the end.
    """

    def __init__(self, betas: Float[Tensor, "steps"], end: float = 0.1):
        super().__init__()
        check_betas(betas, end)
        betas = torch.cat([betas.new_zeros(1), betas]).double()
        self.register_buffer("betas", betas)
        self.register_buffer("alphas_bar", (1 - betas).cumprod(0))

    @property
    def steps(self) -> int:
        """T."""
        return len(self.betas) - 1

    @property
    def alphas(self) -> Float[Tensor, "times"]:
        """√ᾱ_t."""
        return self.alphas_bar.sqrt()

    @property
    def sigmas(self) -> Float[Tensor, "times"]:
        """√(1 - ᾱ_t)."""
        return (1 - self.alphas_bar).sqrt()

    def posterior(
        self,
        x0: Float[Tensor, "batch *shape"],
        xt: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
    ) -> tuple[Float[Tensor, "batch *shape"], Shaped[Tensor, "batch *ones"]]:
        """Mean and variance of x_{t-1}, given both ends; t is 1 or more.

        The variance β̃_t is 0 at t = 1: the last step adds no noise.

        Source: Ho et al. 2020, eq. 6 and 7.
        """
        check_times(t, x0, self.steps, first=1)
        beta, bar = self.betas, self.alphas_bar
        before = torch.cat([bar[:1], bar[:-1]])  # ᾱ_{t-1}
        rest = (1 - bar).clamp(min=torch.finfo(bar.dtype).tiny)  # at t = 0
        from_x0 = before.sqrt() * beta / rest
        from_xt = (1 - beta).sqrt() * (1 - before) / rest
        mean = self.at(from_x0, t, x0) * x0 + self.at(from_xt, t, x0) * xt
        return mean, self.at((1 - before) / rest * beta, t, x0)


def check_betas(betas: Tensor, end: float) -> None:
    """Raise `ValueError` for betas that are no way into noise."""
    if betas.ndim != 1 or not len(betas):
        raise ValueError(
            f"betas: got shape {tuple(betas.shape)}, expected one row"
        )
    if not ((betas > 0) & (betas < 1)).all():
        raise ValueError(
            f"betas: got {float(betas.min())} to {float(betas.max())}, "
            "expected numbers between 0 and 1"
        )
    left = float((1 - betas.double()).prod().sqrt())
    if left > end:
        raise ValueError(
            f"betas: got a schedule that ends with {left:.3f} of the picture, "
            f"expected at most {end}: samples begin with noise alone"
        )


def check_times(t: Tensor, like: Tensor, last: int, first: int = 0) -> None:
    """Raise `ValueError` unless each picture has a step that there is."""
    if t.shape != like.shape[:1]:
        raise ValueError(
            f"t: got shape {tuple(t.shape)} for {len(like)} pictures, "
            "expected one step for each"
        )
    if t.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"t: got {t.dtype}, expected whole numbers")
    if len(t) and not (first <= int(t.min()) and int(t.max()) <= last):
        raise ValueError(
            f"t: got {int(t.min())} to {int(t.max())}, expected "
            f"{first} to {last}"
        )
