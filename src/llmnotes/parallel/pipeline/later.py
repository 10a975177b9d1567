"""Backward in two halves: inputs now, weights later.

    y  = x Wᵀ + b      dx = dy W      dW = dyᵀ x

The rank before waits for dx; for dW nobody does. So backward computes dx
alone and keeps (W, x, dy), of which dW can be made at any time. Biases, norms
and embeddings get their gradients at once: they cost next to nothing.

Sources
- Qi et al. 2023, arXiv 2401.10241, §2 and figure 1.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Later(TorchFunctionMode):
    """Inside `with`, the backward of `F.linear` leaves out dW.

    `weights()` adds it to the weights' gradients.
    """

    def __init__(self):
        super().__init__()
        self.left: list[tuple[Tensor, Tensor, Tensor]] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.linear:
            return Linear.apply(self.left, *args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))

    def weights(self) -> None:
        """Compute what was left out, and let go of what it was made of."""
        while self.left:
            weight, x, dy = self.left.pop(0)
            dy = dy.reshape(-1, dy.shape[-1])
            torch.autograd.backward(weight, dy.T @ x.to(dy.dtype))


class Linear(torch.autograd.Function):
    """y = xWᵀ + b, whose backward keeps what dW is made of."""

    @staticmethod
    def forward(
        ctx,
        left: list,
        x: Float[Tensor, "*batch input"],
        weight: Float[Tensor, "output input"],
        bias: Float[Tensor, " output"] | None = None,
    ) -> Float[Tensor, "*batch output"]:
        """Return xWᵀ + b."""
        ctx.left = left
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, dy: Float[Tensor, "*batch output"]) -> tuple:
        """Return dx and db; put dW off."""
        x, weight = ctx.saved_tensors
        if ctx.needs_input_grad[2]:
            ctx.left.append((weight, x.reshape(-1, x.shape[-1]), dy))
        has_bias = len(ctx.needs_input_grad) > 3 and ctx.needs_input_grad[3]
        db = dy.reshape(-1, dy.shape[-1]).sum(0) if has_bias else None
        return None, dy @ weight.to(dy.dtype), None, db
