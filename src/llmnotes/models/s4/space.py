"""A linear state space, and three rules that cut its time into steps.

    h' = A h + B x,  y = C h        in continuous time
    h_t = Ā h_{t-1} + B̄ x_t         in steps of Δ
    state = N, numbers that h has
    a, b  = A, B in continuous time, or Ā, B̄ in a `Steps`
    step  = Δ (seconds, or whatever time is counted in)

Papers on S4 write x for our h and u for our x; letters here are those of
the chapters on RNNs, and of Mamba's paper.

Sources
- Gu, Goel & Ré 2021, "Efficiently Modeling Long Sequences with Structured
  State Spaces" (S4), arXiv 2111.00396, §2.1-2.3.
- Gu et al. 2021, "Combining Recurrent, Convolutional, and Continuous-time
  Models with Linear State-Space Layers", arXiv 2110.13985, §2 (the rules).
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import checked

FINE = torch.float32, torch.float64, torch.complex64, torch.complex128


class Steps(NamedTuple):
    """Ā (state, state) and B̄ (state,): one step of a state space."""

    a: Tensor
    b: Tensor


def check_fine(**tensors: Tensor) -> None:
    """Raise `ValueError` for numbers of 16 bits.

    What a step keeps is just below 1: bfloat16 knows nothing between
    0.99609 and 1, and rounds 0.999 to a memory that never fades.
    """
    for name, x in tensors.items():
        if x.dtype not in FINE:
            raise ValueError(
                f"{name}: got {x.dtype}, expected float32 or float64"
            )


def check_finite(**tensors: Tensor) -> None:
    """Raise `ValueError` for NaN and infinite entries."""
    for name, x in tensors.items():
        bad = ~x.isfinite()
        if bad.any():
            raise ValueError(
                f"{name}: got {x[bad][0].item()}, expected finite numbers"
            )


def check_step(step: float) -> None:
    """Raise `ValueError` unless a step is a positive, finite time."""
    if not 0 < step < math.inf:
        raise ValueError(
            f"step: got {step}, expected a positive, finite number"
        )


def check_space(a: Tensor, b: Tensor, step: float) -> None:
    """Raise `ValueError` for what no rule can cut into steps."""
    check_fine(a=a)
    check_finite(a=a, b=b)
    check_step(step)


@checked
def zoh(
    a: Float[Tensor, "state state"], b: Float[Tensor, "state"], step: float
) -> Steps:
    """Zero-order hold: exact, if the input stands still during a step.

    Ā = e^{ΔA} and B̄ = ∫₀^Δ e^{sA} B ds, both read from one exponential, of
    A with B beside it; so A need not have an inverse.

    Raises `ValueError` for a step out of range, entries that are not finite,
    16 bits and misfits.
    """
    check_space(a, b, step)
    both = torch.cat([a, b[:, None]], dim=1)
    whole = torch.cat([both, torch.zeros_like(both[:1])]) * step
    power = torch.linalg.matrix_exp(whole)
    return Steps(power[:-1, :-1], power[:-1, -1])


@checked
def bilinear(
    a: Float[Tensor, "state state"], b: Float[Tensor, "state"], step: float
) -> Steps:
    """The trapezoid rule: the mean of the slopes at both ends of a step.

    Raises `ValueError` as `zoh` does.
    """
    check_space(a, b, step)
    half = step / 2 * a
    one = torch.eye(len(a), dtype=a.dtype, device=a.device)
    return Steps(
        torch.linalg.solve(one - half, one + half),
        torch.linalg.solve(one - half, step * b),
    )


@checked
def euler(
    a: Float[Tensor, "state state"], b: Float[Tensor, "state"], step: float
) -> Steps:
    """The slope at the start of a step: stable for small steps only.

    Raises `ValueError` as `zoh` does.
    """
    check_space(a, b, step)
    one = torch.eye(len(a), dtype=a.dtype, device=a.device)
    return Steps(one + step * a, step * b)


def radius(a: Float[Tensor, "state state"]) -> float:
    """The largest |eigenvalue| of Ā: above 1 a memory explodes."""
    return torch.linalg.eigvals(a).abs().max().item()
