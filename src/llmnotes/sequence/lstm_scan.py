"""The LSTM through time, with a gradient written by hand, and made fast.

    projected   = x Uᵀ + b at every step  (length, batch, 4·hidden)
    gates       = i, f, g, o, opened, at every step  (the same shape)
    hs, cs      = h_0 … h_T, c_0 … c_T  (length + 1, batch, hidden)
    dgates      = gradient by the gates before σ and tanh
    loops       = the two loops over time, there and back

`ByHandLSTM` runs both loops in PyTorch, `FusedLSTM` in numba and PyTorch's
matrix product. Both are `LSTM` with another `scan`.

Sources
1. Werbos 1990, "Backpropagation Through Time", Proc. IEEE 78(10).
2. Hochreiter & Schmidhuber 1997, "Long Short-Term Memory", Neural
   Computation 9(8).
"""

import torch
import torch.nn.functional as F
from einops import einsum
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from llmnotes.sequence.lstm import LSTM, lstm_step_gradient, open_gates
from llmnotes.sequence.lstm_loops import gradient_loop, step_loop
from llmnotes.sequence.rnn import State


def forwards(
    projected: Float[Tensor, "length batch gates"],
    h: Float[Tensor, "batch hidden"],
    c: Float[Tensor, "batch hidden"],
    weight_hh: Float[Tensor, "gates hidden"],
    bias_hh: Float[Tensor, "gates"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Step through time and keep what the way back needs: gates, hs, cs."""
    kept, hs, cs = [], [h], [c]
    for at_t in projected.unbind(0):
        gates = open_gates(at_t + F.linear(hs[-1], weight_hh, bias_hh))
        i, f, g, o = gates
        cs.append(f * cs[-1] + i * g)
        hs.append(o * cs[-1].tanh())
        kept.append(torch.cat(gates, dim=-1))
    return torch.stack(kept), torch.stack(hs), torch.stack(cs)


def backwards(
    dout: Float[Tensor, "length batch hidden"],
    dh: Float[Tensor, "batch hidden"],
    dc: Float[Tensor, "batch hidden"],
    weight_hh: Float[Tensor, "gates hidden"],
    gates: Float[Tensor, "length batch gates"],
    cs: Float[Tensor, "steps batch hidden"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Step back through time: dgates of all steps, and dh, dc of the first.

    dh and dc come in as the gradients by the last state.
    """
    dgates = torch.empty_like(gates)
    for t in reversed(range(len(dout))):
        opened = gates[t].chunk(4, dim=-1)
        dgates[t], dc = lstm_step_gradient(
            dout[t] + dh, dc, opened, cs[t], cs[t + 1]
        )
        dh = dgates[t] @ weight_hh
    return dgates, dh, dc


def forwards_fused(
    projected: Tensor, h: Tensor, c: Tensor, weight_hh: Tensor, bias_hh: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`forwards` without a new tensor per step: one product, one loop."""
    length, batch, hidden = len(projected), *h.shape
    gates = torch.add(projected, bias_hh)  # becomes the opened gates
    hs, cs = h.new_empty(2, length + 1, batch, hidden)
    hs[0], cs[0] = h, c
    arrays = gates.numpy(), cs.numpy(), cs[1:].numpy(), hs[1:].numpy()
    steps = zip(gates.unbind(), hs.unbind(), *arrays, strict=False)
    for at_t, before, *rows in steps:
        at_t.addmm_(before, weight_hh.T)
        step_loop(*rows)
    return gates, hs, cs


def backwards_fused(
    dout: Tensor,
    dh: Tensor,
    dc: Tensor,
    weight_hh: Tensor,
    gates: Tensor,
    cs: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """`backwards` without a new tensor per step; dh and dc are overwritten."""
    dgates = torch.empty_like(gates)
    dh, dc = dh.contiguous().clone(), dc.contiguous().clone()
    dout = dout.contiguous()
    arrays = [x.numpy() for x in (gates, cs, cs[1:], dout)]
    later, memory, out = dh.numpy(), dc.numpy(), dgates.numpy()
    for t in reversed(range(len(dout))):
        gradient_loop(*(x[t] for x in arrays), later, memory, out[t])
        torch.mm(dgates[t], weight_hh, out=dh)
    return dgates, dh, dc


class Scan(torch.autograd.Function):
    """All steps of one layer in one direction, as one node of the graph."""

    @staticmethod
    def forward(ctx, loops, projected, h, c, weight_hh, bias_hh):
        """Return h_1 … h_T, h_T and c_T."""
        there, ctx.back = loops
        gates, hs, cs = there(projected, h, c, weight_hh, bias_hh)
        ctx.save_for_backward(weight_hh, gates, hs, cs)
        return hs[1:], hs[-1].clone(), cs[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, dout, dh, dc):
        """Collect dgates over time; each weight gradient is one product."""
        weight_hh, gates, hs, cs = ctx.saved_tensors
        dgates, dh, dc = ctx.back(dout, dh, dc, weight_hh, gates, cs)
        dweight = einsum(
            dgates, hs[:-1], "length batch g, length batch h -> g h"
        )
        return None, dgates, dh, dc, dweight, dgates.sum((0, 1))


class ByHandLSTM(LSTM):
    """`LSTM` whose gradient is ours and not autograd's."""

    loops = forwards, backwards

    def scan(
        self,
        projected: Float[Tensor, "length batch gates"],
        state: State,
        weight_hh: Float[Tensor, "gates hidden"],
        bias_hh: Float[Tensor, "gates"],
    ) -> tuple[Float[Tensor, "length batch hidden"], State]:
        """See `Recurrent.scan`."""
        out, *state = Scan.apply(
            self.loops, projected, *state, weight_hh, bias_hh
        )
        return out, tuple(state)


class FusedLSTM(ByHandLSTM):
    """`ByHandLSTM` with both loops fused; float32 on the CPU.

    Raises `ValueError` for another dtype or device.
    """

    loops = forwards_fused, backwards_fused

    def scan(
        self,
        projected: Tensor,
        state: State,
        weight_hh: Tensor,
        bias_hh: Tensor,
    ) -> tuple[Tensor, State]:
        """See `Recurrent.scan`."""
        got = projected.dtype, projected.device.type
        if got != (torch.float32, "cpu"):
            raise ValueError(
                f"x: got {got[0]} on {got[1]}, expected torch.float32 on cpu"
            )
        return super().scan(projected, state, weight_hh, bias_hh)
