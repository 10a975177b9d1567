"""The LSTM through time, with a gradient written by hand, and made fast.

    projected   = x Uᵀ + b + b' at every step  (length, batch, 4·hidden)
    gates       = i, f, g, o, opened, at every step  (the same shape)
    hs, cs      = h_0 … h_T, c_0 … c_T  (length + 1, batch, hidden)
    dgates      = gradient by the gates before σ and tanh
    loops       = the two loops over time, there and back

`ByHandLSTM` runs both loops in PyTorch, `FusedLSTM` in numba and PyTorch's
matrix product. Both are `LSTM` with another scan.

Sources
- Werbos 1990, "Backpropagation Through Time", Proc. IEEE 78(10).
- Hochreiter & Schmidhuber 1997, "Long Short-Term Memory", Neural
  Computation 9(8).
"""

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from llmnotes.precision import without_autocast
from llmnotes.sequence.lstm.fast import gradient_loop, step_loop
from llmnotes.sequence.lstm.model import LSTM, lstm_step_gradient, open_gates
from llmnotes.sequence.rnn import State


def forwards(
    projected: Float[Tensor, "length batch gates"],
    h: Float[Tensor, "batch hidden"],
    c: Float[Tensor, "batch hidden"],
    weight_hh: Float[Tensor, "gates hidden"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Step through time and keep what the way back needs: gates, hs, cs."""
    kept, hs, cs = [], [h], [c]
    for at_t in projected.unbind(0):
        i, f, g, o = gates = open_gates(at_t + F.linear(hs[-1], weight_hh))
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
    projected: Tensor, h: Tensor, c: Tensor, weight_hh: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`forwards` within `projected`: one product and one loop per step."""
    gates, (length, batch, _) = projected, projected.shape
    hs, cs = h.new_empty(2, length + 1, batch, h.shape[1])
    hs[0], cs[0] = h, c
    arrays = gates.numpy(), cs.numpy(), cs[1:].numpy(), hs[1:].numpy()
    steps = zip(gates.unbind(), hs.unbind(), *arrays, strict=False)
    turned = weight_hh.T
    for at_t, before, *rows in steps:
        at_t.addmm_(before, turned)
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
    dout = dout.contiguous()  # rows of stride 1, for which numba compiled
    arrays = [x.numpy() for x in (gates, cs, cs[1:], dout, dgates)]
    later, memory = dh.numpy(), dc.numpy()
    steps = list(zip(*arrays, dgates.unbind(), strict=False))
    for opened, before, after, above, found, at_t in reversed(steps):
        gradient_loop(opened, before, after, above, later, memory, found)
        torch.mm(at_t, weight_hh, out=dh)
    return dgates, dh, dc


class Scan(torch.autograd.Function):
    """All steps of one layer in one direction, as one node of the graph."""

    @staticmethod
    @without_autocast
    def forward(ctx, loops, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh):
        """Return h_1 … h_T, h_T and c_T."""
        there, ctx.back = loops
        x = x.contiguous()
        projected = F.linear(x, weight_ih, bias_ih + bias_hh)
        gates, hs, cs = there(projected, h, c, weight_hh)
        ctx.save_for_backward(x, weight_ih, weight_hh, gates, hs, cs)
        return hs[1:], hs[-1].clone(), cs[-1].clone()

    @staticmethod
    @without_autocast
    def backward(ctx, dout, dh, dc):
        """Collect dgates over time; every other gradient is one product.

        Raises `RuntimeError` under create_graph: a gradient of this gradient
        would leave out how the gates came to be.
        """
        if torch.is_grad_enabled():
            raise RuntimeError("LSTM: got create_graph, expected one gradient")
        x, weight_ih, weight_hh, gates, hs, cs = ctx.saved_tensors
        dgates, dh, dc = ctx.back(dout, dh, dc, weight_hh, gates, cs)
        rows = dgates.flatten(0, 1)  # all steps of all sequences
        dx = (rows @ weight_ih).view_as(x)
        dweight_ih = rows.T @ x.flatten(0, 1)
        dweight_hh = rows.T @ hs[:-1].flatten(0, 1)
        dbias = rows.sum(0)  # of the one bias and of the other
        return None, dx, dh, dc, dweight_ih, dweight_hh, dbias, dbias


class ByHandLSTM(LSTM):
    """`LSTM` whose gradient is ours and not autograd's."""

    loops = forwards, backwards

    def project(
        self, x: Float[Tensor, "length batch input"], *parameters: Tensor
    ) -> tuple[Float[Tensor, "length batch input"], Callable]:
        """Leave x as it is: `Scan` projects it."""
        return x, functools.partial(self.scan, parameters=parameters)

    def scan(
        self,
        x: Float[Tensor, "length batch input"],
        state: State,
        parameters: tuple[Tensor, ...],
    ) -> tuple[Float[Tensor, "length batch hidden"], State]:
        """See `Recurrent.scan`."""
        out, *state = Scan.apply(self.loops, x, *state, *parameters)
        return out, tuple(state)


class FusedLSTM(ByHandLSTM):
    """`ByHandLSTM` with both loops fused; float32 on the CPU.

    Raises `ValueError` for another dtype or device.
    """

    loops = forwards_fused, backwards_fused

    def scan(
        self,
        x: Float[Tensor, "length batch input"],
        state: State,
        parameters: tuple[Tensor, ...],
    ) -> tuple[Float[Tensor, "length batch hidden"], State]:
        """See `Recurrent.scan`."""
        if (x.dtype, x.device.type) != (torch.float32, "cpu"):
            raise ValueError(
                f"x: got {x.dtype} on {x.device.type}, expected "
                "torch.float32 on cpu"
            )
        return super().scan(x, state, parameters)
