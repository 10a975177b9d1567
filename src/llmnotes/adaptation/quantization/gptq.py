r"""GPTQ: round one column, let the columns behind it make up for the error.

    weight  = W, (output, input): a row of weights for each output
    inputs  = X, what the layer reads, a row for each token
    hessian = H = XᵀX: errors E = W − Ŵ add tr(E H Eᵀ) to the squared output
    rest    = W as it has become: rounded columns and those still free
    upper   = U, upper triangular, H⁻¹ = UᵀU
    nearest = (column, its number) → the column on its grid
    damping = λ, added to H's diagonal as a share of its mean

Each row of E costs on its own, so all rows are rounded together. Columns are
taken from left to right, and scales are fixed before the first is rounded.

Sources
- Frantar et al. 2022, "GPTQ", arXiv 2210.17323, §3.3 and algorithm 1.
- Frantar & Alistarh 2022, "Optimal Brain Compression", arXiv 2208.11580, §4
  (the exact problem).
- Hassibi & Stork 1992, "Second order derivatives for network pruning".
"""

import math
from collections.abc import Callable
from dataclasses import replace
from numbers import Real

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmnotes.adaptation.quantization.packing import pack
from llmnotes.adaptation.quantization.uniform import (
    UInt2,
    UInt3,
    UInt4,
    UInt8,
    ZeroPoint,
)
from llmnotes.checks import checked

Nearest = Callable[[Tensor, int], Tensor]
Solve = Callable[[Tensor, Tensor, Nearest], Tensor]
BITS = {2: UInt2, 3: UInt3, 4: UInt4, 8: UInt8}
DAMPING = 0.01  # as in the authors' code


def hessian(
    inputs: Float[Tensor, "... input"], damping: float = DAMPING
) -> Float[Tensor, "input input"]:
    """Return XᵀX + λI in float64; 1 where a dead input has 0.

    Raises `ValueError` for inputs that are not finite, and a damping that is
    no number from 0.
    """
    check_damping(damping)
    if not inputs.isfinite().all():
        raise ValueError(
            "inputs: got NaN or infinity, expected finite numbers"
        )
    x = inputs.detach().reshape(-1, inputs.shape[-1]).double()
    found = x.T @ x
    diagonal = found.diagonal()
    mean = diagonal.mean()
    diagonal[diagonal == 0] = 1.0
    diagonal += damping * mean
    return found


def check_damping(damping: float) -> None:
    """Raise `ValueError` for no number, one below 0, and infinity."""
    if not isinstance(damping, Real) or not 0 <= damping < math.inf:
        raise ValueError(f"damping: got {damping}, expected 0 or more")


def compensated(
    weight: Float[Tensor, "output input"],
    hessian: Float[Tensor, "input input"],
    nearest: Nearest,
) -> Float[Tensor, "output input"]:
    """Round column by column; the rest takes over each one's error.

    Source: Frantar et al. 2022, equation (3) and step 3 of §3.3.
    """
    upper = factor(hessian)
    rest = weight.T.clone()  # a column is a row here: close together
    for j, row in enumerate(upper):
        rounded = nearest(rest[j], j)
        error = (rest[j] - rounded) / row[j]
        rest[j] = rounded
        rest[j + 1 :] -= torch.outer(row[j + 1 :], error)
    return rest.T


def in_order(
    order: Int[Tensor, "input"],
    weight: Float[Tensor, "output input"],
    hessian: Float[Tensor, "input input"],
    nearest: Nearest,
) -> Float[Tensor, "output input"]:
    """As `compensated`, with the columns taken in this order."""
    found = compensated(
        weight[:, order],
        hessian[order][:, order],
        lambda column, j: nearest(column, int(order[j])),
    )
    return found[:, order.argsort()]


def by_activity(
    weight: Float[Tensor, "output input"],
    hessian: Float[Tensor, "input input"],
    nearest: Nearest,
) -> Float[Tensor, "output input"]:
    """Take the columns of the largest inputs first: "act order".

    While most columns are free their errors find room; what is left over at
    the end falls on inputs that are small.
    """
    order = hessian.diagonal().argsort(descending=True)
    return in_order(order, weight, hessian, nearest)


def factor(
    hessian: Float[Tensor, "input input"],
) -> Float[Tensor, "input input"]:
    """Return U with UᵀU = H⁻¹.

    Raises `ValueError` if H has no inverse.
    """
    lower, wrong = torch.linalg.cholesky_ex(hessian)
    if wrong:
        raise ValueError(
            f"inputs: got tokens that say nothing about input {wrong - 1} "
            "that those before it do not say, expected more tokens, or a "
            "damping above 0"
        )
    return torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)


def check_determined(hessian: Float[Tensor, "input input"]) -> None:
    """Raise `ValueError` if H has no inverse."""
    factor(hessian)


def exact(
    weight: Float[Tensor, "output input"],
    hessian: Float[Tensor, "input input"],
    nearest: Nearest,
) -> Float[Tensor, "output input"]:
    """As `compensated`, solving for all free columns anew each time.

    With the error E of the columns that are done, the free ones are best at
    W + E H_df H_ff⁻¹: least squares. It costs a solution for each column.

    Raises `ValueError` if H has no inverse: the free columns then have many
    answers.

    Source: Frantar & Alistarh 2022, §4.
    """
    check_determined(hessian)
    rest = weight.clone()
    for j in range(weight.shape[1]):
        rest[:, j] = nearest(rest[:, j], j)
        done, free = slice(j + 1), slice(j + 1, None)
        error = weight[:, done] - rest[:, done]
        moved = torch.linalg.solve(hessian[free, free], hessian[free, done])
        rest[:, free] = weight[:, free] + error @ moved.T
    return rest


def nearest_on_grid(plain: ZeroPoint) -> tuple[Nearest, Tensor, Tensor]:
    """What rounds a column to the grid that a weight was rounded to.

    Also each weight's own scale and zero.
    """
    scale, zero = (
        part.double().expand_as(plain.codes).reshape(plain.shape)
        for part in (plain.scale, plain.zero)
    )
    last = 2**plain.bits - 1

    def nearest(column: Tensor, j: int) -> Tensor:
        step, z = scale[:, j], zero[:, j]
        return torch.round(column / step).clamp(-z, last - z) * step

    return nearest, scale, zero


@checked
def gptq(
    weight: Float[Tensor, "output input"],
    inputs: Float[Tensor, "... input"],
    bits: int = 4,
    group: int | str | None = None,
    damping: float = DAMPING,
    solve: Solve = compensated,
) -> ZeroPoint:
    """Return `weight` in so many bits, chosen by what the layer reads.

    Scales and zeros are those of `quantize(weight, f"uint{bits}", group)`,
    and so is the size; only the codes differ. An input that was 0 in every
    token, a dead one, is rounded to nearest. Sums are in float64. `exact` and
    `by_activity` solve it otherwise.

    Raises `ValueError` for bits that are not 2, 3, 4 or 8, a group that does
    not divide, a number that is not finite, and inputs that do not determine
    the answer while damping is 0.

    Source: Frantar et al. 2022, algorithm 1.
    """
    if bits not in BITS:
        raise ValueError(f"bits: got {bits}, expected 2, 3, 4 or 8")
    plain = BITS[bits].encode(weight, group)
    nearest, scale, zero = nearest_on_grid(plain)
    x = weight.detach().double()
    found = solve(x, hessian(inputs, damping), nearest)
    codes = torch.round(found / scale) + zero
    return replace(plain, packed=pack(codes.to(torch.uint8), bits))


def cost(
    error: Float[Tensor, "output input"],
    inputs: Float[Tensor, "... input"],
) -> float:
    """Return the mean squared change of an output, ‖XEᵀ‖² / its numbers."""
    return (inputs @ error.T).square().mean().item()
