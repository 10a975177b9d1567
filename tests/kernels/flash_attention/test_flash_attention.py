"""What the FlashAttention chapter claims of its torch and CPU versions."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from llmnotes.kernels.flash_attention import cpu, reference
from llmnotes.transformer.attention import attention, causal_mask

ROOT = Path(__file__).parents[3]
# batch, heads, kv_heads, queries, keys, head_dim, value_dim
SHAPES = [
    (2, 6, 3, 37, 53, 17, 11),
    (1, 4, 1, 53, 37, 5, 19),
    (3, 2, 2, 1, 70, 1, 2),
    (1, 3, 3, 130, 97, 80, 16),
    (2, 4, 2, 65, 193, 33, 64),
    (1, 2, 1, 96, 1, 128, 3),
]
SHAPE = SHAPES[0]
BOUNDARIES = [
    (queries, keys)
    for queries in (1, cpu.BLOCK_Q - 1, cpu.BLOCK_Q, cpu.BLOCK_Q + 1)
    for keys in (1, cpu.BLOCK_K - 1, cpu.BLOCK_K, cpu.BLOCK_K + 1, 197)
]


@pytest.fixture(params=[reference, cpu], ids=["reference", "cpu"])
def flash(request):
    return request.param.flash_attention


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def tensors(shape, dtype=torch.float32, seed=0):
    """Query, key, value and a gradient for the output."""
    batch, heads, kv_heads, queries, keys, width, depth = shape
    torch.manual_seed(seed)
    q = torch.randn(batch, heads, queries, width, dtype=dtype)
    k = torch.randn(batch, kv_heads, keys, width, dtype=dtype)
    v = torch.randn(batch, kv_heads, keys, depth, dtype=dtype)
    do = torch.randn(batch, heads, queries, depth, dtype=dtype)
    return q, k, v, do


def forward_backward(function, q, k, v, do, **options):
    """The output and the gradients of query, key and value."""
    inputs = [x.detach().requires_grad_() for x in (q, k, v)]
    out = function(*inputs, **options)
    return out.detach(), *torch.autograd.grad(out, inputs, do.to(out.dtype))


def exact(q, k, v, do, **options):
    """The attention chapter's output and gradients, in float64."""
    q, k, v, do = (x.double() for x in (q, k, v, do))
    return forward_backward(attention, q, k, v, do, **options)


def distance(x, y):
    """Largest difference, relative to the largest of y's numbers and 1."""
    return ((x.double() - y).abs().max() / y.abs().max().clamp(1)).item()


def assert_close(found, wanted, tolerance=2e-6):
    names = ("output", "dquery", "dkey", "dvalue")
    for name, x, y in zip(names, found, wanted, strict=True):
        assert x.shape == y.shape
        assert distance(x, y) < tolerance, name


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_attention_forward_and_gradient(flash, shape, causal):
    inputs = tensors(shape)
    found = forward_backward(flash, *inputs, causal=causal)
    assert_close(found, exact(*inputs, causal=causal))


@pytest.mark.parametrize("causal", [False, True])
def test_equals_torch_forward_and_gradient(flash, causal):
    inputs = tensors(SHAPE)
    found = forward_backward(flash, *inputs, causal=causal, scale=0.3)
    mask = causal_mask(inputs[0].shape[2], inputs[1].shape[2])
    wanted = forward_backward(
        F.scaled_dot_product_attention,
        *(x.double() for x in inputs),
        attn_mask=mask if causal else None,
        scale=0.3,
        enable_gqa=True,
    )
    assert_close(found, wanted)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("queries", "keys"), BOUNDARIES)
def test_a_length_next_to_a_block_boundary_is_no_special_case(
    queries, keys, causal
):
    inputs = tensors((1, 2, 1, queries, keys, 8, 7))
    found = forward_backward(cpu.flash_attention, *inputs, causal=causal)
    assert_close(found, exact(*inputs, causal=causal))


@pytest.mark.parametrize("kv_heads", [1, 2, 3, 6])
def test_neighbouring_heads_share_a_key_head(flash, kv_heads):
    inputs = tensors((2, 6, kv_heads, 21, 34, 5, 9))
    assert_close(forward_backward(flash, *inputs), exact(*inputs))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("block_q", [1, 2, 3, 5, 11, 64])
@pytest.mark.parametrize("block_k", [1, 2, 4, 13, 64])
def test_no_block_size_changes_the_result(block_q, block_k, causal):
    q, k, v, do = tensors((2, 4, 2, 11, 13, 7, 5), torch.float64)
    options = {"causal": causal, "scale": 0.4}
    wanted = exact(q, k, v, do, **options)
    options |= {"block_q": block_q, "block_k": block_k}
    q, k, v = reference.grouped(q, k, v)
    o, lse = reference.forward(q, k, v, **options)
    do = do.view_as(o)
    grads = reference.backward(q, k, v, o, lse, do, **options)
    found = [x.flatten(1, 2) for x in (o, *grads)]
    assert_close(found, wanted, tolerance=1e-14)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("block_q", [1, 3, 8, 64])
@pytest.mark.parametrize("block_k", [1, 5, 8, 64])
def test_both_loop_orders_give_the_same(block_q, block_k, causal):
    grouped = reference.grouped(
        *tensors((2, 4, 2, 11, 13, 7, 5), torch.float64)[:3]
    )
    options = {"causal": causal, "scale": 0.4}
    options |= {"block_q": block_q, "block_k": block_k}
    o, lse = reference.forward(*grouped, **options)
    o_1, lse_1 = reference.forward_keys_outside(*grouped, **options)
    torch.testing.assert_close(o, o_1, rtol=0, atol=1e-14)
    torch.testing.assert_close(lse, lse_1, rtol=0, atol=1e-14)


@pytest.mark.parametrize("causal", [False, True])
def test_the_saved_row_is_the_logsumexp_of_the_scores(causal):
    q, k, v, _ = tensors((2, 4, 2, 70, 101, 16, 32))
    scores = 0.4 * q.double() @ k.repeat_interleave(2, 1).double().mT
    if causal:
        scores.masked_fill_(~causal_mask(70, 101), -torch.inf)
    wanted = scores.logsumexp(-1)
    grouped = reference.grouped(q, k, v)
    _, lse = reference.forward(*grouped, causal=causal, scale=0.4)
    assert distance(lse.flatten(1, 2), wanted) < 1e-6
    out = cpu.FlashAttention.apply(q.requires_grad_(), k, v, causal, 0.4)
    lse_in_base_2 = out.grad_fn.saved_tensors[-1]
    assert distance(lse_in_base_2 * math.log(2), wanted) < 1e-6


@pytest.mark.parametrize("causal", [False, True])
def test_gradient_is_the_slope(causal):
    inputs = tensors((1, 4, 2, 5, 7, 3, 2), torch.float64)[:3]
    assert torch.autograd.gradcheck(
        lambda *x: reference.flash_attention(*x, causal=causal),
        [x.requires_grad_() for x in inputs],
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_errs_at_most_twice_as_much_as_torch(
    flash, dtype, causal
):
    inputs = tensors((2, 6, 3, 67, 131, 40, 24), dtype)
    wanted = exact(*inputs, causal=causal)
    plain = forward_backward(attention, *inputs, causal=causal)
    found = forward_backward(flash, *inputs, causal=causal)
    for ours, theirs, truth in zip(found, plain, wanted, strict=True):
        assert ours.dtype == dtype
        assert distance(ours, truth) <= 2 * distance(theirs, truth)


def test_scores_of_ten_thousand_neither_overflow_nor_vanish(flash):
    q, k, v, do = tensors((1, 2, 1, 70, 110, 2, 3))
    q[..., 0], k[..., 0] = 100, 100 * k[..., 0].sign()  # scores ±1e4 + O(1)
    found = forward_backward(flash, q, k, v, do, scale=1.0)
    # Near 1e4 one float32 step is 1e-3, and so is the error of a weight.
    assert_close(found, exact(q, k, v, do, scale=1.0), tolerance=5e-3)


def test_changing_the_future_changes_nothing(flash):
    q, k, v, do = tensors((1, 2, 1, 140, 140, 8, 5))
    before = forward_backward(flash, q, k, v, do, causal=True)
    now = 101
    k[:, :, now:] += 1
    v[:, :, now:] += 1
    after = forward_backward(flash, q, k, v, do, causal=True)
    for x, y in zip(before[:2], after[:2], strict=True):
        assert torch.equal(x[:, :, :now], y[:, :, :now])
        assert not torch.equal(x[:, :, now:], y[:, :, now:])


@pytest.mark.parametrize("now", [1, 7, 64, 99])
def test_a_bad_number_in_the_future_is_not_seen(flash, now):
    q, k, v, do = tensors((1, 2, 1, 140, 140, 8, 5))
    clean = forward_backward(flash, q, k, v, do, causal=True)
    k[:, :, now], v[:, :, now] = torch.nan, torch.nan
    found = forward_backward(flash, q, k, v, do, causal=True)
    for x, y in zip(clean[:2], found[:2], strict=True):
        assert torch.equal(x[:, :, :now], y[:, :, :now])
        assert y[:, :, now:].isnan().all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_bad_value_reaches_every_query_that_sees_it(flash, bad):
    q, k, v, _ = tensors((1, 2, 1, 40, 70, 8, 5))
    v[:, :, 50, 2] = bad
    out = flash(q, k, v)
    assert not out[..., 2].isfinite().any()
    assert out[..., [0, 1, 3, 4]].isfinite().all()


@pytest.mark.parametrize("now", [0, 6, 63, 100])
def test_a_bad_query_or_gradient_reaches_only_the_keys_it_sees(flash, now):
    q, k, v, do = tensors((1, 2, 1, 140, 140, 8, 5))
    clean = forward_backward(flash, q, k, v, do, causal=True)
    q[:, :, now], do[:, :, now] = torch.nan, torch.nan
    found = forward_backward(flash, q, k, v, do, causal=True)
    for x, y in zip(clean[:2], found[:2], strict=True):
        rest = torch.arange(140) != now
        assert torch.equal(x[:, :, rest], y[:, :, rest])
        assert y[:, :, now].isnan().all()
    for x, y in zip(clean[2:], found[2:], strict=True):
        assert torch.equal(x[:, :, now + 1 :], y[:, :, now + 1 :])
        assert y[:, :, : now + 1].isnan().all()


def test_layout_in_memory_does_not_matter(flash):
    q, k, v, do = tensors(SHAPE)
    wanted = forward_backward(flash, q, k, v, do)
    strided = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k)]
    every_second = v.repeat_interleave(2, -1)[..., ::2]
    found = forward_backward(flash, *strided, every_second, do)
    for x, y in zip(found, wanted, strict=True):
        assert torch.equal(x, y)


def test_a_gradient_without_memory_of_its_own_works(flash):
    q, k, v, do = tensors(SHAPE)
    one = torch.ones(()).expand_as(do)
    found = forward_backward(flash, q, k, v, one)
    assert_close(found, exact(q, k, v, one))


@pytest.mark.parametrize("workers", [1, 3, 5])
@pytest.mark.parametrize("heads", [(1, 1), (4, 2), (6, 3)])
def test_any_number_of_cores_gives_the_same(threads, workers, heads):
    inputs = tensors((1, *heads, 200, 300, 16, 32))
    threads(2)
    wanted = forward_backward(cpu.flash_attention, *inputs, causal=True)
    threads(workers)
    found = forward_backward(cpu.flash_attention, *inputs, causal=True)
    assert torch.equal(found[0], wanted[0])
    assert_close(found, exact(*inputs, causal=True))


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any tensor made inside has."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for x in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(x, torch.Tensor):
                self.elements = max(self.elements, x.numel())
        return result


class Stores(TorchDispatchMode):
    """Remembers what memory was asked for, of at least so many bytes."""

    def __init__(self, least):
        super().__init__()
        self.least, self.places = least, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            store = result.untyped_storage()
            if store.nbytes() >= self.least:
                self.places.add(store.data_ptr())
        return result


def test_the_output_is_written_once_and_not_copied(flash):
    q, k, v, _ = tensors((1, 2, 2, 300, 310, 64, 64))
    with Stores(q.nbytes) as stores:
        out = flash(q, k, v, causal=True)
    inputs = {x.untyped_storage().data_ptr() for x in (q, k, v)}
    assert stores.places - inputs == {out.untyped_storage().data_ptr()}


def test_no_tensor_is_as_large_as_the_scores(flash, threads):
    threads(2)
    inputs = tensors((1, 1, 1, 700, 600, 16, 16))
    with LargestTensor() as plain:
        forward_backward(attention, *inputs)
    with LargestTensor() as ours:
        forward_backward(flash, *inputs)
    assert plain.elements >= 700 * 600
    assert ours.elements < 700 * 600 / 15


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 2),
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    queries=st.integers(1, 150),
    keys=st.integers(1, 220),
    width=st.integers(1, 70),
    depth=st.integers(1, 70),
    causal=st.booleans(),
    scale=st.none() | st.floats(-1, 1),
)
def test_any_shape_works(
    batch, kv_heads, group, queries, keys, width, depth, causal, scale
):
    inputs = tensors(
        (batch, kv_heads * group, kv_heads, queries, keys, width, depth)
    )
    wanted = exact(*inputs, causal=causal, scale=scale)
    for backend in (reference, cpu):
        found = forward_backward(
            backend.flash_attention, *inputs, causal=causal, scale=scale
        )
        # A gradient may be 0 but for rounding: then compare to the terms.
        for x, y in zip(found, wanted, strict=True):
            torch.testing.assert_close(x.double(), y, rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    which=st.integers(0, 2),
    axis=st.integers(0, 3),
    size=st.integers(0, 7),
)
def test_sizes_that_do_not_fit_are_refused_by_name(which, axis, size):
    inputs = [torch.ones(2, 4, 5, 3), *(torch.ones(2, 2, 6, 3),) * 2]
    shape = list(inputs[which].shape)
    fits = {
        "query": {1: (2, 4, 6), 2: range(1, 8)},
        "key": {},
        "value": {3: range(1, 8)},
    }
    name = ("query", "key", "value")[which]
    good = {shape[axis], *fits[name].get(axis, ())}
    assume(size not in good)
    shape[axis] = size
    inputs[which] = torch.ones(shape)
    for backend in (reference, cpu):
        with pytest.raises(ValueError, match=r"(query|key|value): got .* exp"):
            backend.flash_attention(*inputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, k, v: (q[0], k[0], v[0]), "query: got shape"),
        (lambda q, k, v: (q, k.half(), v), "key: got dtype torch.float16"),
        (lambda q, k, v: (q.int(), k.int(), v.int()), "query: got torch.int"),
        (lambda q, k, v: (q, k, v.to("meta")), "value: got device meta"),
    ],
)
def test_other_bad_input_is_refused_by_name(flash, change, message):
    q, k, v, _ = tensors(SHAPE)
    with pytest.raises(ValueError, match=message):
        flash(*change(q, k, v))


def test_the_cpu_kernel_refuses_float64():
    with pytest.raises(ValueError, match="query: got torch.float64"):
        cpu.flash_attention(*tensors(SHAPE, torch.float64)[:3])


@pytest.mark.parametrize("size", [0, -3])
def test_a_block_without_rows_is_refused(size):
    grouped = reference.grouped(*tensors(SHAPE)[:3])
    with pytest.raises(ValueError, match="block size: got"):
        reference.forward(*grouped, causal=False, scale=1.0, block_k=size)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("features", [{"avx2": True}, {}], ids=str)
def test_narrower_registers_give_the_same(features):
    program = f"""
import llvmlite.binding as llvm
import torch
real = llvm.get_host_cpu_features()
class Narrow(dict):  # numba itself asks for the flattened form
    flatten = staticmethod(real.flatten)
llvm.get_host_cpu_features = lambda: Narrow({features})
from llmnotes.kernels.flash_attention import cpu
from llmnotes.kernels.gemm import tiles
from llmnotes.transformer.attention import attention
assert tiles.LANES < 16
torch.manual_seed(0)
q, k, v = (torch.randn(1, 2, n, 21) for n in (133, 201, 201))
error = cpu.flash_attention(q, k, v, causal=True) - attention(
    q, k, v, causal=True
)
assert error.abs().max() < 1e-5
"""
    # What is kept for wide registers is not for narrow ones.
    kept = ROOT / "build/narrow" / "-".join(["to", *features])
    env = os.environ | {"NUMBA_CACHE_DIR": str(kept)}
    subprocess.run([sys.executable, "-c", program], check=True, env=env)


def test_after_every_block_the_output_is_the_softmax_so_far():
    torch.manual_seed(0)
    s, v = torch.randn(3, 11).double() * 5, torch.randn(11, 4).double()
    m = torch.full((3, 1), -torch.inf, dtype=torch.float64)
    ell, acc = torch.zeros_like(m), torch.zeros(3, 4, dtype=torch.float64)
    for columns in reference.blocks(11, 3):
        seen = torch.ones_like(s[:, columns], dtype=torch.bool)
        m, ell, acc = reference.online_softmax(
            m, ell, acc, s[:, columns], v[columns], seen
        )
        so_far = slice(columns.stop)
        torch.testing.assert_close(
            acc / ell, s[:, so_far].softmax(-1) @ v[so_far]
        )
