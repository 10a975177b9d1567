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

from jaxtyping import Float
from torch import Tensor

from llmnotes.adaptation.quantization.uniform import Int8, absmax, grouped

THRESHOLD = 6.0  # of an outlier's magnitude, found by the authors


def int8_product(
    x: Float[Tensor, "tokens input"], weight: Int8, group: str = "channel"
) -> Float[Tensor, "tokens output"]:
    """Return xWᵀ with x rounded to 8 bits, too.

    Source: Dettmers et al. 2022, equation (5).
    """
    codes, scale = absmax(grouped(x, group), 8)
    mine, theirs = codes.reshape(x.shape), weight.codes.reshape(weight.shape)
    sums = mine.double() @ theirs.double().T
    return sums.to(x.dtype) * scale * weight.scale.T


def llm_int8(
    x: Float[Tensor, "tokens input"],
    weight: Int8,
    threshold: float = THRESHOLD,
) -> Float[Tensor, "tokens output"]:
    """Return xWᵀ; inputs with an outlier in any token are not rounded.

    Nothing is calibrated: which inputs these are is looked up in each call.
    As in bitsandbytes their weights are those of the int8 matrix.

    Source: Dettmers et al. 2022, equation (8).
    """
    large = (x.abs() >= threshold).any(0)
    usual = int8_product(x.masked_fill(large, 0), weight)
    return usual + x[:, large] @ weight.dequantize()[:, large].T
