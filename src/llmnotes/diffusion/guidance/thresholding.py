"""Where pictures are: bringing a guessed x_0 back to it.

x0         = a guess of x_0; guidance carries it beyond ±limit
limit      = the largest value of a pixel
percentile = p: the part of a picture's pixels that may set its scale

Sources
- Saharia et al. 2022, "Imagen", arXiv 2205.11487, §2.3 and appendix A.2.
"""

from jaxtyping import Float
from torch import Tensor


def static(
    x0: Float[Tensor, "batch *shape"], limit: float = 1.0
) -> Float[Tensor, "batch *shape"]:
    """Cut what is beyond: many pixels end at ±limit.

    Source: Saharia et al. 2022, §2.3.
    """
    return x0.clamp(-limit, limit)


def dynamic(
    x0: Float[Tensor, "batch *shape"],
    percentile: float = 0.995,
    limit: float = 1.0,
) -> Float[Tensor, "batch *shape"]:
    """Shrink a picture whose pixels are beyond, so that fewer are cut.

    Its scale is the percentile of |x_0|; where that is within the limit
    this is `static`.

    Raises `ValueError` for a percentile outside 0 to 1.

    Source: Saharia et al. 2022, §2.3.
    """
    check_percentile(percentile)
    wide = x0.float() if x0.element_size() < 4 else x0
    largest = wide.flatten(1).abs().quantile(percentile, dim=1)
    scale = largest.clamp(min=limit).view(-1, *[1] * (x0.ndim - 1))
    return (wide.clamp(-scale, scale) * (limit / scale)).to(x0.dtype)


def check_percentile(percentile: float) -> None:
    """Raise `ValueError` unless it is a share."""
    if not 0 <= percentile <= 1:
        raise ValueError(
            f"percentile: got {percentile}, expected 0 to 1 (.995, not 99.5)"
        )
