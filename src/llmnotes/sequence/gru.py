r"""Gated recurrent unit: a state that is kept or rewritten, unit by unit.

    x, h                  = x_t, h_{t-1}  (input and state; vectors are rows)
    reset, update         = r, z  (gates, between 0 and 1)
    candidate             = n, the papers' h̃  (what the unit would become)
    weight_ih, weight_hh  = [U_r; U_z; U_n], [W_r; W_z; W_n]  (stacked rows)
    projected             = x_t Uᵀ + b  (all three parts, side by side)

Sources
1. Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder
   for Statistical Machine Translation", arXiv 1406.1078.
2. Chung et al. 2014, "Empirical Evaluation of Gated Recurrent Neural Networks
   on Sequence Modeling", arXiv 1412.3555.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from llmnotes.sequence.rnn import Recurrent, State


def gru_step(
    projected: Float[Tensor, "batch gates"],
    h: Float[Tensor, "batch hidden"],
    weight_hh: Float[Tensor, "gates hidden"],
    bias_hh: Float[Tensor, "gates"],
) -> Float[Tensor, "batch hidden"]:
    """One step; the reset gate acts *after* the matrix, as in cuDNN."""
    x_r, x_z, x_n = projected.chunk(3, -1)
    h_r, h_z, h_n = F.linear(h, weight_hh, bias_hh).chunk(3, -1)
    reset, update = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    candidate = torch.tanh(x_n + reset * h_n)
    return torch.lerp(candidate, h, update)  # (1 - z) n + z h


def gru_step_reset_before(
    projected: Float[Tensor, "batch gates"],
    h: Float[Tensor, "batch hidden"],
    weight_hh: Float[Tensor, "gates hidden"],
    bias_hh: Float[Tensor, "gates"],
) -> Float[Tensor, "batch hidden"]:
    """One step; the reset gate acts on the state, *before* the matrix [1]."""
    size = 2 * h.shape[-1]  # rows of the two gates
    x_gates, x_n = projected[:, :size], projected[:, size:]
    h_gates = F.linear(h, weight_hh[:size], bias_hh[:size])
    reset, update = torch.sigmoid(x_gates + h_gates).chunk(2, -1)
    h_n = F.linear(reset * h, weight_hh[size:], bias_hh[size:])
    return torch.lerp(torch.tanh(x_n + h_n), h, update)


def gru_cell(
    x: Float[Tensor, "batch input"],
    h: Float[Tensor, "batch hidden"],
    weight_ih: Float[Tensor, "gates input"],
    weight_hh: Float[Tensor, "gates hidden"],
    bias_ih: Float[Tensor, "gates"],
    bias_hh: Float[Tensor, "gates"],
) -> Float[Tensor, "batch hidden"]:
    """One step from the input itself, equal to `nn.GRUCell`."""
    return gru_step(F.linear(x, weight_ih, bias_ih), h, weight_hh, bias_hh)


class GRU(Recurrent):
    """Layers and directions of `gru_step`, equal to `nn.GRU`."""

    gates = 3

    def step(
        self,
        projected: Float[Tensor, "batch gates"],
        state: State,
        weight_hh: Float[Tensor, "gates hidden"],
        bias_hh: Float[Tensor, "gates"],
    ) -> State:
        """One step of `gru_step`; see `Recurrent.step`."""
        return (gru_step(projected, *state, weight_hh, bias_hh),)


class ResetBeforeGRU(GRU):
    """The same parameters, read the other way; equal to no `nn.GRU`."""

    def step(
        self,
        projected: Float[Tensor, "batch gates"],
        state: State,
        weight_hh: Float[Tensor, "gates hidden"],
        bias_hh: Float[Tensor, "gates"],
    ) -> State:
        """One step of `gru_step_reset_before`; see `Recurrent.step`."""
        return (gru_step_reset_before(projected, *state, weight_hh, bias_hh),)
