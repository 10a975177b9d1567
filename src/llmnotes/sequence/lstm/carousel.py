"""How much of an error survives the way back through a memory.

    carried = c_0 … c_T, or h_0 … h_T of a network without a memory cell
    gain    = ‖∂c_T/∂c_{T-k}‖_F/√hidden at lag k  (1 where nothing is lost)
    direct  = through the memory alone, the gates taken as given: the
              gradient that the paper of 1997 follows

Sources
- Hochreiter & Schmidhuber 1997, "Long Short-Term Memory", Neural
  Computation 9(8): §3.2, the constant error carousel; appendix A.1, the
  truncated gradient.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from llmnotes.sequence.rnn import Recurrent


def carried_states(
    model: Recurrent,
    x: Float[Tensor, "batch length input"],
    *,
    direct: bool = False,
) -> list[Float[Tensor, "batch hidden"]]:
    """What the first layer hands from step to step, the start included."""
    weight_ih, weight_hh, bias_ih, bias_hh = model.weights(0, 0)
    start = x.new_zeros(x.shape[0], model.hidden_size, requires_grad=True)
    state, carried = (start.detach(),) * (model.states - 1) + (start,), [start]
    for projected in F.linear(x, weight_ih, bias_ih).unbind(1):
        if direct:
            state = (*(s.detach() for s in state[:-1]), state[-1])
        state = model.step(projected, state, weight_hh, bias_hh)
        carried.append(state[-1])
    return carried


def gain_by_lag(
    model: Recurrent,
    x: Float[Tensor, "batch length input"],
    *,
    direct: bool = False,
) -> Float[Tensor, "lags"]:
    """Return the gain at lag 0, 1, … length, root mean square over x."""
    carried = carried_states(model, x, direct=direct)
    last, hidden = carried[-1], model.hidden_size
    square = torch.zeros(len(carried), dtype=x.dtype)
    for unit in range(hidden):
        rows = torch.autograd.grad(
            last[:, unit].sum(), carried, retain_graph=True
        )
        square += torch.stack([row.square().sum() for row in rows])
    return (square / (hidden * x.shape[0])).sqrt().flip(0)
