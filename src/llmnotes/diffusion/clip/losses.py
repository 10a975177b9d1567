"""What pulls an image to its own caption and away from all others.

    logits = e^t · cosine, one row for each image, one column for each caption
    same   = which caption says what is in which image; the diagonal, and more
             where a meaning comes twice
    floor  = the least loss that encoders can reach who see only the meaning
    τ      = temperature, e^t = 1/τ; b = bias of the sigmoid loss

Sources
- Radford et al. 2021, "Learning Transferable Visual Models From Natural
  Language Supervision", arXiv 2103.00020, figure 3 (the loss), §2.5 (the
  scale is at most 100).
- Khosla et al. 2020, "Supervised Contrastive Learning", arXiv 2004.11362,
  eq. 2 (several positives, the mean outside of the logarithm).
- Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training", arXiv
  2303.15343, §3.2 and algorithm 1.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from llmnotes.checks import checked
from llmnotes.precision import wide

MOST = math.log(100)  # of the logit scale


def log_scale(temperature: float) -> float:
    """Return t = ln(1/τ), which a model learns; cosines are times e^t.

    Raises `ValueError` for a temperature that is not above 0.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(
            f"temperature: got {temperature}, expected more than 0"
        )
    return -math.log(temperature)


@torch.no_grad()
def clamp_scale(logit_scale: nn.Parameter, most: float = MOST) -> None:
    """Hold t at most at ln 100, in place, between two steps.

    A clamp inside of `forward` would have no gradient beyond the border, so
    that a scale which has passed it could never come back.

    Source: Radford et al. 2021, §2.5.
    """
    logit_scale.clamp_(max=most)


@checked
def contrastive_loss(
    logits: Float[Tensor, "images texts"],
) -> Float[Tensor, ""]:
    """Which of the captions is mine, which of the images: both, halved.

    Image i belongs to caption i, and to no other. Raises `ValueError` unless
    there are as many images as captions.

    Source: Radford et al. 2021, figure 3.
    """
    check_square(logits)
    logits = wide(logits)
    own = torch.arange(len(logits), device=logits.device)
    images = F.cross_entropy(logits, own)
    texts = F.cross_entropy(logits.T, own)
    return (images + texts) / 2


@checked
def multi_positive_loss(
    logits: Float[Tensor, "images texts"],
    same: Bool[Tensor, "images texts"],
) -> Float[Tensor, ""]:
    """The same, but all that means the same is right, in equal parts.

    Raises `ValueError` for an image or a caption to which nothing belongs.

    Source: Khosla et al. 2020, eq. 2.
    """
    check_matched(same)
    logits, parts = wide(logits), same.to(logits.dtype)
    images = F.cross_entropy(logits, parts / parts.sum(1, keepdim=True))
    texts = F.cross_entropy(logits.T, (parts / parts.sum(0, keepdim=True)).T)
    return (images + texts) / 2


@checked
def floor(same: Bool[Tensor, "images texts"]) -> Float[Tensor, ""]:
    """The least of both losses above, if encoders see only the meaning.

    What cannot be told apart shares the probability: of k alike each has
    1/k, and ln k is lost.

    Raises `ValueError` for an image or a caption to which nothing belongs.
    """
    check_matched(same)
    counts = [same.sum(axis).double().log().mean() for axis in (0, 1)]
    return sum(counts) / 2


@checked
def sigmoid_loss(
    logits: Float[Tensor, "images texts"],
    same: Bool[Tensor, "images texts"],
) -> Float[Tensor, ""]:
    """Each pair by itself: whether these two belong together.

    `logits` are e^t · cosine + b. The sum over all pairs is divided by the
    number of images, so it grows with the batch.

    Source: Zhai et al. 2023, algorithm 1.
    """
    signs = torch.where(same, 1.0, -1.0)
    return -F.logsigmoid(signs * wide(logits)).sum(1).mean()


def diagonal(size: int) -> Bool[Tensor, "images texts"]:
    """Caption i belongs to image i alone."""
    return torch.eye(size, dtype=torch.bool)


def check_square(logits: Tensor) -> None:
    """Raise `ValueError` unless there are as many images as captions."""
    images, texts = logits.shape
    if images != texts:
        raise ValueError(
            f"logits: got {images} images and {texts} texts, expected as "
            "many of each"
        )


def check_matched(same: Tensor) -> None:
    """Raise `ValueError` if something belongs to nothing."""
    for axis, what in ((1, "image"), (0, "text")):
        alone = ~same.any(axis)
        if alone.any():
            raise ValueError(
                f"same: got {what} {int(alone.int().argmax())} to which "
                "nothing belongs, expected at least one"
            )
