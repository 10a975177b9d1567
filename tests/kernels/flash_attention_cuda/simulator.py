"""The public function in numba's simulator; run by the file beside this one.

Needs NUMBA_ENABLE_CUDASIM=1 before Python starts. The simulator starts a
Python thread for each of a block's, 256 with the tiles of a GPU; so it runs
small tiles, and the file beside this one the others.
"""

import os

import pytest
import torch

from llmnotes.cuda import launch
from llmnotes.cuda.trace import Trace
from llmnotes.kernels.flash_attention_cuda import launches
from llmnotes.kernels.flash_attention_cuda.tiling import Tiling
from llmnotes.transformer.attention import attention

assert os.environ["NUMBA_ENABLE_CUDASIM"] == "1"


def tensors(batch, heads, kv_heads, queries, keys, head_dim):
    torch.manual_seed(0)
    return [
        torch.randn(batch, heads, queries, head_dim),
        torch.randn(batch, kv_heads, keys, head_dim),
        torch.randn(batch, kv_heads, keys, head_dim),
    ]


def value_and_grads(function, inputs, **options):
    inputs = [x.clone().requires_grad_() for x in inputs]
    out = function(*inputs, **options)
    weights = torch.arange(out.numel()).view(out.shape) % 7 - 3
    return out, *torch.autograd.grad((out * weights).sum(), inputs)


@pytest.fixture
def small_tiles(monkeypatch):
    """The public function with thread blocks of 4 × 4."""
    for name in ("forward_tiling", "backward_tiling"):
        monkeypatch.setattr(launches, name, lambda d: Tiling(d, 8, 4, 4))


@pytest.mark.parametrize(
    ("query", "key", "causal"), [(5, 7, False), (3, 6, True), (6, 3, True)]
)
def test_the_public_function_equals_plain_attention(
    query, key, causal, small_tiles
):
    inputs = tensors(1, 1, 1, query, key, 2)  # heads: see executors below
    ours = value_and_grads(launches.flash_attention, inputs, causal=causal)
    wide = [x.double() for x in inputs]
    want = value_and_grads(attention, wide, causal=causal)
    for got, right in zip(ours, want, strict=True):
        torch.testing.assert_close(got.double(), right, atol=3e-6, rtol=1e-5)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_errs_at_most_twice_as_much_as_torch(dtype, small_tiles):
    inputs = [x.to(dtype) for x in tensors(1, 1, 1, 5, 7, 4)]
    exact = value_and_grads(attention, [x.double() for x in inputs])
    theirs = value_and_grads(attention, inputs)
    ours = value_and_grads(launches.flash_attention, inputs)
    for got, plain, want in zip(ours, theirs, exact, strict=True):
        assert got.dtype == dtype
        assert (got - want).abs().max() <= 2 * (plain - want).abs().max()


def test_strided_tensors_give_the_same(small_tiles):
    query, key, value = tensors(1, 1, 1, 3, 5, 4)
    want = launches.flash_attention(query, key, value, scale=0.3)
    strided = [
        x.transpose(-1, -2).contiguous().transpose(-1, -2)
        for x in (query, key, value)
    ]
    assert not strided[0].is_contiguous()
    assert torch.equal(launches.flash_attention(*strided, scale=0.3), want)


def test_a_tensor_off_the_cpu_is_refused_by_name():
    query, key, value = (x.to("meta") for x in tensors(1, 1, 1, 3, 5, 4))
    with pytest.raises(ValueError, match="query: got a tensor on meta"):
        launches.flash_attention(query, key, value)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("causal", [False, True])
def test_both_executors_agree_to_the_last_bit(causal):
    query, key, value = tensors(1, 2, 1, 7, 5, 3)
    tiling = Tiling(3, 4, 2, 2)

    def run():
        out, lse = launches.flash_forward(
            query, key, value, causal, 0.4, tiling
        )
        grads = launches.flash_backward(
            query, key, value, out, lse, out, causal, 0.4, tiling
        )
        return (
            out,
            lse,
            *grads,
            *launches.naive_forward(query, key, value, causal, 0.4),
        )

    in_simulator = run()
    with launch.using(Trace()):
        traced = run()
    for ours, theirs in zip(traced, in_simulator, strict=True):
        assert torch.equal(ours, theirs)
