"""Gradients through time: by hand, how they shrink and grow, and clipping.

    outputs     = h_1 ... h_T  (what an RNN with tanh has put out)
    d_outputs   = gradient of the loss with respect to each h_t, directly
    d_projected = gradient with respect to x_t Uᵀ + b, before the tanh
    jacobians   = ∂h_t/∂h_{t-1} = diag(1 - h_t²) W, one matrix per step
    lag         = steps between a state and the later one it acts on

Sources
- Werbos 1990, "Backpropagation Through Time", Proc. IEEE 78(10).
- Bengio, Simard & Frasconi 1994, "Learning Long-Term Dependencies with
  Gradient Descent is Difficult", IEEE Trans. Neural Networks 5(2).
- Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063: §2 and algorithm 1.
"""

from collections.abc import Sequence

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor


def backward_through_time(
    outputs: Float[Tensor, "length batch hidden"],
    h0: Float[Tensor, "batch hidden"],
    weight_hh: Float[Tensor, "hidden hidden"],
    d_outputs: Float[Tensor, "length batch hidden"],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of a scan of `rnn_step`, from the last step to the first.

    Each state acts twice: on the loss, through its output, and on the next
    state. Its gradient is the sum of the two. Returns those of projected,
    h0, weight_hh and bias_hh.

    Source: Werbos 1990.
    """
    slopes = 1 - outputs**2
    d_h, d_projected = torch.zeros_like(h0), []
    for t in reversed(range(len(outputs))):
        d_before_tanh = (d_h + d_outputs[t]) * slopes[t]
        d_projected.append(d_before_tanh)
        d_h = d_before_tanh @ weight_hh
    d_projected = torch.stack(d_projected[::-1])
    before = torch.cat([h0[None], outputs[:-1]])
    product = "length batch row, length batch column -> row column"
    d_weight_hh = einsum(d_projected, before, product)
    return d_projected, d_h, d_weight_hh, d_projected.sum((0, 1))


def step_jacobians(
    outputs: Float[Tensor, "length hidden"],
    weight_hh: Float[Tensor, "hidden hidden"],
) -> Float[Tensor, "length hidden hidden"]:
    """How each state moves with the one before: diag(1 - h_t²) W.

    Source: Pascanu et al. 2013.
    """
    slope = 1 - outputs**2
    return rearrange(slope, "length hidden -> length hidden 1") * weight_hh


def singular_values_by_lag(
    jacobians: Float[Tensor, "length hidden hidden"],
) -> Float[Tensor, "length hidden"]:
    """Singular values of J_k···J_1 for every lag k, the largest first."""
    product = torch.eye(jacobians.shape[-1]).to(jacobians)
    values = []
    for jacobian in jacobians:
        product = jacobian @ product
        values.append(torch.linalg.svdvals(product))
    return torch.stack(values)


def clip_by_norm(
    gradients: Sequence[Tensor], max_norm: float
) -> tuple[list[Tensor], Tensor]:
    """Shorten all gradients by one factor if together they are too long.

    Returns them and their common norm before. Raises `ValueError` if
    max_norm is not above 0.

    Source: Pascanu et al. 2013.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm: got {max_norm}, expected above 0")
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    factor = (max_norm / norm).clamp(max=1)
    return [g * factor for g in gradients], norm
