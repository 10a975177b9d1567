"""On a machine with a CUDA GPU: the kernels are right, then timed.

Run by `make bench-gpu`. Not run where no GPU is: no number of this file is
on a page until someone with a GPU writes it.
"""

import functools
import statistics

import pytest
import torch

from llmnotes.kernels.flash_attention_cuda import launches
from llmnotes.kernels.flash_attention_cuda.tiling import BLOCKS, Tiling
from llmnotes.transformer.attention import attention

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="needs a CUDA GPU"
    ),
]

# batch, heads, kv_heads, queries, keys, head_dim
SHAPES = [
    (1, 1, 1, 1, 1, 8),
    (2, 6, 2, 131, 67, 40),
    (1, 4, 1, 257, 300, 64),
    (2, 3, 3, 100, 513, 128),
]
SIZES = (512, 1024, 2048, 4096, 8192)


def tensors(batch, heads, kv_heads, queries, keys, d, dtype=torch.float32):
    torch.manual_seed(0)
    options = {"device": "cuda", "dtype": dtype}
    return [
        torch.randn(batch, heads, queries, d, **options),
        torch.randn(batch, kv_heads, keys, d, **options),
        torch.randn(batch, kv_heads, keys, d, **options),
    ]


def value_and_grads(function, inputs, **options):
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    out = function(*inputs, **options)
    torch.manual_seed(1)
    grad = torch.randn(out.shape).to(out)
    return out, *torch.autograd.grad(out, inputs, grad)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def bench_right_in_fp32(shape, causal):
    inputs = tensors(*shape)
    ours = value_and_grads(launches.flash_attention, inputs, causal=causal)
    wide = [x.double() for x in inputs]
    want = value_and_grads(attention, wide, causal=causal)
    for got, right in zip(ours, want, strict=True):
        torch.testing.assert_close(got.double(), right, atol=5e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES[1:])
def bench_low_precision_errs_at_most_twice_as_much(shape, dtype):
    inputs = tensors(*shape, dtype=dtype)
    ours = value_and_grads(launches.flash_attention, inputs, causal=True)
    theirs = value_and_grads(attention, inputs, causal=True)
    wide = [x.double() for x in inputs]
    exact = value_and_grads(attention, wide, causal=True)
    for got, plain, want in zip(ours, theirs, exact, strict=True):
        assert (got - want).abs().max() <= 2 * (plain - want).abs().max()


@pytest.mark.parametrize("blocks", BLOCKS)
def bench_right_for_every_block_size(blocks):
    query, key, value = tensors(1, 4, 2, 131, 150, 32)
    tiling = Tiling(32, *blocks)
    out, _ = launches.flash_forward(query, key, value, True, 0.2, tiling)
    first = torch.ones(131, 150, dtype=torch.bool, device="cuda").tril()
    want = attention(query, key, value, mask=first, scale=0.2)
    torch.testing.assert_close(out, want, atol=5e-5, rtol=1e-4)


def bench_gradients_are_the_same_bits_every_time():
    inputs = tensors(1, 8, 2, 700, 700, 64)
    first = value_and_grads(launches.flash_attention, inputs, causal=True)
    again = value_and_grads(launches.flash_attention, inputs, causal=True)
    assert all(map(torch.equal, first, again))


def bench_runs_on_the_current_stream():
    inputs = tensors(1, 2, 2, 200, 200, 64)
    want = launches.flash_attention(*inputs)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        doubled = [2 * x for x in inputs]  # ready only after the sleep
        late = launches.flash_attention(
            doubled[0] / 2, doubled[1] / 2, doubled[2] / 2
        )
    stream.synchronize()
    assert torch.equal(late, want)


def milliseconds(function, rounds=20):
    """Median time between two events around a call, after warming up."""
    times = []
    for _ in range(3):
        function()
    for _ in range(rounds):
        start = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        start.record()
        function()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def naive(query, key, value):
    """The three naive kernels, without the matrix they leave."""
    scale = query.shape[-1] ** -0.5
    return launches.naive_forward(query, key, value, True, scale)[0]


def sdpa(query, key, value):
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True
    )


def flash(query, key, value):
    return launches.flash_attention(query, key, value, causal=True)


def both_ways(function, inputs):
    """A call of forward and backward."""
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    grad = torch.ones_like(inputs[0])
    return lambda: torch.autograd.grad(function(*inputs), inputs, grad)


@pytest.mark.timing
def bench_time_on_the_gpu(record):
    rows = []
    for dtype in (torch.float32, torch.float16):
        name = str(dtype).removeprefix("torch.")
        for n in SIZES:
            inputs = tensors(1, 8, 8, n, n, 64, dtype)
            right = sdpa(*inputs)
            methods = {"naive": naive, "flash": flash, "SDPA": sdpa}
            for method, function in methods.items():
                torch.testing.assert_close(
                    function(*inputs), right, atol=1e-2, rtol=1e-2
                )
                call = functools.partial(function, *inputs)
                forward = milliseconds(call)
                rows.append([name, n, "forward", method, forward])
                if method != "naive":
                    both = milliseconds(both_ways(function, inputs))
                    rows.append(
                        [name, n, "forward and backward", method, both]
                    )
    record(
        "time",
        kind="timing",
        title="Our CUDA kernels beside torch's on a GPU",
        prediction=(
            "SDPA uses tensor cores in fp16 and wins by an order of "
            "magnitude; in fp32 flash lies within a few times of it, and "
            "naive falls behind as N² numbers pass through memory."
        ),
        gpu=torch.cuda.get_device_name(),
        seed=0,
        columns={
            "dtype": "",
            "n": "tokens",
            "direction": "",
            "method": "",
            "milliseconds": "ms",
        },
        labels={"n": "sequence length N", "milliseconds": "time"},
        rows=rows,
    )
