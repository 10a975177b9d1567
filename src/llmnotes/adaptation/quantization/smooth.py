r"""SmoothQuant: divide a large input by s, multiply its weights by s.

    largest  = max|X_j| of each input j over the calibration tokens
    weight   = W, (output, input)
    strength = α: how much of the difficulty moves into the weights
    scale    = s_j = max|X_j|^α / max|W_j|^(1−α)

(X/s)(W·s)ᵀ = XWᵀ, so nothing changes until something is rounded. Where X
comes from a LayerNorm that nobody else reads, 1/s goes into its gain and bias
and costs nothing.

Source
- Xiao et al. 2022, "SmoothQuant", arXiv 2211.10438, equations (3) and (4).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.checks import checked

LEAST = 1e-5  # an input or a weight that is always 0 has no scale


@checked
def smoothing(
    largest: Float[Tensor, "input"],
    weight: Float[Tensor, "output input"],
    strength: float = 0.5,
) -> Float[Tensor, "input"]:
    """Return s, by which inputs are divided and weights multiplied.

    Raises `ValueError` for a strength outside 0 … 1.

    Source: Xiao et al. 2022, equation (4).
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: got {strength}, expected 0 to 1")
    heaviest = weight.abs().amax(0).clamp(min=LEAST)
    return largest.clamp(min=LEAST) ** strength / heaviest ** (1 - strength)


def check_scale(norm: nn.Module, scale: Tensor) -> None:
    """Raise `ValueError` for a norm without a gain, or no scale for it."""
    gain = getattr(norm, "weight", None)
    if gain is None:
        raise ValueError(
            f"norm: got {type(norm).__name__} without a gain, expected one"
        )
    if scale.shape != gain.shape:
        raise ValueError(
            f"scale: got shape {tuple(scale.shape)}, expected the norm's "
            f"{tuple(gain.shape)}"
        )
    if not (scale.isfinite() & (scale > 0)).all():
        raise ValueError(
            f"scale: got {scale.min()} to {scale.max()}, expected finite "
            "numbers above 0"
        )


@torch.no_grad()
def divide_norm(norm: nn.Module, scale: Float[Tensor, "input"]) -> None:
    """Make a norm hand out its rows divided by s, in place.

    It is a LayerNorm or an RMSNorm, with a bias or without. Raises
    `ValueError` for one without a gain, and a scale that is not finite and
    above 0; the norm is not touched then.
    """
    check_scale(norm, scale)
    norm.weight /= scale
    if getattr(norm, "bias", None) is not None:
        norm.bias /= scale
