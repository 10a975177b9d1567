"""What can be done with a picture that is split in two, z_i and x_T.

z_i  = what CLIP sees in a picture
x_T  = all the rest: the noise out of which the decoder, told z_i, makes
       this very picture; found by DDIM backwards
eta  = η: 0 gives the picture back, more draws a part of the rest anew

Sources
- Ramesh et al. 2022, "DALL·E 2", arXiv 2204.06125, §3 (the two halves),
  §3.1 (variations), §3.2 (interpolation), §3.3 (edits by two captions).
- Song et al. 2021, "DDIM", arXiv 2010.02502, §4.3 (the way back).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.diffusion.clip import CLIP
from llmnotes.diffusion.dalle2.decoding import decode, told
from llmnotes.diffusion.dalle2.embeddings import scaled, slerp
from llmnotes.diffusion.ddim import DDIM, encode
from llmnotes.diffusion.ddpm import Denoiser
from llmnotes.modes import evaluating

STEPS = 100  # of the way back, and forth


class Halves(NamedTuple):
    """A picture as its embedding, scaled, and the noise it begins with."""

    images: Float[Tensor, "batch features"]
    x: Float[Tensor, "batch channels rows columns"]


def halved(
    clip: CLIP,
    decoder: Denoiser,
    x0: Float[Tensor, "batch channels rows columns"],
    *,
    steps: int = STEPS,
    rounds: int = 2,
) -> Halves:
    """Split pictures between -1 and 1.

    The decoder hears the embedding on the way back, too, and is not guided:
    only so the way forth leads to where it came from.

    Source: Ramesh et al. 2022, §3.
    """
    with evaluating(clip):
        images = scaled(clip.embed_images(x0))
    x = encode(decoder, x0, told(images), steps=steps, rounds=rounds)
    return Halves(images, x)


def varied(
    decoder: Denoiser,
    halves: Halves,
    *,
    eta: float,
    generator: torch.Generator | None = None,
    scale: float = 1.0,
    steps: int = STEPS,
) -> Float[Tensor, "batch channels rows columns"]:
    """The picture again, a part of what CLIP does not see drawn anew.

    η = 0 gives it back as it was, where the scale is 1. Raises `ValueError`
    for an eta outside 0 to 1, and without a generator where one is needed.

    Source: Ramesh et al. 2022, §3.1.
    """
    return decode(
        decoder, *halves, scale=scale, steps=steps, solver=DDIM(eta),
        generator=generator,
    )  # fmt: skip


def between(first: Halves, second: Halves, share: float) -> Halves:
    """Both halves on their spheres; at the ends stand the pictures.

    The paper's other way is to keep one noise for all shares: then the ends
    are variations. `first._replace(images=…)` does that.

    Source: Ramesh et al. 2022, §3.2.
    """
    return Halves(*map(slerp, first, second, (share, share)))
