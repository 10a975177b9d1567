"""A slow copy of a network: the average of where its weights have been.

learner = the network whose weights the optimizer moves
average = θ' ← decay θ' + (1 - decay) θ after each step; it draws samples
updates = steps so far; early ones count for more, see `EMA.decay_now`

A `Denoiser` has it as its network and need not know: in training mode the
learner answers, in evaluation mode the average does.

Sources
- Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv
  2006.11239, appendix B (decay 0.9999).
- Kingma & Ba 2015, "Adam", arXiv 1412.6980, §3 (what a running average that
  starts somewhere is biased to).
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn


class EMA(nn.Module):
    """A network and the running average of its weights.

    Raises `ValueError` for a decay that is not from 0 to below 1.
    """

    def __init__(self, network: nn.Module, decay: float = 0.995):
        super().__init__()
        check_decay(decay)
        self.learner, self.decay = network, decay
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.register_buffer("updates", torch.tensor(0))

    def forward(self, *inputs: Any) -> Tensor:
        """What the learner says in training mode, else the average."""
        return (self.learner if self.training else self.average)(*inputs)

    def decay_now(self) -> float:
        """The decay of the next update: small while there is little past.

        With the full decay from the first step on, the average would be
        mostly the random start for the first 1 / (1 - decay) steps.
        """
        n = int(self.updates)
        return min(self.decay, (1 + n) / (10 + n))

    @torch.no_grad()
    def update(self) -> None:
        """Move the average a little towards the learner."""
        share = 1 - self.decay_now()
        for slow, fast in zip(
            self.average.parameters(), self.learner.parameters(), strict=True
        ):
            slow.lerp_(fast, share)
        self.updates += 1

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Update after every step of an optimizer."""
        optimizer.register_step_post_hook(lambda *_: self.update())


def check_decay(decay: float) -> None:
    """Raise `ValueError` for what is no decay."""
    if not 0 <= decay < 1:
        raise ValueError(f"decay: got {decay}, expected 0 to below 1")
