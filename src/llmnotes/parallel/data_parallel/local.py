"""DiLoCo: ranks that train alone for a while, and seldom speak.

    H  = inner steps between two rounds
    θ  = weights; θ⁽ᵗ⁻¹⁾ are those that a round began with, on all ranks
    Δ  = θ⁽ᵗ⁻¹⁾ − mean over ranks of θ: what they have moved, as a gradient
    outer optimizer = Nesterov's momentum, fed with Δ

An all-reduce of n numbers in H steps instead of one in each: 1/H of the
traffic. Local SGD is the same with an outer rate of 1 and no momentum: the
weights become the mean.

Sources
- Douillard et al. 2023, "DiLoCo: Distributed Low-Communication Training of
  Language Models", arXiv 2311.08105, Alg. 1 (outer rate .7, momentum .9).
- Stich 2018, "Local SGD Converges Fast and Communicates Little",
  arXiv 1805.09767.
"""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.utils import parameters_to_vector


class Outer:
    """Brings the ranks' weights together: call `round` every H steps.

    All ranks begin with the weights of rank 0.

    Raises `ValueError` for a rate that is not above 0 or a momentum outside
    of [0, 1).
    """

    def __init__(
        self, model: nn.Module, rate: float = 0.7, momentum: float = 0.9
    ):
        if not rate > 0:
            raise ValueError(f"rate: got {rate}, expected more than 0")
        if not 0 <= momentum < 1:
            raise ValueError(
                f"momentum: got {momentum}, expected at least 0, less than 1"
            )
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        start = parameters_to_vector(self.parameters).detach().clone()
        dist.broadcast(start, 0)
        self.start = nn.Parameter(start)
        self.spread()
        self.optimizer = torch.optim.SGD(
            [self.start], rate, momentum, nesterov=momentum > 0
        )

    @torch.no_grad()
    def round(self) -> None:
        """One all-reduce; then all ranks go on from the same weights."""
        moved = self.start - parameters_to_vector(self.parameters)
        dist.all_reduce(moved)
        self.start.grad = moved / dist.get_world_size()
        self.optimizer.step()
        self.spread()

    @torch.no_grad()
    def spread(self) -> None:
        """Give the model the weights that all ranks have in common."""
        sizes = [p.numel() for p in self.parameters]
        for p, part in zip(
            self.parameters, self.start.split(sizes), strict=True
        ):
            p.copy_(part.view_as(p))
