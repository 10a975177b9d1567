r"""AWQ: weights that meet large inputs get a finer grid.

    weight  = W, (output, input)
    inputs  = X, what the layer reads, a row for each token
    level   = mean|X_j| of each input j
    scale   = s_j = level_j^α, divided by √(max s · min s)
    α       = a number between 0 and 1, the best of those that are tried

W·s is quantized and the input divided by s. If an input's weights grow by s
and their group's largest weight does not, they are rounded s times finer.
Nothing is learned: α is whichever changes the layer's output least.

Source
- Lin et al. 2023, "AWQ", arXiv 2306.00978, §3.2 and equations (4) and (5).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.adaptation.quantization.kinds import quantize
from llmnotes.adaptation.quantization.quantized import Quantized
from llmnotes.checks import check_sizes, checked

LEAST = 1e-4  # of a level: dead inputs are not divided by 0


class Scaled(NamedTuple):
    """W·s in few bits, and s, by which the input is divided."""

    quantized: Quantized
    scale: Float[Tensor, "input"]
    alpha: float

    def dequantize(self) -> Float[Tensor, "output input"]:
        """Return the weight that the layer behaves as if it had."""
        return self.quantized.dequantize() / self.scale


@checked
def awq(
    weight: Float[Tensor, "output input"],
    inputs: Float[Tensor, "... input"],
    kind: str = "uint4",
    group: int | str | None = None,
    steps: int = 20,
) -> Scaled:
    """Return the best of `steps` + 1 values of α; 0 is plain rounding.

    Raises `ValueError` as `quantize` does, for steps below 1, and for inputs
    that are not finite.

    Source: Lin et al. 2023, equation (5).
    """
    check_sizes(steps=steps)
    if not inputs.isfinite().all():
        raise ValueError(
            "inputs: got NaN or infinity, expected finite numbers"
        )
    wide = torch.promote_types(inputs.dtype, torch.float32)
    x = inputs.detach().reshape(-1, inputs.shape[-1])
    x = x.to(wide)  # half has no room for XᵀX
    level = x.abs().mean(0).clamp(min=LEAST)
    second = x.T @ x

    def loss(tried: Scaled) -> float:
        error = (weight - tried.dequantize()).to(wide)
        return ((error @ second) * error).sum().item()  # ‖XEᵀ‖²

    every = (
        scaled(weight, level, i / steps, kind, group) for i in range(steps + 1)
    )
    return min(every, key=loss)


def scaled(
    weight: Float[Tensor, "output input"],
    level: Float[Tensor, "input"],
    alpha: float,
    kind: str,
    group: int | str | None,
) -> Scaled:
    """Quantize W·s for one value of α."""
    scale = level**alpha
    scale = scale / (scale.max() * scale.min()).sqrt()
    scale = scale.to(weight.dtype)
    return Scaled(quantize(weight * scale, kind, group), scale, alpha)
