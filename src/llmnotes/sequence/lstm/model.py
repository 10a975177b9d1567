r"""Long short-term memory: a state that is added to, behind learned gates.

    x, h, c        = x_t, h_{t-1}, c_{t-1}  (input, output, memory; rows)
    i, f, g, o     = input, forget, candidate, output  (PyTorch's order)
    weight_ih, weight_hh = U, W  (four gates stacked: 4·hidden rows)
    bias_ih, bias_hh     = b, b'  (two, as in cuDNN; one would do)
    projected      = x_t Uᵀ + b  (what a step takes from the input)
    dh, dc, dgates = gradients of the loss by h_t, c_t and by the four gates
                     before their σ and tanh

Sources
- Hochreiter & Schmidhuber 1997, "Long Short-Term Memory", Neural
  Computation 9(8): no forget gate; the constant error carousel.
- Gers, Schmidhuber & Cummins 2000, "Learning to Forget: Continual
  Prediction with LSTM", Neural Computation 12(10): the forget gate.
- Jozefowicz, Zaremba & Sutskever 2015, "An Empirical Exploration of
  Recurrent Network Architectures", ICML: a forget bias of 1.
- Tallec & Ollivier 2018, "Can recurrent neural networks warp time?",
  arXiv 1804.11188: memories that last from 1 step to the longest wait.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import check_sizes, checked
from llmnotes.sequence.rnn import Recurrent, State
from llmnotes.sequence.rnn.checks import check_gates

Gates = tuple[Tensor, Tensor, Tensor, Tensor]  # i, f, g, o


def open_gates(stacked: Float[Tensor, "batch gates"]) -> Gates:
    """Cut the four stacked parts apart and squash each in its own way."""
    i, f, g, o = stacked.chunk(4, dim=-1)
    return i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()


def lstm_step(
    projected: Float[Tensor, "batch gates"],
    h: Float[Tensor, "batch hidden"],
    c: Float[Tensor, "batch hidden"],
    weight_hh: Float[Tensor, "gates hidden"],
    bias_hh: Float[Tensor, "gates"],
) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]:
    """The part of a step that must wait for the step before: h_t, c_t."""
    i, f, g, o = open_gates(projected + F.linear(h, weight_hh, bias_hh))
    c = f * c + i * g
    return o * c.tanh(), c


@checked
def lstm_cell(
    x: Float[Tensor, "batch input"],
    h: Float[Tensor, "batch hidden"],
    c: Float[Tensor, "batch hidden"],
    weight_ih: Float[Tensor, "gates input"],
    weight_hh: Float[Tensor, "gates hidden"],
    bias_ih: Float[Tensor, "gates"],
    bias_hh: Float[Tensor, "gates"],
) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]:
    """One step, equal to `nn.LSTMCell`: c_t = f∘c + i∘g, h_t = o∘tanh(c_t).

    Raises `ValueError` naming the argument that does not fit the others.
    """
    check_gates(4, h, weight_ih)
    projected = F.linear(x, weight_ih, bias_ih)
    return lstm_step(projected, h, c, weight_hh, bias_hh)


def lstm_step_gradient(
    dh: Float[Tensor, "batch hidden"],
    dc: Float[Tensor, "batch hidden"],
    gates: Gates,
    c_before: Float[Tensor, "batch hidden"],
    c: Float[Tensor, "batch hidden"],
) -> tuple[Float[Tensor, "batch gates"], Float[Tensor, "batch hidden"]]:
    """Return dgates and the gradient by c_{t-1}, given those by h_t and c_t.

    `gates` are the opened ones that the step forward computed.
    """
    i, f, g, o = gates
    tanh_c = c.tanh()
    dc = dc + dh * o * (1 - tanh_c**2)  # c_t is read twice: by h_t and c_t+1
    stacked = (
        dc * g * i * (1 - i),
        dc * c_before * f * (1 - f),
        dc * i * (1 - g**2),
        dh * tanh_c * o * (1 - o),
    )
    return torch.cat(stacked, dim=-1), dc * f


class LSTM(Recurrent):
    """Layers and directions of `lstm_cell`, equal to `nn.LSTM`."""

    gates = 4
    states = 2

    def step(
        self,
        projected: Float[Tensor, "batch gates"],
        state: State,
        weight_hh: Float[Tensor, "gates hidden"],
        bias_hh: Float[Tensor, "gates"],
    ) -> State:
        """One step of `lstm_step`; see `Recurrent.step`."""
        return lstm_step(projected, *state, weight_hh, bias_hh)


def set_forget_bias(model: LSTM, bias: float = 1.0) -> LSTM:
    """Begin with memories that last: all forget gates near σ(bias).

    PyTorch adds two biases; `bias` is their sum, and the second one is 0.

    Source: Gers et al. 2000; Jozefowicz et al. 2015.
    """
    hidden = model.hidden_size
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("bias"):
                forget = parameter[hidden : 2 * hidden]
                forget.fill_(bias if name.startswith("bias_ih") else 0.0)
    return model


@torch.no_grad()
def set_chrono_bias(model: LSTM, longest: int) -> LSTM:
    """Begin with memories of all lengths, from 1 to `longest` steps.

    A gate near σ(b) with b = ln(T - 1) keeps a memory for about T steps: T is
    drawn evenly from 2 to `longest` for each unit. What a unit forgets little
    of it also takes in little of: the input gate's bias is -b. Raises
    `ValueError` if `longest` is below 2.

    Source: Tallec & Ollivier 2018.
    """
    check_sizes(2, longest=longest)
    hidden = model.hidden_size
    for name, parameter in model.named_parameters():
        if name.startswith("bias"):
            parameter[: 2 * hidden] = 0.0
        if name.startswith("bias_ih"):
            lasting = parameter.new_empty(hidden).uniform_(1, longest - 1)
            parameter[hidden : 2 * hidden] = lasting.log()
            parameter[:hidden] = -lasting.log()
    return model


def lstm_parameters(
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    *,
    directions: int = 1,
) -> int:
    """Count the parameters: 4(hx + hh + 2h) per layer and direction."""
    h, total = hidden_size, 0
    for layer in range(num_layers):
        width = h * directions if layer else input_size
        total += directions * 4 * (h * width + h * h + 2 * h)
    return total


def lstm_1997_step(
    projected: Float[Tensor, "batch gates"],
    h: Float[Tensor, "batch hidden"],
    c: Float[Tensor, "batch hidden"],
    weight_hh: Float[Tensor, "gates hidden"],
    bias_hh: Float[Tensor, "gates"],
) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]:
    """One step as in 1997: the memory is added to, and nothing fades.

    Source: Hochreiter & Schmidhuber 1997.
    """
    stacked = projected + F.linear(h, weight_hh, bias_hh)
    i, g, o = stacked.chunk(3, dim=-1)
    c = c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@checked
def lstm_1997_cell(
    x: Float[Tensor, "batch input"],
    h: Float[Tensor, "batch hidden"],
    c: Float[Tensor, "batch hidden"],
    weight_ih: Float[Tensor, "gates input"],
    weight_hh: Float[Tensor, "gates hidden"],
    bias_ih: Float[Tensor, "gates"],
    bias_hh: Float[Tensor, "gates"],
) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]:
    """Three gates i, g, o and no forget gate: c_t = c + i∘g.

    Raises `ValueError` naming the argument that does not fit the others.

    Source: Hochreiter & Schmidhuber 1997.
    """
    check_gates(3, h, weight_ih)
    projected = F.linear(x, weight_ih, bias_ih)
    return lstm_1997_step(projected, h, c, weight_hh, bias_hh)


class LSTM1997(Recurrent):
    """Layers and directions of `lstm_1997_cell`."""

    gates = 3
    states = 2

    def step(
        self,
        projected: Float[Tensor, "batch gates"],
        state: State,
        weight_hh: Float[Tensor, "gates hidden"],
        bias_hh: Float[Tensor, "gates"],
    ) -> State:
        """One step of `lstm_1997_step`; see `Recurrent.step`."""
        return lstm_1997_step(projected, *state, weight_hh, bias_hh)
