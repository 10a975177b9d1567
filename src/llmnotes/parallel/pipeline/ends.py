"""What all stages together must agree on: tied weights, the norm.

A tied embedding stands on the first rank and, as the head, on the last. Each
finds its own part of the gradient; the sum of both is what one process finds.
And the norm by which gradients are clipped is that of all stages: squares
add up, norms do not.

Sources
- Narayanan et al. 2021, arXiv 2104.04473, and Megatron-LM's "embedding group".
"""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


class Tie:
    """A parameter that the first and the last rank both hold.

    Every rank must make one, also those between: a group is made by all. The
    first rank's numbers are taken over by the last.
    """

    def __init__(self, weight: Tensor):
        ends = sorted({0, dist.get_world_size() - 1})
        self.group = dist.new_group(ends)
        self.weight = weight
        self.holds = len(ends) > 1 and dist.get_rank() in ends
        if self.holds:
            dist.broadcast(weight.data, 0, group=self.group)

    def add_up(self) -> None:
        """Give both the sum of their gradients; call once, before a step."""
        if self.holds:
            dist.all_reduce(self.weight.grad, group=self.group)

    @property
    def copies(self) -> list[Tensor]:
        """What this rank holds but another counts."""
        return [self.weight] if self.holds and dist.get_rank() else []


def clip(
    parameters: Iterable[Tensor], limit: float, copies: Iterable[Tensor] = ()
) -> Tensor:
    """Scale all ranks' gradients so that their norm is at most `limit`.

    Returns the norm of all of them as it was. `copies` are parameters that
    another rank counts; they are scaled, too.

    Raises `ValueError` for a limit that is not above 0.
    """
    if not limit > 0:
        raise ValueError(f"limit: got {limit}, expected a number above 0")
    parameters, others = list(parameters), {id(p) for p in copies}
    found = [p for p in parameters if p.grad is not None]
    device = parameters[0].device  # a frozen stage has no gradients
    norm = torch.zeros(1, dtype=torch.float64, device=device)
    for p in found:
        if id(p) not in others:
            norm += p.grad.double().square().sum()
    dist.all_reduce(norm)
    norm = norm.sqrt()[0]
    for p in found:
        p.grad *= (limit / norm).clamp(max=1).to(p.grad.dtype)
    return norm
