"""A diagonal state space: every number of the state for itself.

    a       = A's diagonal, one of each conjugate pair (modes), Re a < 0
    step    = Δ of each channel (width,)
    log_a   = Δa, so that ā = e^{Δa}
    b       = B̄, for a B of 1: what another B would change, C changes as well
    kernel  K_l = 2 Re Σ_n C_n B̄_n ā_n^l: a row C∘B̄ times a matrix
    powers  = that matrix, Vandermonde's: row n holds 1, ā_n, ā_n², …

A real kernel needs each mode and its conjugate; their terms are conjugates,
too, so half of them are computed, and twice the real part is taken.

Sources
- Gu et al. 2022, "On the Parameterization and Initialization of Diagonal
  State Space Models" (S4D), arXiv 2206.11893, §3.
- Gupta, Gu & Berant 2022, "Diagonal State Spaces are as Effective as
  Structured State Spaces", arXiv 2203.14343.
"""

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from llmnotes.checks import check_sizes, checked
from llmnotes.models.s4.space import check_fine, check_finite


class Modes(NamedTuple):
    """Δa and B̄, both (width, modes); ā = e^{Δa} is what a step keeps."""

    log_a: Tensor
    b: Tensor

    @property
    def a(self) -> Tensor:
        """ā."""
        return self.log_a.exp()


def check_fading(a: Tensor, step: Tensor) -> None:
    """Raise `ValueError` for a mode that grows, or a step that is no time."""
    check_finite(a=a)
    if not (a.real < 0).all():
        raise ValueError(
            f"a: got a real part of {a.real.max().item()}, expected all below "
            "0: such a mode grows without end"
        )
    if not ((step > 0) & step.isfinite()).all():
        raise ValueError(
            f"step: got {step.min().item()} to {step.max().item()}, expected "
            "positive, finite numbers"
        )


@checked
def zoh_diagonal(
    a: Complex[Tensor, "width modes"], step: Float[Tensor, "width"]
) -> Modes:
    """A zero-order hold, element by element, at B = 1.

    B̄ is (e^{Δa} - 1)/a, and the difference is taken by expm1: for small Δa
    it would else lose all its digits. Raises `ValueError` for a mode that
    does not fade, a step out of range, and 16 bits.
    """
    check_fine(a=a, step=step)
    check_fading(a, step)
    moved = step[:, None] * a
    return Modes(moved, torch.expm1(moved) / a)


def powers(
    log_a: Complex[Tensor, "width modes"], length: int
) -> Complex[Tensor, "width modes length"]:
    """1, ā, ā², …: Vandermonde's matrix, from Δa rather than from ā.

    A mode that forgets at once has an ā of 0, and no logarithm.
    """
    check_sizes(length=length)
    places = torch.arange(length, device=log_a.device, dtype=log_a.real.dtype)
    return (log_a[..., None] * places).exp()


@checked
def diagonal_kernel(
    log_a: Complex[Tensor, "width modes"],
    b: Complex[Tensor, "width modes"],
    c: Complex[Tensor, "width modes"],
    length: int,
) -> Float[Tensor, "width length"]:
    """K_l = 2 Re Σ_n C_n B̄_n ā_n^l, a row times Vandermonde's matrix.

    Raises `ValueError` for a length below 1, and for misfits.
    """
    matrix = powers(log_a, length)
    return 2 * torch.einsum("wn,wnl->wl", c * b, matrix).real


def diagonal_step(
    space: Modes,
    c: Complex[Tensor, "width modes"],
    x: Float[Tensor, "batch width"],
    h: Complex[Tensor, "batch width modes"],
) -> tuple[Float[Tensor, "batch width"], Complex[Tensor, "batch width modes"]]:
    """One step: the output, and the state that is all of the past."""
    h = space.a * h + space.b * x[..., None]
    return 2 * (c * h).real.sum(-1), h


def echo(
    space: Modes,
    c: Complex[Tensor, "width modes"],
    h: Complex[Tensor, "batch width modes"],
    length: int,
) -> Float[Tensor, "batch width length"]:
    """What a state still says in the next steps, if nothing is added."""
    later = powers(space.log_a, length) * (c * space.a)[..., None]
    return 2 * torch.einsum("bwn,wnl->bwl", h, later).real


def end(
    space: Modes,
    x: Float[Tensor, "batch width length"],
    h: Complex[Tensor, "batch width modes"],
) -> Complex[Tensor, "batch width modes"]:
    """The state behind x: one product, no states in between.

    A convolution gives outputs only; to go on from them step by step, this
    is what has to be known.
    """
    length = x.shape[-1]
    weights = powers(space.log_a, length).flip(-1) * space.b[..., None]
    left = powers(space.log_a, length + 1)[..., -1]
    return torch.einsum("bwl,wnl->bwn", x.to(weights.dtype), weights) + (
        left * h
    )
