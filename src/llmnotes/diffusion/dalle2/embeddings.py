"""CLIP's embeddings as points on a sphere, in the size that noise has.

unit    = z / |z|, as CLIP hands them on: numbers of size 1/√width
scaled  = √width · z / |z|: numbers of size 1, as the noise of a diffusion
width   = how many numbers an embedding has, the axis `features`
share   = λ of an interpolation: 0 is the first, 1 the second
gap     = how far pictures' embeddings lie from those of captions, on average

Sources
- Ramesh et al. 2022, "DALL·E 2", arXiv 2204.06125, §3.2 (slerp), §3.3 (the
  difference of two captions).
- Shoemake 1985, "Animating rotation with quaternion curves", §3.3 (slerp).
- Liang et al. 2022, "Mind the Gap", arXiv 2203.02053, §4.2 (the gap as a
  difference of means).
- github.com/lucidrains/DALLE2-pytorch, issues 60 and 68: unit vectors under
  noise of size 1 (hence √width).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import checked, seen

NEAR = 1e-2  # of the length that is right


@checked
def scaled(
    vectors: Float[Tensor, "batch features"],
) -> Float[Tensor, "batch features"]:
    """The same directions at length √width, so that a number has size 1.

    Whatever length they had does not matter. A schedule is made for numbers
    of size 1: those of a unit vector are √width times smaller, and noise
    hides them √width times too early.

    Raises `ValueError` for a vector of zeros, which has no direction.

    Source: DALLE2-pytorch, issues 60 and 68.
    """
    check_directions(vectors)
    return math.sqrt(vectors.shape[1]) * F.normalize(vectors, dim=1)


@checked
def mean_gap(
    texts: Float[Tensor, "batch features"],
    images: Float[Tensor, "batch features"],
) -> Float[Tensor, "features"]:
    """From the mean caption to the mean picture. Source: Liang 2022, §4.2."""
    return images.mean(0) - texts.mean(0)


@checked
def angle(
    first: Float[Tensor, "batch *shape"],
    second: Float[Tensor, "batch *shape"],
) -> Float[Tensor, "batch"]:
    """The angle between two rows, from 0 to π; exact where it is small."""
    one = F.normalize(first.flatten(1), dim=1)
    two = F.normalize(second.flatten(1), dim=1)
    return 2 * torch.atan2((one - two).norm(dim=1), (one + two).norm(dim=1))


@checked
def slerp(
    first: Float[Tensor, "batch *shape"],
    second: Float[Tensor, "batch *shape"],
    share: float,
) -> Float[Tensor, "batch *shape"]:
    """The way along the sphere: equal shares turn by equal angles.

    Two vectors of one length give vectors of that length; the straight way
    is shorter in the middle. Pictures are taken as one long row each.

    Raises `ValueError` for a share outside 0 to 1, and for opposite vectors,
    between which every way is as short.

    Source: Shoemake 1985, §3.3.
    """
    check_share(share)
    between = angle(first, second)
    check_opposite(between)
    between = between.view(-1, *[1] * (first.ndim - 1))
    small = between < 1e-4  # sin θ divides: there the straight way is as good
    safe = torch.where(small, 1.0, between)
    begin = torch.sin((1 - share) * safe) / safe.sin()
    end = torch.sin(share * safe) / safe.sin()
    begin = torch.where(small, 1 - share, begin)
    return begin * first + torch.where(small, share, end) * second


@checked
def edited(
    images: Float[Tensor, "batch features"],
    before: Float[Tensor, "batch features"],
    after: Float[Tensor, "batch features"],
    share: float,
) -> Float[Tensor, "batch features"]:
    """Turn pictures towards what one caption has and another has not.

    `before` tells what a picture shows, `after` what it should show; all
    are scaled. Between equal captions there is no direction: `ValueError`.

    Source: Ramesh et al. 2022, §3.3, with shares up to a quarter or a half.
    """
    return slerp(images, scaled(after - before), share)


def check_directions(vectors: Tensor) -> None:
    """Raise `ValueError` for a row of zeros."""
    if not seen(vectors):
        return
    lengths = vectors.norm(dim=1)
    if not (lengths > 0).all():
        row = int((lengths > 0).int().argmin())
        raise ValueError(
            f"vectors: got row {row} of length {float(lengths[row]):g}, "
            "expected a direction"
        )


def check_scaled(name: str, vectors: Tensor) -> None:
    """Raise `ValueError` unless all rows have the length √width."""
    if not seen(vectors):
        return
    right = math.sqrt(vectors.shape[1])
    lengths = vectors.norm(dim=1)
    off = (lengths - right).abs() > NEAR * right
    if off.any():
        got = float(lengths[off][0])
        raise ValueError(
            f"{name}: got an embedding of length {got:.3g}, expected "
            f"√{vectors.shape[1]} = {right:.3g}; `scaled` makes it"
        )


def check_share(share: float) -> None:
    """Raise `ValueError` unless it is a share."""
    if not 0 <= share <= 1:
        raise ValueError(f"share: got {share}, expected 0 to 1")


def check_opposite(between: Tensor) -> None:
    """Raise `ValueError` for an angle of π."""
    if seen(between) and (math.pi - between < 1e-3).any():
        raise ValueError(
            "second: got the opposite of first, expected less than half a "
            "turn between them"
        )
