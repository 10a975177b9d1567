r"""Small steps of a block fused on the CPU, each with its gradient by hand.

At a width of 128 a training step is some 500 small operations, and handing
them out costs as much as the arithmetic. Each function here does in one pass
what takes PyTorch several, and keeps what its backward pass needs.

    gelu          forward also writes gelu'(x): backward is one product
    relu_squared  likewise
    rms_norm      x/√(mean x² + ε), optionally plus w times the row before
    attend        heads split, normalised, rotated, attended and merged

float32 on the CPU only. Matrix products stay with PyTorch; loops are numba's.

    z, dz = output of c_attn, (batch, length, 3·d_model), and its gradient
    q, k, v = (batch·heads, length, head_dim), contiguous
    p, s  = attention weights; gradient of the scores
    inv   = 1/root mean square

Sources
1. Hendrycks and Gimpel 2016, arXiv 1606.08415, §2 (GELU with tanh).
2. So et al. 2021, "Primer", arXiv 2109.08668, §4 (squared ReLU).
3. Zhang and Sennrich 2019, "RMSNorm", arXiv 1910.07467, eq. 4.
4. Dao et al. 2022, "FlashAttention", arXiv 2205.14135, appendix B.2 (the
   gradient of softmax attention).
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from torch import Tensor

EPS = np.float32(1e-6)
one, zero = np.float32(1), np.float32(0)
jit = njit(fastmath=True, error_model="numpy", nogil=True, cache=True)


@intrinsic
def bits_to_float(context, bits):
    """Read an int32's bits as a float32."""

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), codegen


@jit
def exp(x):
    """eˣ as 2ᵏ·eᶠ: k into the exponent's bits, eᶠ by its Taylor series.

    numba's own `math.exp` is a call per number; this one vectorises. The
    relative error is below 2e-7 for |x| < 87.
    """
    t = x * np.float32(1.4426950408889634)
    t = min(max(t, np.float32(-126)), np.float32(126))
    k = np.int32(t + np.float32(126.5)) - np.int32(126)
    f = (t - np.float32(k)) * np.float32(0.6931471805599453)
    p = np.float32(1 / 720)
    p = p * f + np.float32(1 / 120)
    p = p * f + np.float32(1 / 24)
    p = p * f + np.float32(1 / 6)
    p = p * f + np.float32(1 / 2)
    p = p * f + one
    p = p * f + one
    return p * bits_to_float((k + np.int32(127)) << np.int32(23))


@jit
def gelu_loop(x, y, slope):
    """y = x·σ(2u) with u = √(2/π)(x + 0.044715x³), which is the tanh form."""
    a, b = np.float32(2 * math.sqrt(2 / math.pi)), np.float32(0.044715)
    for i in range(x.size):
        v = x[i]
        w = b * v * v
        e = exp(-a * v * (one + w))
        s = one / (one + e)
        y[i] = v * s
        slope[i] = s + v * s * (s * e) * a * (one + np.float32(3) * w)


@jit
def relu_squared_loop(x, y, slope):
    """y = max(x, 0)²."""
    for i in range(x.size):
        v = max(x[i], zero)
        y[i] = v * v
        slope[i] = v + v


@jit
def norm_loop(x, weight, y, inv):
    """y = x·inv, plus `weight` times the row before in its sequence."""
    batch, length, width = x.shape
    for b in range(batch):
        for t in range(length):
            total = zero
            for c in range(width):
                total += x[b, t, c] * x[b, t, c]
            r = one / math.sqrt(total / np.float32(width) + EPS)
            inv[b, t] = r
            for c in range(width):
                y[b, t, c] = x[b, t, c] * r
        for t in range(length - 1, 0, -1):  # backwards: t - 1 is unmixed yet
            for c in range(width):
                y[b, t, c] += weight[c] * y[b, t - 1, c]


@jit
def norm_gradient_loop(x, weight, inv, grad, dx, dweight):
    """dx and dweight of `norm_loop`."""
    batch, length, width = x.shape
    row = np.empty(width, np.float32)
    for b in range(batch):
        for t in range(length):
            dot = zero
            for c in range(width):
                g = grad[b, t, c]
                if t + 1 < length:
                    after = grad[b, t + 1, c]
                    dweight[c] += after * x[b, t, c] * inv[b, t]
                    g += weight[c] * after
                row[c] = g
                dot += g * x[b, t, c]
            r = inv[b, t]
            scale = dot * r * r / np.float32(width)
            for c in range(width):
                dx[b, t, c] = r * (row[c] - x[b, t, c] * scale)


@jit
def split_loop(z, heads, cos, sin, q, k, v):
    """z to q, k, v, head after head, turned by the angle of the position."""
    batch, length, width3 = z.shape
    width, half = width3 // 3, cos.shape[1]
    head_dim = width // heads
    for n in range(batch * heads):
        b, at = n // heads, n % heads * head_dim
        for t in range(length):
            for d in range(head_dim):
                v[n, t, d] = z[b, t, 2 * width + at + d]
            for d in range(half):
                c, s, e = cos[t, d], sin[t, d], at + d + half
                q[n, t, d] = z[b, t, at + d] * c - z[b, t, e] * s
                q[n, t, d + half] = z[b, t, e] * c + z[b, t, at + d] * s
                x, y = z[b, t, width + at + d], z[b, t, width + e]
                k[n, t, d] = x * c - y * s
                k[n, t, d + half] = y * c + x * s
            for d in range(2 * half, head_dim):
                q[n, t, d] = z[b, t, at + d]
                k[n, t, d] = z[b, t, width + at + d]


@jit
def merge_loop(q, k, v, heads, cos, sin, z):
    """Undo `split_loop`: turn back, and put every head in its columns."""
    batch, length, width3 = z.shape
    width, half = width3 // 3, cos.shape[1]
    head_dim = width // heads
    for n in range(batch * heads):
        b, at = n // heads, n % heads * head_dim
        for t in range(length):
            for d in range(head_dim):
                z[b, t, 2 * width + at + d] = v[n, t, d]
            for d in range(half):
                c, s, e = cos[t, d], sin[t, d], at + d + half
                x, y = q[n, t, d], q[n, t, d + half]
                z[b, t, at + d], z[b, t, e] = x * c + y * s, y * c - x * s
                x, y = k[n, t, d], k[n, t, d + half]
                z[b, t, width + at + d] = x * c + y * s
                z[b, t, width + e] = y * c - x * s
            for d in range(2 * half, head_dim):
                z[b, t, at + d] = q[n, t, d]
                z[b, t, width + at + d] = k[n, t, d]


@jit
def unit_loop(x, y, inv):
    """y = x·inv, row by row: RMSNorm of every head of queries and keys."""
    rows, length, width = x.shape
    for n in range(rows):
        for t in range(length):
            total = zero
            for d in range(width):
                total += x[n, t, d] * x[n, t, d]
            r = one / math.sqrt(total / np.float32(width) + EPS)
            inv[n, t] = r
            for d in range(width):
                y[n, t, d] = x[n, t, d] * r


@jit
def unit_gradient_loop(y, inv, grad):
    """Turn the gradient of y into that of x, in place."""
    rows, length, width = y.shape
    for n in range(rows):
        for t in range(length):
            dot = zero
            for d in range(width):
                dot += grad[n, t, d] * y[n, t, d]
            dot /= np.float32(width)
            for d in range(width):
                grad[n, t, d] = inv[n, t] * (
                    grad[n, t, d] - y[n, t, d] * dot
                )


@jit
def causal_softmax_loop(p, scale):
    """Scores to weights in place: row i sees columns 0..i, the rest is 0."""
    rows, length, _ = p.shape
    for n in range(rows):
        for i in range(length):
            high = p[n, i, 0]
            for j in range(1, i + 1):
                high = max(high, p[n, i, j])
            total = zero
            for j in range(length):
                e = exp((min(p[n, i, j], high) - high) * scale)
                e = e if j <= i else zero
                p[n, i, j] = e
                total += e
            for j in range(length):
                p[n, i, j] /= total


@jit
def softmax_gradient_loop(p, s, scale):
    """s = p∘(s - Σp∘s)·scale in place [4]."""
    rows, length, _ = p.shape
    for n in range(rows):
        for i in range(length):
            total = zero
            for j in range(length):
                total += p[n, i, j] * s[n, i, j]
            for j in range(length):
                s[n, i, j] = p[n, i, j] * (s[n, i, j] - total) * scale


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
        """Return the gradient of z [4]."""
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
