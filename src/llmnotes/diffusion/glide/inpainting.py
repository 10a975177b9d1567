"""Only a part of a picture is drawn; the rest is known.

known  = x_0 where the mask is True; elsewhere its values do not matter
mask   = m, True where the picture is known
now, then = where a step begins and where it ends, as points on the way
rounds = r, how often each step is made; before the next round noise is added
         again, so that what is drawn can follow what is known

Every step puts the known pixels into x, with as much noise as is left there;
the last puts them in as they are. The network was not trained for it.

Sources
- Lugmayr et al. 2022, "RePaint", arXiv 2201.09865 (algorithm 1; eq. 8: both
  halves put together).
- Nichol et al. 2022, "GLIDE", arXiv 2112.10741, §4.3 (the same without
  rounds, before the network is trained to see the mask).
"""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from llmnotes.checks import check_sizes, checked
from llmnotes.diffusion.ddim import DDIM, Point, Solver, visited
from llmnotes.diffusion.ddim.model import guessed, legs
from llmnotes.diffusion.ddpm.model import draw
from llmnotes.modes import evaluating

NOISY = DDIM(eta=1.0)  # as much is drawn on the way as in DDPM


@checked
def inpaint(
    denoiser: nn.Module,
    known: Float[Tensor, "batch channels rows columns"],
    mask: Bool[Tensor, "batch #channels rows columns"],
    condition: Any = None,
    *,
    generator: torch.Generator,
    steps: int = 50,
    rounds: int = 1,
    solver: Solver = NOISY,
    clip: float | None = 1.0,
) -> Float[Tensor, "batch channels rows columns"]:
    """Draw what is not known; known pixels come back to the last bit.

    Raises `ValueError` for a mask that is not bool or of another size, and
    for rounds below 1.

    Source: Lugmayr et al. 2022, algorithm 1.
    """
    check_sizes(rounds=rounds)
    times = visited(denoiser.schedule.steps, steps)

    def fresh() -> Tensor:
        return draw(known.shape, known.device, generator).to(known.dtype)

    x = fresh()
    with evaluating(denoiser):
        for t, now, then in legs(denoiser.schedule, times):
            for left in reversed(range(rounds if then.sigma else 1)):
                guess = guessed(denoiser, x, t, now, condition, clip)
                x = solver.step(x, guess, then, None, fresh)
                x = put(x, known, mask, then, fresh)
                x = back(x, then, now, fresh()) if left else x
    return x


def put(x, known, mask, at: Point, fresh) -> Tensor:
    """X with the known pixels in it, as noisy as x is.

    Source: Lugmayr et al. 2022, eq. 8.
    """
    noisy = at.alpha * known + at.sigma * fresh()
    return torch.where(mask, noisy, x)


def back(
    x: Float[Tensor, "batch *shape"], then: Point, now: Point, noise: Tensor
) -> Float[Tensor, "batch *shape"]:
    """From the end of a step to its beginning: as much noise as it took.

    Deviations add as squares: a part of x is left, and what is missing to
    now.sigma is drawn. Source: Lugmayr et al. 2022, algorithm 1, line 10.
    """
    kept = now.alpha / then.alpha
    missing = now.sigma**2 - (kept * then.sigma) ** 2
    return kept * x + math.sqrt(max(0.0, missing)) * noise
