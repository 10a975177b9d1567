"""Two units that know whether the number of ones so far is odd.

bit      = x_t, 0 or 1
odd      = p, the parity so far: 0 or 1
gain     = k, how steep the tanh is made: a switch, nearly
"""

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.sequence.rnn.model import RNN


def parity_network(gain: float = 6.0) -> RNN:
    """Nothing is learned: ten numbers, set so that p = (h_1 - h_2)/2.

    The first unit asks whether x_t + p_{t-1} is at least 1, the second
    whether it is 2; it is odd if only the first says yes.
    """
    network = RNN(1, 2)
    parameters = {
        "weight_ih_l0": [[1.0], [1.0]],
        "weight_hh_l0": [[0.5, -0.5], [0.5, -0.5]],
        "bias_ih_l0": [-0.5, -1.5],
        "bias_hh_l0": [0.0, 0.0],
    }
    network.load_state_dict(
        {name: gain * torch.tensor(p) for name, p in parameters.items()}
    )
    return network


def is_odd(
    output: Float[Tensor, "... 2"],
) -> Float[Tensor, "..."]:
    """Read the parity, 0 or 1, off the two units."""
    return ((output[..., 0] - output[..., 1]) / 2).round()
