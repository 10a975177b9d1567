r"""HiPPO-LegS: a state that is the past, projected on polynomials.

    a, b    = A, B: h' = (A h + B x) / t keeps h_n = the coefficient of the
              past x(0 … t) along g_n
    g_n     = √(2n+1) P_n(2s - 1), Legendre's polynomials over s = 0 … 1
              (s = 0 is the beginning, s = 1 is now), of length 1
    order   = n (counted from 0)
    modes   = eigenvalues of a diagonal A, one of each conjugate pair

S4 leaves out the 1/t. Then the past fades: h_n is the coefficient along the
same g_n, of a past that is stretched so that s = e^{-age} (`faded`).

Sources
- Gu et al. 2020, "HiPPO: Recurrent Memory with Optimal Polynomial
  Projections", arXiv 2008.07669, theorem 2 and appendix D.3.
- Gu et al. 2022, "How to Train Your HiPPO", arXiv 2206.12037, §3.1 (what
  the same matrix keeps without the 1/t).
- Gu et al. 2021, S4, arXiv 2111.00396, theorem 1 (normal plus low rank).
- Gu et al. 2022, "On the Parameterization and Initialization of Diagonal
  State Space Models" (S4D), arXiv 2206.11893, §4 (Lin, Inv, the halved B).
"""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from llmnotes.checks import (
    check_divides,
    check_sizes,
    check_within,
    checked,
)
from llmnotes.models.s4.space import Steps, check_fine, check_finite, zoh


def legs(state: int) -> Steps:
    """A and B of HiPPO-LegS, in float64.

    A is -√(2n+1)√(2k+1) below the diagonal, -(n+1) on it and 0 above; B is
    √(2n+1). Raises `ValueError` for a state below 1.
    """
    check_sizes(state=state)
    b = (2 * torch.arange(state, dtype=torch.float64) + 1).sqrt()
    below = torch.outer(b, b).tril(-1)
    return Steps(-below - torch.arange(1.0, state + 1).double().diag(), b)


@checked
def basis(
    state: int, s: Float[Tensor, "places"]
) -> Float[Tensor, "places state"]:
    """g_n(s) for n below `state`: Legendre's polynomials of length 1.

    By their recurrence, (n+1) P_{n+1} = (2n+1) z P_n - n P_{n-1}.
    """
    check_sizes(state=state)
    z = 2 * s - 1
    found = [torch.ones_like(z), z]
    for n in range(1, state - 1):
        found.append(((2 * n + 1) * z * found[n] - n * found[n - 1]) / (n + 1))
    order = torch.arange(state, dtype=s.dtype)
    return torch.stack(found[:state], dim=-1) * (2 * order + 1).sqrt()


@checked
def remember(
    x: Float[Tensor, "length"], state: int
) -> Float[Tensor, "length state"]:
    """Coefficients of the past at every step, from the recurrence alone.

    x is held during each step. In ln t the rule h' = (A h + B x)/t has no t
    any more, so step t is a zero-order hold over ln((t+1)/t): no error but
    rounding. The first step is known: a constant is x₀ times g_0.

    Raises `ValueError` for 16 bits, an x that is empty or not finite, and a
    state below 1.
    """
    check_fine(x=x)
    check_finite(x=x)
    a, b = legs(state)
    h = torch.zeros(state, dtype=torch.float64)
    h[0] = x[0]
    kept = [h]
    for t in range(1, len(x)):
        once = zoh(a, b, math.log((t + 1) / t))
        h = once.a @ h + once.b * x[t].double()
        kept.append(h)
    return torch.stack(kept).to(x.dtype)


@checked
def recall(
    h: Float[Tensor, "... state"], s: Float[Tensor, "places"]
) -> Float[Tensor, "... places"]:
    """The past that a state stands for, at s = 0 (beginning) … 1 (now).

    Raises `ValueError` for an s that is not in the past.
    """
    check_within(0, 1, s=s)
    return h @ basis(h.shape[-1], s).T


@checked
def faded(
    state: int, ages: Float[Tensor, "places"]
) -> Float[Tensor, "places state"]:
    """What e^{age·A} B is: how an input weighs on h, by how long ago it was.

    g_n of s = e^{-age}, times e^{-age}. Source: Gu et al. 2022, §3.1.
    Raises `ValueError` for an age below 0.
    """
    if not (ages >= 0).all():
        raise ValueError(
            f"ages: got {ages.min().item()}, expected none below 0"
        )
    s = (-ages).exp()
    return basis(state, s) * s[:, None]


def normal_part(state: int) -> Float[Tensor, "state state"]:
    """A + P Pᵀ with P_n = √(n + 1/2): -1/2 and a skew-symmetric matrix.

    So it is normal: unlike A itself, it is diagonal in a basis that keeps
    lengths. Source: S4, theorem 1.
    """
    low_rank = (torch.arange(state, dtype=torch.float64) + 0.5).sqrt()
    return legs(state).a + torch.outer(low_rank, low_rank)


def conjugates(state: int) -> None:
    """Raise `ValueError` unless a state falls into conjugate pairs."""
    check_sizes(2, state=state)
    check_divides("state", state, pair=2)


def diagonal_legs(state: int) -> Complex[Tensor, "modes"]:
    """Eigenvalues of `normal_part`, those above the real axis: S4D-LegS.

    Raises `ValueError` for an odd state.
    """
    conjugates(state)
    part = normal_part(state)
    skew = part + 0.5 * torch.eye(state, dtype=part.dtype)
    above = torch.linalg.eigvalsh(-1j * skew)[state // 2 :]
    return torch.complex(torch.full_like(above, -0.5), above)


def diagonal_linear(state: int) -> Complex[Tensor, "modes"]:
    """-1/2 + iπn: a Fourier series that fades. S4D-Lin.

    Raises `ValueError` for an odd state.
    """
    conjugates(state)
    n = torch.arange(state // 2, dtype=torch.float64)
    return torch.complex(torch.full_like(n, -0.5), math.pi * n)


def diagonal_inverse(state: int) -> Complex[Tensor, "modes"]:
    """-1/2 + i(N/π)(N/(2n+1) - 1), close to those of LegS. S4D-Inv.

    Raises `ValueError` for an odd state.
    """
    conjugates(state)
    n = torch.arange(state // 2, dtype=torch.float64)
    imag = state / math.pi * (state / (2 * n + 1) - 1)
    return torch.complex(torch.full_like(n, -0.5), imag)
