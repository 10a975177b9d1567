"""Embeddings as few whole numbers: turned, cut off, and put into buckets.

components = principal axes of pictures' embeddings, the longest first; only
             the first `kept` of them are coded
std        = standard deviation along each
codes      = q, the bucket of each component: 0 … buckets - 1
BOUND      = buckets reach from -3 to 3 std, all equally wide

Sources
- Ramesh et al. 2022, "DALL·E 2", arXiv 2204.06125, §2.2 (319 of 1,024
  components by decreasing eigenvalue, 1,024 buckets each), §4 and figure 7
  (pictures from the first few components).
- Pearson 1901, "On lines and planes of closest fit" (principal axes).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_sizes, check_within, checked

BOUND = 3.0  # standard deviations


class Components(nn.Module):
    """The principal axes of embeddings, and how far these reach along each.

    Raises `ValueError` for more axes than embeddings can have.
    """

    def __init__(self, images: Float[Tensor, "examples features"], kept: int):
        super().__init__()
        check_kept(images, kept)
        mean = images.mean(0)
        _, singular, axes = torch.linalg.svd(
            images - mean, full_matrices=False
        )
        deviations = singular / len(images) ** 0.5
        self.register_buffer("mean", mean)
        self.register_buffer("axes", axes[:kept])
        self.register_buffer("std", deviations[:kept])
        self.register_buffer("share", deviations.square()[:kept].sum()
                             / deviations.square().sum())  # fmt: skip

    @checked
    def along(
        self, images: Float[Tensor, "batch features"]
    ) -> Float[Tensor, "batch components"]:
        """How far embeddings reach along each axis, from the mean."""
        return (images - self.mean) @ self.axes.T

    @checked
    def back(
        self, parts: Float[Tensor, "batch components"]
    ) -> Float[Tensor, "batch features"]:
        """The embedding of these; what was cut off is that of the mean.

        With fewer than there are, the others count as 0.
        """
        return self.mean + parts @ self.axes[: parts.shape[1]]


class Codes(nn.Module):
    """Buckets along principal axes: embeddings as whole numbers, and back.

    What lies beyond the bound goes into the outermost bucket. Within it a
    component comes back to at most half a bucket, BOUND / buckets std.

    Source: Ramesh et al. 2022, §2.2.
    """

    def __init__(
        self,
        images: Float[Tensor, "examples features"],
        kept: int = 16,
        buckets: int = 32,
    ):
        super().__init__()
        check_sizes(buckets=buckets)
        self.components, self.buckets = Components(images, kept), buckets
        self.kept = kept

    def encode(
        self, images: Float[Tensor, "batch features"]
    ) -> Int[Tensor, "batch components"]:
        """The bucket of each component."""
        parts = self.components.along(images) / self.components.std
        places = (parts + BOUND) / (2 * BOUND) * self.buckets
        return places.floor().long().clamp(0, self.buckets - 1)

    @checked
    def decode(
        self, codes: Int[Tensor, "batch components"]
    ) -> Float[Tensor, "batch features"]:
        """The middle of each bucket, turned back.

        Raises `ValueError` for a code that is no bucket.
        """
        check_within(0, self.buckets - 1, codes=codes)
        std = self.components.std[: codes.shape[1]]
        places = (codes + 0.5).to(std.dtype) / self.buckets
        return self.components.back((2 * places - 1) * BOUND * std)


def check_kept(images: Tensor, kept: int) -> None:
    """Raise `ValueError` unless there are so many axes."""
    check_sizes(kept=kept)
    most = min(images.shape)
    if kept > most:
        raise ValueError(
            f"kept: got {kept}, expected at most {most} axes of "
            f"{images.shape[0]} embeddings of {images.shape[1]} features"
        )
