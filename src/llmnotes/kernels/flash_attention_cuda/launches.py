"""FlashAttention on the GPU: the public function and what it launches.

    query, key, value = Q, K, V
    out, logsumexp    = O, L
    tiling            = block sizes B_r, B_c and head_dim d

Tensors are fp32 or fp16, summed in fp32; bf16 is converted to fp32 on the
way in and back on the way out, since the array interface that torch and
numba share has no name for it.

Sources
- Dao 2023, "FlashAttention-2", arXiv 2307.08691, algorithms 1 and 2.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import checked
from llmnotes.cuda import launch
from llmnotes.kernels.flash_attention_cuda.tiling import (
    MAX_HEAD_DIM,
    Tiling,
    backward_tiling,
    forward_tiling,
)
from llmnotes.once import once
from llmnotes.precision import as_written, without_autocast
from llmnotes.transformer.attention import check_heads, with_blind

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def check_kernel_limits(query: Tensor) -> None:
    """Raise `ValueError` unless a kernel exists for these tensors."""
    if query.dtype not in DTYPES:
        raise ValueError(
            f"query: got {query.dtype}, expected float32, float16 or bfloat16"
        )
    if query.shape[-1] > MAX_HEAD_DIM:
        raise ValueError(
            f"query: got head_dim {query.shape[-1]}, expected at most "
            f"{MAX_HEAD_DIM}"
        )


def check_device(query: Tensor) -> None:
    """Raise `ValueError` unless the tensors are where the kernels run."""
    expected = "cpu" if launch.simulated() else "cuda"
    if query.device.type != expected:
        raise ValueError(
            f"query: got a tensor on {query.device}, expected {expected}"
        )


@checked
def flash_attention(
    query: Float[Tensor, "batch heads query head_dim"],
    key: Float[Tensor, "batch kv_heads key head_dim"],
    value: Float[Tensor, "batch kv_heads key head_dim"],
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "batch heads query head_dim"]:
    """softmax(QKᵀ·scale) V on the GPU, without the N × N matrix (Dao 2023).

    Takes CUDA tensors of one dtype: fp32, fp16 or bf16, head_dim at most
    128; under NUMBA_ENABLE_CUDASIM=1 CPU tensors, run by numba's simulator.
    `causal` hides what comes later; the last query stands at the last key.
    Differentiable once; gradients are the same bits on every run.

    Raises `ValueError` naming an argument that does not fit, `RuntimeError`
    saying what to install where no kernel can run.
    """
    check_heads(query, key)
    check_kernel_limits(query)
    launch.require()
    check_device(query)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1])
    # The kernels let query i see keys 0..i, so lengths are made equal first.
    ahead = key.shape[2] - query.shape[2] if causal else 0
    with as_written(query) as dtype:
        query = with_blind(query, ahead)
        inputs = as_kernels_read((query, key, value))
        out = FlashAttention.apply(*inputs, causal, scale)
    return with_blind(out, -ahead).to(dtype)


def as_kernels_read(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """All in float16 if they are, else in float32; autocast may mix them."""
    if all(x.dtype == torch.float16 for x in tensors):
        return tensors
    return tuple(x.float() for x in tensors)


class FlashAttention(torch.autograd.Function):
    """Forward and backward kernels as one differentiable function."""

    @staticmethod
    @without_autocast
    def forward(ctx, query, key, value, causal, scale):
        """O, and L kept for the backward instead of the weights."""
        tiling = forward_tiling(query.shape[-1])
        out, logsumexp = flash_forward(
            query, key, value, causal, scale, tiling
        )
        ctx.save_for_backward(query, key, value, out, logsumexp)
        ctx.causal, ctx.scale = causal, scale
        return out

    @staticmethod
    @once
    @without_autocast
    def backward(ctx, grad_out):
        """dQ, dK and dV from recomputed weights."""
        tiling = backward_tiling(grad_out.shape[-1])
        grads = flash_backward(
            *ctx.saved_tensors, grad_out, ctx.causal, ctx.scale, tiling
        )
        return *grads, None, None


def flash_forward(
    query: Float[Tensor, "batch heads query head_dim"],
    key: Float[Tensor, "batch kv_heads key head_dim"],
    value: Float[Tensor, "batch kv_heads key head_dim"],
    causal: bool,
    scale: float,
    tiling: Tiling,
) -> tuple[
    Float[Tensor, "batch heads query head_dim"],
    Float[Tensor, "batch heads query"],
]:
    """Launch the forward with these tiles: O and L."""
    from llmnotes.kernels.flash_attention_cuda import kernels

    out = torch.empty_like(query, memory_format=torch.contiguous_format)
    logsumexp = query.new_empty(query.shape[:-1], dtype=torch.float32)
    launch.launch(
        kernels.flash_forward(tiling),
        blocks(query, tiling.block_q),
        (tiling.side, tiling.side),
        *(flat(x) for x in (query, key, value, out, logsumexp)),
        scale,
        causal,
    )
    return out, logsumexp


def flash_backward(
    query, key, value, out, logsumexp, grad_out, causal, scale, tiling
) -> tuple[Tensor, Tensor, Tensor]:
    """Launch the backward with these tiles: dQ, dK and dV."""
    from llmnotes.kernels.flash_attention_cuda import backward

    q, k, v, o, grad = (flat(x) for x in (query, key, value, out, grad_out))
    statistics = q.new_empty((*q.shape[:-1], 2), dtype=torch.float32)
    dq, dk, dv = (torch.empty_like(x) for x in (q, k, v))
    rows = -(-q.shape[0] * q.shape[1] // 128)
    launch.launch(
        backward.row_statistics, rows, 128,
        o, grad, flat(logsumexp), statistics,
    )  # fmt: skip
    block = tiling.side, tiling.side
    inputs = q, k, v, grad, statistics
    launch.launch(
        backward.flash_backward_key(tiling),
        blocks(key, tiling.block_k), block, *inputs, dk, dv, scale, causal,
    )  # fmt: skip
    launch.launch(
        backward.flash_backward_query(tiling),
        blocks(query, tiling.block_q), block, *inputs, dq, scale, causal,
    )  # fmt: skip
    shaped = zip((dq, dk, dv), (query, key, value), strict=True)
    return tuple(grad.view(x.shape) for grad, x in shaped)


def naive_forward(query, key, value, causal, scale):
    """Launch the three naive kernels: O and the matrix P they leave."""
    from llmnotes.kernels.flash_attention_cuda import naive

    q, k, v = (flat(x) for x in (query, key, value))
    out = torch.empty_like(q)
    weights = q.new_empty((*q.shape[:2], k.shape[1]), dtype=torch.float32)

    def grid(columns):
        return -(-columns // 16), -(-q.shape[1] // 16), q.shape[0]

    launch.launch(
        naive.naive_scores, grid(k.shape[1]), (16, 16),
        q, k, weights, scale, causal,
    )  # fmt: skip
    rows = -(-q.shape[1] // 64), q.shape[0]
    launch.launch(naive.naive_softmax, rows, (64, 1), weights)
    launch.launch(
        naive.naive_values, grid(q.shape[2]), (16, 16),
        weights, v, out, causal,
    )  # fmt: skip
    return out.view(query.shape), weights


def flat(x: Tensor) -> Tensor:
    """Batch and heads as one axis, contiguous: what the kernels index.

    Query head h of batch b becomes row b · heads + h; divided by the group
    size this is b · kv_heads + h // group, the row of its key/value head.
    """
    return x.contiguous().flatten(0, 1)


def blocks(x: Tensor, block: int) -> int:
    """Thread blocks for one tile each: batch · heads · ⌈length / block⌉."""
    return x.shape[0] * x.shape[1] * -(-x.shape[2] // block)
