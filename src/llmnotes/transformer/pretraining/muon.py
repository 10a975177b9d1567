"""Muon: momentum, then an update in which all directions count alike.

    momentum = β, how much of the mean gradient is kept from step to step
    ratio    = Muon's learning rate as a multiple of AdamW's

Sources
- Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural
  networks", kellerjordan.github.io/posts/muon.
"""

from collections import defaultdict

import torch
from jaxtyping import Float
from torch import Tensor, nn


def orthogonalise(
    g: Float[Tensor, "matrices rows columns"], steps: int = 5
) -> Float[Tensor, "matrices rows columns"]:
    """Push all singular values of g to about 1, keep its directions.

    With g = UΣVᵀ this is roughly UVᵀ. The odd polynomial
    3.4445x - 4.7750x³ + 2.0315x⁵ moves any σ from 0.002 to 1 to between 0.68
    and 1.21 within five rounds, by matrix products alone.

    Source: Jordan et al. 2024.
    """
    wide = g.shape[-2] <= g.shape[-1]
    x = g if wide else g.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        s = x @ x.mT
        s = torch.baddbmm(s, s, s, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, s, x, beta=3.4445)
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Momentum, then every matrix's update made orthogonal.

    A matrix with three times as many rows as columns is c_attn's: queries,
    keys and values are made orthogonal one by one. Equal shapes are stacked,
    so that one product does the work of all layers.

    Source: Jordan et al. 2024.
    """

    def __init__(self, params, lr=0.02, momentum=0.95, ratio=1.0):
        super().__init__(params, dict(lr=lr, momentum=momentum, ratio=ratio))

    @torch.no_grad()
    def step(self) -> None:
        """Move every matrix by lr·ratio along its orthogonalised gradient."""
        for group in self.param_groups:
            shapes = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    shapes[p.shape].append(p)
            for same in shapes.values():
                self.move(same, group)

    def move(self, matrices: list[Tensor], group: dict) -> None:
        """Update matrices of one shape."""
        for p in matrices:
            if not self.state[p]:
                self.state[p]["mean"] = torch.zeros_like(p)
            self.state[p]["mean"].lerp_(p.grad, 1 - group["momentum"])
        g = torch.stack([p.grad for p in matrices])
        mean = torch.stack([self.state[p]["mean"] for p in matrices])
        update = torch.lerp(g, mean, group["momentum"])  # Nesterov's
        rows, columns = g.shape[1:]
        if rows == 3 * columns:  # queries, keys and values are three matrices
            update = update.reshape(-1, columns, columns)
        update = orthogonalise(update)
        tall = max(1, update.shape[-2] / update.shape[-1]) ** 0.5
        rate = group["lr"] * group["ratio"] * tall
        for p, u in zip(matrices, update.reshape(g.shape), strict=True):
            p.add_(u, alpha=-rate)


class MuonAdamW(torch.optim.Optimizer):
    """Muon for the blocks' matrices, AdamW for all the rest, as one.

    `train.update` sets one learning rate for every group; Muon multiplies
    it by `ratio`. The state is that of both, so that a run can go on.
    """

    def __init__(
        self, model: nn.Module, lr=3e-3, ratio=7.0, betas=(0.9, 0.98)
    ):
        inner = [p for p in model.h.parameters() if p.ndim == 2]
        known = {id(p) for p in inner}
        rest = [p for p in model.parameters() if id(p) not in known]
        adam = torch.optim.AdamW(
            rest, lr=lr, betas=betas, eps=1e-10, weight_decay=0, fused=True
        )
        self.parts = Muon(inner, lr=lr, ratio=ratio), adam
        super().__init__([p.param_groups[0] for p in self.parts], {})

    def __getstate__(self) -> dict:
        """What a copy holds; PyTorch would forget the parts."""
        return super().__getstate__() | {"parts": self.parts}

    @torch.no_grad()
    def step(self) -> None:
        """Let both move, by the groups and the state that are here now."""
        for part, group in zip(self.parts, self.param_groups, strict=True):
            part.param_groups, part.state = [group], self.state
            part.step()
