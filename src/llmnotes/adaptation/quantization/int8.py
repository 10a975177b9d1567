"""Products of two int8 matrices: weights and activations in 8 bits.

    x      = activations, a row for each token
    weight = W in int8, one scale for each output ("channel") or for all
    group  = which activations share a scale: a token's ("channel") or all
             ("tensor")
    sums   = whole numbers, exact in float64 as they would be in int32: what
             is measured here is what rounding does, not how fast it is

A scale may differ from row to row of x and of W, since it can be taken out
of the sum over inputs. One that differs from *input to input* cannot, and
that is why a single large input spoils a whole token.

Sources
- Dettmers et al. 2022, "LLM.int8()", arXiv 2208.07339, §3.1 and §3.2.
- Xiao et al. 2022, "SmoothQuant", arXiv 2211.10438, §3 and figure 3.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.adaptation.quantization.uniform import (
    Absmax,
    Int8,
    absmax,
    grouped,
)
from llmnotes.checks import checked

THRESHOLD = 6.0  # of an outlier's magnitude, found by the authors


def check_int8(x: Tensor, weight: Int8) -> None:
    """Raise `ValueError` for no int8 matrix, or one of another width."""
    rows = isinstance(weight, Absmax) and weight.bits == 8
    rows = rows and len(weight.shape) == 2
    if not rows or len(weight.scale) not in (1, weight.shape[0]):
        raise ValueError(
            f"weight: got {type(weight).__name__}, expected a matrix in int8 "
            "with one scale for each row or for all"
        )
    if x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"x: got {x.shape[1]} inputs, expected weight's {weight.shape[1]}"
        )


def check_group(group: str) -> None:
    """Raise `ValueError` for scales that cannot be taken out of a sum."""
    if group not in ("channel", "tensor"):
        raise ValueError(
            f"group: got {group!r}, expected 'channel' or 'tensor'"
        )


@checked
def int8_product(
    x: Float[Tensor, "tokens input"], weight: Int8, group: str = "channel"
) -> Float[Tensor, "tokens output"]:
    """Return xWᵀ with x rounded to 8 bits, too.

    Raises `ValueError` for a weight in other than 8 bits, or with scales for
    parts of a row, and for another group.

    Source: Dettmers et al. 2022, equation (5).
    """
    check_int8(x, weight)
    check_group(group)
    wide = torch.promote_types(x.dtype, torch.float32)
    codes, scale = absmax(grouped(x.to(wide), group), 8)
    mine, theirs = codes.reshape(x.shape), weight.codes.reshape(weight.shape)
    sums = mine.double() @ theirs.double().T
    return (sums.to(wide) * scale * weight.scale.T).to(x.dtype)


@checked
def llm_int8(
    x: Float[Tensor, "tokens input"],
    weight: Int8,
    threshold: float = THRESHOLD,
) -> Float[Tensor, "tokens output"]:
    """Return xWᵀ; inputs with an outlier in any token are not rounded.

    Nothing is calibrated: which inputs these are is looked up in each call.
    As in bitsandbytes their weights are those of the int8 matrix. Raises
    `ValueError` as `int8_product` does.

    Source: Dettmers et al. 2022, equation (8).
    """
    check_int8(x, weight)
    large = (x.abs() >= threshold).any(0)
    usual = int8_product(x.masked_fill(large, 0), weight)
    exact = weight.dequantize()[:, large].to(x.dtype)
    return usual + x[:, large] @ exact.T
