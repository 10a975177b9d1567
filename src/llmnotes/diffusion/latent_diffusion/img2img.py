"""Image to image: a picture is noised part of the way and drawn again.

strength = share of the steps that are made again, above 0 and up to 1
times    = all steps of a way from noise to picture, and where it ends
kept     = √ᾱ_t where the way begins: how much of the old picture is left

At strength 1 all steps are made, and still the old picture counts: √ᾱ_T of
it is under the noise, .068 in the schedule of Stable Diffusion. Who wants
none of it begins with noise alone.

Sources
- Meng et al. 2022, "SDEdit", arXiv 2108.01073, algorithm 1.
- diffusers 0.42: `StableDiffusionImg2ImgPipeline.get_timesteps`;
  huggingface/diffusers#436 (strength 1).
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.diffusion.ddim import DDIM, Solver, solve
from llmnotes.diffusion.ddpm.model import draw


def left(times: Sequence[int], strength: float, steps: int) -> list[int]:
    """The last part of a way of so many steps: strength of them, no more.

    A part of a step is none, as in diffusers.

    Raises `ValueError` for a strength outside (0, 1], and for one so small
    that no step is left.
    """
    check_strength(strength, steps)
    return list(times[steps - int(steps * strength) :])


@torch.no_grad()
def redraw(
    denoiser: nn.Module,
    x0: Float[Tensor, "batch *shape"],
    times: Sequence[int],
    condition: Any = None,
    *,
    strength: float,
    generator: torch.Generator,
    solver: Solver = DDIM(),  # noqa: B008, it is frozen
    clip: float | None = None,
) -> Float[Tensor, "batch *shape"]:
    """Pictures or latents with noise on them, and drawn out of it again.

    `times` are all steps and the end, as if nothing were there yet.

    Raises `ValueError` as `left` does.

    Source: Meng et al. 2022, algorithm 1.
    """
    rest = left(times, strength, len(times) - 1)
    return finish(
        denoiser, x0, rest, condition,
        generator=generator, solver=solver, clip=clip,
    )  # fmt: skip


def finish(
    denoiser: nn.Module,
    x0: Float[Tensor, "batch *shape"],
    times: Sequence[int],
    condition: Any = None,
    *,
    generator: torch.Generator,
    **options: Any,
) -> Float[Tensor, "batch *shape"]:
    """Noise as at the first of `times`, then the way to the last of them."""
    noise = draw(x0.shape, x0.device, generator).to(x0.dtype)
    first = torch.full(x0.shape[:1], times[0], device=x0.device)
    x = denoiser.schedule.noisy(x0, first, noise)
    return solve(denoiser, x, times, condition, generator=generator, **options)


def check_strength(strength: float, steps: int) -> None:
    """Raise `ValueError` unless it is a share that leaves a step to make."""
    if not 0 < strength <= 1:
        raise ValueError(
            f"strength: got {strength}, expected above 0 and at most 1"
        )
    if not int(steps * strength):
        raise ValueError(
            f"strength: got {strength}, expected {1 / steps:.3g} or more: of "
            f"{steps} steps none is left"
        )
