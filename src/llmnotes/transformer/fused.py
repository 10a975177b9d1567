"""Small steps of a block fused on the CPU, each with its gradient by hand.

At a width of 128 a training step is some 500 small operations, and handing
them out costs about as much as the arithmetic. Each function here does in
one pass what takes PyTorch several, and keeps what its gradient needs.

    gelu          forward also writes gelu'(x): backward is one product
    relu_squared  likewise
    rms_norm      x/√(mean x² + ε), plus weight times that of the row before
    attend        heads split, normalised, rotated, attended and merged
    FusedGPT      GPT with these in its blocks

float32 on the CPU only. Matrix products stay with PyTorch.

Sources
1. Hendrycks and Gimpel 2016, arXiv 1606.08415, §2 (GELU with tanh).
2. So et al. 2021, "Primer", arXiv 2109.08668, §4 (squared ReLU).
3. Zhang and Sennrich 2019, "RMSNorm", arXiv 1910.07467, eq. 4.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.transformer.fused_loops import (
    causal_softmax_loop,
    gelu_loop,
    merge_loop,
    norm_gradient_loop,
    norm_loop,
    relu_squared_loop,
    softmax_gradient_loop,
    split_loop,
    unit_gradient_loop,
    unit_loop,
)
from llmnotes.transformer.gpt import GPT, MLP, Attention, Block, GPTConfig


def bend(loop):
    """Make an activation out of a loop that writes y and its slope."""

    class Activation(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            x = x.contiguous()
            y, slope = torch.empty_like(x), torch.empty_like(x)
            loop(*(t.view(-1).numpy() for t in (x.detach(), y, slope)))
            context.save_for_backward(slope)
            return y

        @staticmethod
        def backward(context, grad):
            return grad * context.saved_tensors[0]

    return Activation.apply


gelu = bend(gelu_loop)
relu_squared = bend(relu_squared_loop)


class RMSNorm(torch.autograd.Function):
    """`norm_loop` and its gradient, for autograd."""

    @staticmethod
    def forward(context, x, weight):
        """Return the normalised rows, mixed with those before."""
        x, weight = x.contiguous(), weight.contiguous()
        y, inv = torch.empty_like(x), x.new_empty(x.shape[:2])
        norm_loop(*(t.detach().numpy() for t in (x, weight, y, inv)))
        context.save_for_backward(x, weight, inv)
        return y

    @staticmethod
    def backward(context, grad):
        """Return the gradients of x and weight."""
        x, weight, inv = context.saved_tensors
        dx, dweight = torch.empty_like(x), torch.zeros_like(weight)
        tensors = (x, weight, inv, grad.contiguous(), dx, dweight)
        norm_gradient_loop(*(t.detach().numpy() for t in tensors))
        return dx, dweight


class Attend(torch.autograd.Function):
    """z to the heads' outputs and back; the two halves of `attend`."""

    @staticmethod
    def forward(context, z, heads, cos, sin, unit):
        """Split, normalise if `unit`, rotate, attend, merge."""
        batch, length, width = z.shape
        shape = (batch * heads, length, width // 3 // heads)
        q, k, v = torch.empty(3, *shape).unbind()
        z = z.contiguous()
        arrays = [t.numpy() for t in (q, k, v)]
        split_loop(z.detach().numpy(), heads, cos, sin, *arrays)
        inv = torch.empty(2, *shape[:2])
        if unit:  # rotation keeps lengths, so it may come first
            unit_loop(arrays[0], arrays[0], inv[0].numpy())
            unit_loop(arrays[1], arrays[1], inv[1].numpy())
        p = torch.bmm(q, k.mT)
        scale = np.float32(1 / math.sqrt(shape[-1]))
        causal_softmax_loop(p.numpy(), scale)
        context.save_for_backward(q, k, v, p, inv)
        context.rest = heads, cos, sin, unit, scale, z.shape
        out = torch.bmm(p, v).view(batch, heads, length, -1)
        return out.transpose(1, 2).reshape(batch, length, -1)

    @staticmethod
    def backward(context, grad):
        """Return the gradient of z."""
        q, k, v, p, inv = context.saved_tensors
        heads, cos, sin, unit, scale, shape = context.rest
        grad = grad.view(*shape[:2], heads, -1).transpose(1, 2)
        grad = grad.reshape(q.shape)
        s = torch.bmm(grad, v.mT)
        softmax_gradient_loop(p.numpy(), s.numpy(), scale)
        dq, dk = torch.bmm(s, k), torch.bmm(s.mT, q)
        dv = torch.bmm(p.mT, grad)
        if unit:
            unit_gradient_loop(q.numpy(), inv[0].numpy(), dq.numpy())
            unit_gradient_loop(k.numpy(), inv[1].numpy(), dk.numpy())
        dz = torch.empty(shape)
        arrays = [t.numpy() for t in (dq, dk, dv)]
        merge_loop(*arrays, heads, cos, sin, dz.numpy())
        return dz, None, None, None, None


NO_TURN = np.empty((0, 0), np.float32)


def rms_norm(
    x: Float[Tensor, "batch length width"],
    weight: Float[Tensor, "width"],
) -> Float[Tensor, "batch length width"]:
    """Return n + weight·(n one position earlier), with n = RMSNorm(x) [3]."""
    return RMSNorm.apply(x, weight)


def attend(
    z: Float[Tensor, "batch length three_d_model"],
    heads: int,
    angles: Float[Tensor, "length half"] | None = None,
    *,
    unit: bool = False,
) -> Float[Tensor, "batch length d_model"]:
    """Causal attention from the concatenated queries, keys and values.

    `angles` rotate query and key in halves (RoPE); `unit` normalises both.
    """
    if angles is None:
        cos = sin = NO_TURN
    else:
        cos, sin = angles.cos().numpy(), angles.sin().numpy()
    return Attend.apply(z, heads, cos, sin, unit)


class FusedAttention(Attention):
    """The same parameters, fused."""

    def forward(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> Float[Tensor, "batch length d_model"]:
        """Attend to the present and the past."""
        return self.c_proj(attend(self.c_attn(x), self.heads))


class FusedMLP(MLP):
    """The same parameters, fused."""

    def forward(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> Float[Tensor, "batch length d_model"]:
        """Return gelu(xW + b)W' + b'."""
        return self.c_proj(gelu(self.c_fc(x)))


class FusedBlock(Block):
    """GPT-2's block with both sublayers fused."""

    def __init__(self, config: GPTConfig):
        super().__init__(config)
        self.attn, self.mlp = FusedAttention(config), FusedMLP(config)


class FusedGPT(GPT):
    """`GPT`, faster on the CPU: same state dict, logits and gradients.

    Attention weights are not dropped out; `dropout` acts elsewhere.
    """

    block = FusedBlock
