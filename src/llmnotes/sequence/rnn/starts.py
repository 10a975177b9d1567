"""Where a recurrent network begins: two starts that let it remember.

    W  = weight_hh  (what takes one state to the next)

At PyTorch's start W shrinks what passes by about 1/√3 per step. These two
begin at a W that shrinks nothing.

Sources
- Saxe, McClelland & Ganguli 2013, "Exact solutions to the nonlinear
  dynamics of learning in deep linear neural networks", arXiv 1312.6120
  (orthogonal matrices).
- Henaff, Szlam & LeCun 2016, "Recurrent Orthogonal Networks and Long-Memory
  Tasks", arXiv 1602.06662.
- Le, Jaitly & Hinton 2015, "A Simple Way to Initialize Recurrent Networks
  of Rectified Linear Units", arXiv 1504.00941 (the identity).
"""

import torch
from torch import nn

from llmnotes.sequence.rnn.model import Recurrent


@torch.no_grad()
def start_orthogonal(model: Recurrent) -> Recurrent:
    """Draw every W as a rotation (or reflection), and set the biases to 0.

    What W sends on keeps its length; only tanh shortens it (Saxe et al.
    2013; Henaff et al. 2016). Of gates that are stacked each has its own.
    """
    for name, parameter in model.named_parameters():
        if name.startswith("weight_hh"):
            for gate in parameter.chunk(model.gates):
                nn.init.orthogonal_(gate)
        elif name.startswith("bias"):
            parameter.zero_()
    return model


@torch.no_grad()
def start_identity(model: Recurrent) -> Recurrent:
    """W = 1, biases 0, and U small (0.001), for rectified units.

    Without an input such a network hands its state on as it is (Le et al.
    2015).
    """
    for name, parameter in model.named_parameters():
        if name.startswith("weight_hh"):
            for gate in parameter.chunk(model.gates):
                nn.init.eye_(gate)
        elif name.startswith("weight_ih"):
            nn.init.normal_(parameter, std=0.001)
        else:
            parameter.zero_()
    return model
