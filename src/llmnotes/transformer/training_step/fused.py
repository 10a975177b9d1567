"""GPT's block as one operation on the CPU, its gradient written by hand.

At a width of 128 a training step is hundreds of small operations. Here a
block is one operation for autograd. Between its matrix products, which stay
with PyTorch, compiled loops do in one pass what takes PyTorch
several.

    z       = output of c_attn: queries, keys and values side by side
    q, k, v = (batch·heads, length, head_dim);  p = attention weights
    slope   = derivative of the activation, kept by the forward pass
    dx      = gradient of the loss by x, for any x

float32 on the CPU only; elsewhere, with dropout, and wherever somebody has
hooked or replaced a module of the block, it computes as its parent does.

Sources
- Dao et al. 2022, "FlashAttention", arXiv 2205.14135, appendix B.2 (the
  gradient of attention).
- Hendrycks and Gimpel 2016, arXiv 1606.08415, §2 (GELU with tanh).
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.modules import module as everywhere

from llmnotes.precision import without_autocast
from llmnotes.transformer.gpt.model import GPT, MLP, Attention, Block, Conv1D
from llmnotes.transformer.training_step.fast import (
    causal_softmax_loop,
    gelu_loop,
    softmax_gradient_loop,
    turn_loop,
    unit_gradient_loop,
    unit_loop,
)


def array(x: Tensor) -> np.ndarray:
    """The numbers of x, not a copy."""
    return x.detach().numpy()


def attend(z, heads, turn=None, unit=False):
    """Causal attention from z: (merged heads, what the gradient needs).

    `turn` is the cosine and the sine of RoPE's angles, each (length, half);
    `unit` gives queries and keys the length √head_dim.
    """
    split = "batch t (three h width) -> three (batch h) t width"
    q, k, v = rearrange(z, split, three=3, h=heads).contiguous().unbind()
    inv = torch.empty(2, *q.shape[:2])
    for x, row in zip((q, k), inv, strict=True):
        if unit:  # turning keeps lengths, so the order does not matter
            unit_loop(array(x), array(x), array(row))
        if turn:
            turn_loop(array(x), *turn)
    p = torch.bmm(q, k.mT)
    causal_softmax_loop(array(p), np.float32(1 / math.sqrt(q.shape[-1])))
    merge = "(batch h) t width -> batch t (h width)"
    return rearrange(torch.bmm(p, v), merge, h=heads), (q, k, v, p, inv)


def attend_gradient(dout, kept, heads, turn=None, unit=False):
    """Return dz, given the gradient of the merged heads."""
    q, k, v, p, inv = kept
    split = "batch t (h width) -> (batch h) t width"
    dout = rearrange(dout, split, h=heads).contiguous()
    s = torch.bmm(dout, v.mT)
    scale = np.float32(1 / math.sqrt(q.shape[-1]))
    softmax_gradient_loop(array(p), array(s), scale)
    dqkv = torch.empty(3, *q.shape)
    torch.bmm(s, k, out=dqkv[0])
    torch.bmm(s.mT, q, out=dqkv[1])
    torch.bmm(p.mT, dout, out=dqkv[2])
    for dx, x, row in zip(dqkv[:2], (q, k), inv, strict=True):
        if unit:
            unit_gradient_loop(array(x), array(row), array(dx))
        if turn:
            turn_loop(array(dx), turn[0], -turn[1])
    merge = "three (batch h) t width -> batch t (three h width)"
    return rearrange(dqkv, merge, h=heads)


def bend(x, loop=gelu_loop):
    """(activation of x, its slope), in one pass."""
    y, slope = torch.empty_like(x), torch.empty_like(x)
    loop(*(array(t.view(-1)) for t in (x, y, slope)))
    return y, slope


def affine_gradient(dy, x, weight):
    """(dx, dweight, dbias) of xW + b, all of them matrices."""
    return torch.mm(dy, weight.T), torch.mm(x.T, dy), dy.sum(0)


def norm(x, weight, bias, eps):
    """LayerNorm: (y, mean, 1/standard deviation)."""
    return torch.native_layer_norm(x, x.shape[-1:], weight, bias, eps)


def norm_gradient(dy, x, mean, inv, weight, bias):
    """(dx, dweight, dbias) of LayerNorm."""
    return torch.ops.aten.native_layer_norm_backward(
        dy, x, x.shape[-1:], mean, inv, weight, bias, [True] * 3
    )


class BlockFunction(torch.autograd.Function):
    """GPT-2's block, forward and backward.

    The parameters come in the block's order, weight and bias of each: ln_1,
    c_attn, c_proj, ln_2, c_fc, c_proj.
    """

    @staticmethod
    @without_autocast
    def forward(context, heads, epsilons, x, *parameters):
        """Read the residual stream twice, add to it twice."""
        g1, b1, w_z, b_z, w_o, b_o, g2, b2, w_h, b_h, w_y, b_y = parameters
        rows, (batch, length, width) = x.view(-1, x.shape[-1]), x.shape
        n1, *one = norm(rows, g1, b1, epsilons[0])
        z = torch.addmm(b_z, n1, w_z).view(batch, length, -1)
        merged, kept = attend(z, heads)
        merged = merged.view(-1, width)
        middle = torch.addmm(b_o, merged, w_o).add_(rows)
        n2, *two = norm(middle, g2, b2, epsilons[1])
        y, slope = bend(torch.addmm(b_h, n2, w_h))
        context.save_for_backward(
            *parameters, rows, n1, *one, merged, middle, n2, *two, y, slope,
            *kept,
        )  # fmt: skip
        context.heads = heads
        return torch.addmm(b_y, y, w_y).add_(middle).view(x.shape)

    @staticmethod
    @without_autocast
    def backward(context, dout):
        """Walk back through `forward`, line by line.

        Raises `RuntimeError` under create_graph: a gradient of this gradient
        would miss what the compiled loops did.
        """
        if torch.is_grad_enabled():
            raise RuntimeError("GPT: got create_graph, expected one gradient")
        saved, shape = context.saved_tensors, dout.shape
        g1, b1, w_z, b_z, w_o, b_o, g2, b2, w_h, b_h, w_y, b_y = saved[:12]
        x, n1, m1, i1, merged, middle, n2, m2, i2, y, slope = saved[12:23]
        dout = dout.reshape(x.shape)
        dy, *d_y = affine_gradient(dout, y, w_y)
        dn2, *d_h = affine_gradient(dy.mul_(slope), n2, w_h)
        dmiddle, *d_2 = norm_gradient(dn2, middle, m2, i2, g2, b2)
        dmiddle += dout
        dmerged, *d_o = affine_gradient(dmiddle, merged, w_o)
        dz = attend_gradient(dmerged.view(shape), saved[23:], context.heads)
        dn1, *d_z = affine_gradient(dz.view(len(x), -1), n1, w_z)
        dx, *d_1 = norm_gradient(dn1, x, m1, i1, g1, b1)
        dx = dx.add_(dmiddle).view(shape)
        return None, None, dx, *d_1, *d_z, *d_o, *d_2, *d_h, *d_y


def quick(x: Tensor) -> bool:
    """Whether the compiled loops can take x: float32, on the CPU, eager."""
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )


def listened() -> bool:
    """Whether somebody listens to the calls of all modules there are."""
    return bool(
        everywhere._global_forward_hooks
        or everywhere._global_forward_pre_hooks
        or everywhere._global_backward_hooks
        or everywhere._global_backward_pre_hooks
    )


def changed(part: nn.Module, kind: type) -> bool:
    """Whether a module is of another type than `kind`, or is listened to.

    An adapter and a parametrization are other types.
    """
    return bool(
        type(part) is not kind
        or part._forward_hooks
        or part._forward_pre_hooks
        or part._backward_hooks
        or part._backward_pre_hooks
        or "forward" in part.__dict__
    )


def untouched(block: nn.Module, parts: Mapping[str, tuple]) -> bool:
    """Whether a block's modules are those that it was built of.

    The loops ask none of them, so with a hook or an adapter they would
    compute something else. `parts` is {name: (type, parts of its own)}.
    """
    found = block._modules  # ten times quicker than to ask by name
    return found.keys() == parts.keys() and all(
        not changed(found[name], kind) and untouched(found[name], inner)
        for name, (kind, inner) in parts.items()
    )


PARTS = {
    "ln_1": (nn.LayerNorm, {}),
    "attn": (Attention, {"c_attn": (Conv1D, {}), "c_proj": (Conv1D, {})}),
    "ln_2": (nn.LayerNorm, {}),
    "mlp": (MLP, {"c_fc": (Conv1D, {}), "c_proj": (Conv1D, {})}),
    "drop": (nn.Dropout, {}),
}


def drops(block: Block) -> bool:
    """Whether anything drops out; each module has a mode of its own."""
    attn, drop = block.attn, block.drop
    return bool(attn.training and attn.dropout or drop.training and drop.p)


class FusedBlock(Block):
    """`Block` as one operation: same parameters, outputs and gradients."""

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        visible: Bool[Tensor, "... length total"] | None = None,
        extend=None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Read the residual stream twice, add to it twice."""
        fits = visible is extend is None and quick(x) and not listened()
        if not fits or not untouched(self, PARTS) or drops(self):
            return super().forward(x, visible, extend)
        attn, norms = self.attn, (self.ln_1, self.ln_2)
        layers = norms[0], attn.c_attn, attn.c_proj
        layers += norms[1], self.mlp.c_fc, self.mlp.c_proj
        parameters = [p for y in layers for p in (y.weight, y.bias)]
        if not all(map(plain_numbers, parameters)):
            return super().forward(x)
        epsilons = [norm.eps for norm in norms]
        return BlockFunction.apply(
            attn.heads, epsilons, x.contiguous(), *parameters
        )


def plain_numbers(p: Tensor | None) -> bool:
    """Whether a loop can read p as it lies: no None, no subclass."""
    return type(p) in (Tensor, nn.Parameter) and p.is_contiguous()


class FusedGPT(GPT):
    """`GPT`, faster on the CPU: same state dict, logits and gradients."""

    block = FusedBlock
