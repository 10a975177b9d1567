r"""Recurrent network: one small step, applied at every position of a sequence.

    x, h                  = x_t, h_{t-1}  (input and state; vectors are rows)
    weight_ih, weight_hh  = U, W  (stored as nn.RNN stores them: x Uᵀ, h Wᵀ)
    bias_ih, bias_hh      = b, b'  (two, as in cuDNN; one would do)
    projected             = x_t Uᵀ + b  (what a step takes from the input)
    gates                 = how many hidden-sized parts one step computes
    states                = tensors that are handed on: h, or h and c

Sources
- Elman 1990, "Finding Structure in Time", Cognitive Science 14(2).
- Werbos 1990, "Backpropagation Through Time", Proc. IEEE 78(10).
- Schuster & Paliwal 1997, "Bidirectional Recurrent Neural Networks",
  IEEE Trans. Signal Processing 45(11).
- Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent
  neural networks", arXiv 1211.5063.
"""

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_sizes, checked
from llmnotes.lengths import Lengths, read_lengths
from llmnotes.precision import autocasting, without_autocast
from llmnotes.sequence.rnn.checks import check_input, check_state
from llmnotes.sequence.rnn.mixed import in_weights_dtype
from llmnotes.sequence.rnn.packing import (
    clear_padding,
    reverse_time,
    scan_packed,
)
from llmnotes.sequence.rnn.through_time import backward_through_time

State = tuple[Tensor, ...]  # (h,), or (h, c) for the LSTM


def rnn_step(
    projected: Float[Tensor, "batch hidden"],
    h: Float[Tensor, "batch hidden"],
    weight_hh: Float[Tensor, "hidden hidden"],
    bias_hh: Float[Tensor, "hidden"],
) -> Float[Tensor, "batch hidden"]:
    """The part of a step that must wait for the step before: h_t.

    Source: Elman 1990.
    """
    return torch.tanh(projected + F.linear(h, weight_hh, bias_hh))


@checked
def rnn_cell(
    x: Float[Tensor, "batch input"],
    h: Float[Tensor, "batch hidden"],
    weight_ih: Float[Tensor, "hidden input"],
    weight_hh: Float[Tensor, "hidden hidden"],
    bias_ih: Float[Tensor, "hidden"],
    bias_hh: Float[Tensor, "hidden"],
) -> Float[Tensor, "batch hidden"]:
    """One step: h_t = tanh(x_t Uᵀ + b + h_{t-1} Wᵀ + b') (Elman 1990)."""
    return rnn_step(F.linear(x, weight_ih, bias_ih), h, weight_hh, bias_hh)


class Recurrent(nn.Module):
    """Layers and directions of any cell; parameters named as in `nn.RNN`.

    A kind of cell sets `gates` and `states` and defines `step`, or `scan`.
    Raises `ValueError` if a size is below 1.
    """

    gates = 1
    states = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
    ):
        super().__init__()
        check_sizes(
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
        )
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers = num_layers
        self.directions = 2 if bidirectional else 1
        rows = self.gates * hidden_size
        for layer in range(num_layers):
            width = hidden_size * self.directions if layer else input_size
            for suffix in ("", "_reverse")[: self.directions]:
                end = f"l{layer}{suffix}"
                for name, shape in (
                    ("weight_ih", (rows, width)),
                    ("weight_hh", (rows, hidden_size)),
                    ("bias_ih", (rows,)),
                    ("bias_hh", (rows,)),
                ):
                    parameter = nn.Parameter(torch.empty(shape))
                    self.register_parameter(f"{name}_{end}", parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters evenly from ±1/√hidden_size, as `nn.RNN`."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def weights(self, layer: int, direction: int) -> list[Tensor]:
        """Return weight_ih, weight_hh, bias_ih, bias_hh of one scan."""
        end = f"l{layer}{'_reverse' if direction else ''}"
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, f"{name}_{end}") for name in names]

    def step(
        self,
        projected: Float[Tensor, "batch gates"],
        state: State,
        weight_hh: Float[Tensor, "gates hidden"],
        bias_hh: Float[Tensor, "gates"],
    ) -> State:
        """One step of the cell; the new state's first tensor is the output."""
        raise NotImplementedError

    def scan(
        self,
        projected: Float[Tensor, "length batch gates"],
        state: State,
        weight_hh: Float[Tensor, "gates hidden"],
        bias_hh: Float[Tensor, "gates"],
    ) -> tuple[Float[Tensor, "length batch hidden"], State]:
        """Step through time: one layer, one direction."""
        outputs = []
        for at_t in projected.unbind(0):
            state = self.step(at_t, state, weight_hh, bias_hh)
            outputs.append(state[0])
        return torch.stack(outputs), state

    def project(
        self,
        x: Float[Tensor, "length batch input"],
        weight_ih: Float[Tensor, "gates input"],
        weight_hh: Float[Tensor, "gates hidden"],
        bias_ih: Float[Tensor, "gates"],
        bias_hh: Float[Tensor, "gates"],
    ) -> tuple[Float[Tensor, "length batch gates"], Callable]:
        """Return x Uᵀ + b of all steps in one product, and what scans it."""
        scan = functools.partial(
            self.scan, weight_hh=weight_hh, bias_hh=bias_hh
        )
        return F.linear(x, weight_ih, bias_ih), scan

    def one_direction(
        self,
        x: Float[Tensor, "length batch input"],
        state: State,
        lengths: list[int] | None,
        layer: int,
        direction: int,
    ) -> tuple[Float[Tensor, "length batch hidden"], State]:
        """Scan x forwards (direction 0) or from each sequence's end."""
        if direction:
            x = reverse_time(x, lengths)
        projected, scan = self.project(x, *self.weights(layer, direction))
        if lengths is None:
            out, state = scan(projected, state)
        else:
            out, state = scan_packed(scan, projected, state, lengths)
        return (reverse_time(out, lengths) if direction else out), state

    def stack(
        self,
        x: Float[Tensor, "length batch input"],
        state: State,
        lengths: list[int] | None,
    ) -> tuple[Float[Tensor, "length batch output"], State]:
        """Each layer reads what all directions of the one below wrote."""
        last = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(self.directions):
                begin = tuple(s[len(last)] for s in state)
                out, end = self.one_direction(
                    x, begin, lengths, layer, direction
                )
                outputs.append(out)
                last.append(end)
            x = torch.cat(outputs, -1)
        return x, tuple(torch.stack(s) for s in zip(*last, strict=True))

    @checked
    def forward(
        self,
        x: Float[Tensor, "batch length input"],
        state: Tensor | State | None = None,
        lengths: Lengths | None = None,
    ) -> tuple[Float[Tensor, "batch length output"], Tensor | State]:
        """Return the outputs at all steps and the last state.

        `state` is (layers·directions, batch, hidden_size), for the LSTM a
        pair of such, and zeros by default. With `lengths`, a whole number for
        each sequence (see `read_lengths`), what follows the
        end of a sequence is not read: there the output is zero, and the last
        state is that of the sequence's own last step.
        """
        if autocasting(x):
            return in_weights_dtype(self, x, state, lengths)
        check_input(self, x)
        if lengths is not None:
            lengths = read_lengths(x=x, lengths=lengths)
        if state is not None:
            check_state(self, x, state)
            state = (state,) if self.states == 1 else state
        else:
            rows = self.num_layers * self.directions
            zeros = x.new_zeros(rows, x.shape[0], self.hidden_size)
            state = (zeros,) * self.states
        x = x.transpose(0, 1)
        if lengths is None:
            out, state = self.stack(x, state, None)
        else:
            out, state = self.packed_stack(x, state, lengths)
        return out.transpose(0, 1), state if self.states > 1 else state[0]

    def packed_stack(
        self,
        x: Float[Tensor, "length batch input"],
        state: State,
        lengths: Int[Tensor, "batch"],
    ) -> tuple[Float[Tensor, "length batch output"], State]:
        """`stack` with the longest sequence first, and back."""
        order = lengths.argsort(descending=True)
        falling = lengths[order].tolist()
        out, state = self.stack(
            clear_padding(x[:, order], falling),
            tuple(s[:, order] for s in state),
            falling,
        )
        back = order.argsort()
        return out[:, back], tuple(s[:, back] for s in state)


class RNNScan(torch.autograd.Function):
    """`rnn_step` at every position; backwards as derived by hand."""

    @staticmethod
    @without_autocast
    def forward(ctx, projected, h, weight_hh, bias_hh):
        """Keep the outputs: they are all that the way back needs."""
        h0, outputs = h, []
        for at_t in projected.unbind(0):
            h = rnn_step(at_t, h, weight_hh, bias_hh)
            outputs.append(h)
        outputs = torch.stack(outputs)
        ctx.save_for_backward(outputs, h0, weight_hh)
        return outputs

    @staticmethod
    @without_autocast
    def backward(ctx, d_outputs):
        """Hand back the gradients in the order of forward's arguments."""
        return backward_through_time(*ctx.saved_tensors, d_outputs)


class RNN(Recurrent):
    """The plain recurrent network, equal to `nn.RNN` with tanh.

    Source: Elman 1990.
    """

    def step(
        self,
        projected: Float[Tensor, "batch hidden"],
        state: State,
        weight_hh: Float[Tensor, "hidden hidden"],
        bias_hh: Float[Tensor, "hidden"],
    ) -> State:
        """One step of `rnn_step`; see `Recurrent.step`."""
        return (rnn_step(projected, *state, weight_hh, bias_hh),)

    def scan(
        self,
        projected: Float[Tensor, "length batch hidden"],
        state: State,
        weight_hh: Float[Tensor, "hidden hidden"],
        bias_hh: Float[Tensor, "hidden"],
    ) -> tuple[Float[Tensor, "length batch hidden"], State]:
        """Step through time, with the gradients written by hand."""
        out = RNNScan.apply(projected, *state, weight_hh, bias_hh)
        return out, (out[-1],)


class ReluRNN(Recurrent):
    """The same with a rectifier, equal to `nn.RNN(nonlinearity="relu")`."""

    def step(
        self,
        projected: Float[Tensor, "batch hidden"],
        state: State,
        weight_hh: Float[Tensor, "hidden hidden"],
        bias_hh: Float[Tensor, "hidden"],
    ) -> State:
        """One step: h_t = max(0, ...); see `Recurrent.step`."""
        return (F.relu(projected + F.linear(state[0], weight_hh, bias_hh)),)
