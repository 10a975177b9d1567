"""The CUDA kernels against plain attention, run by two executors.

Here they run in `Trace`, which also looks for races; the file `simulator.py`
runs the public function in numba's simulator, in a process of its own, and
its claims are counted at the end of this file.
"""

import types
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmnotes.cuda import launch
from llmnotes.cuda.trace import Trace
from llmnotes.kernels.flash_attention_cuda import (
    backward,
    kernels,
    launches,
)
from llmnotes.kernels.flash_attention_cuda.tiling import BLOCKS, Tiling
from llmnotes.transformer.attention import attention
from tests.simulated import claims

# batch, heads, kv_heads, queries, keys, head_dim
SHAPES = [
    (1, 1, 1, 1, 1, 8),
    (2, 3, 1, 5, 7, 4),
    (1, 6, 2, 9, 17, 5),
    (1, 2, 2, 19, 3, 7),
    (1, 1, 1, 26, 23, 8),
]
SMALL = (1, 2, 1, 11, 9, 3)
TILINGS = [
    (block_q, block_k, side)
    for side, rows in ((2, (2, 4)), (4, (4, 8, 16)))
    for block_q in rows
    for block_k in (side, 2 * side, 3 * side)
]


def tensors(batch, heads, kv_heads, queries, keys, head_dim, seed=0):
    torch.manual_seed(seed)
    return [
        torch.randn(batch, heads, queries, head_dim),
        torch.randn(batch, kv_heads, keys, head_dim),
        torch.randn(batch, kv_heads, keys, head_dim),
        torch.randn(batch, heads, queries, head_dim),
    ]


def top_left(query, key, causal):
    """The kernels' own mask: the public function makes lengths equal."""
    if not causal:
        return None
    return torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()


def plain(query, key, value, grad_out, causal, scale=None, dtype=None):
    """Output and gradients of the attention chapter, in float64."""
    mask = top_left(query, key, causal)
    inputs = [
        x.to(dtype or torch.float64).requires_grad_()
        for x in (query, key, value)
    ]
    out = attention(*inputs, mask=mask, scale=scale)
    return out, *torch.autograd.grad(out, inputs, grad_out.to(out.dtype))


def traced(query, key, value, grad_out, causal, tiling, scale):
    """Output and gradients of the kernels, and the trace of the run."""
    with launch.using(Trace()) as trace:
        out, lse = launches.flash_forward(
            query, key, value, causal, scale, tiling
        )
        grads = launches.flash_backward(
            query, key, value, out, lse, grad_out, causal, scale, tiling
        )
    return (out, *grads), trace


def assert_right(shape, causal, blocks):
    inputs = tensors(*shape)
    scale = shape[-1] ** -0.5
    ours, trace = traced(*inputs, causal, Tiling(shape[-1], *blocks), scale)
    for got, want in zip(ours, plain(*inputs, causal), strict=True):
        torch.testing.assert_close(got.double(), want, atol=3e-6, rtol=1e-5)
    assert trace.races == []


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_and_backward_equal_plain_attention(shape, causal):
    assert_right(shape, causal, (8, 4, 4))


@pytest.mark.sampled(6)
@pytest.mark.parametrize("blocks", TILINGS)
def test_every_block_size_gives_the_same(blocks):
    assert_right(SMALL, True, blocks)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_the_block_sizes_that_run_on_a_gpu(blocks):
    query, key, value, _ = tensors(1, 1, 1, 5, blocks[1] + 3, 3)
    with launch.using(Trace()) as trace:
        out, _ = launches.flash_forward(
            query, key, value, False, 0.5, Tiling(3, *blocks)
        )
    torch.testing.assert_close(out, attention(query, key, value, scale=0.5))
    assert trace.races == []


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(1, 10),
    st.integers(1, 10),
    st.integers(1, 5),
    st.booleans(),
)
def test_any_shape_equals_plain_attention(
    kv_heads, group, queries, keys, head_dim, causal
):
    shape = 1, kv_heads * group, kv_heads, queries, keys, head_dim
    assert_right(shape, causal, (4, 8, 4))


@pytest.mark.parametrize("causal", [False, True])
def test_naive_kernels_equal_plain_attention(causal):
    query, key, value, _ = tensors(2, 2, 1, 9, 7, 5)
    with launch.using(Trace()) as trace:
        out, weights = launches.naive_forward(query, key, value, causal, 0.3)
    mask = top_left(query, key, causal)
    want = attention(query, key, value, mask=mask, scale=0.3)
    torch.testing.assert_close(out, want)
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 9))
    assert trace.races == []


def test_logsumexp_is_that_of_the_scores():
    query, key, value, _ = tensors(*SMALL)
    with launch.using(Trace()):
        _, lse = launches.flash_forward(
            query, key, value, False, 0.7, Tiling(3, 8, 4, 4)
        )
    scores = query.double() @ key.double().transpose(-1, -2) * 0.7
    torch.testing.assert_close(lse.double(), scores.logsumexp(-1))


def test_scores_of_ten_thousand_stay_finite():
    query, key, value, grad = tensors(*SMALL)
    inputs = query * 1e2, key * 1e2, value, grad
    ours, _ = traced(*inputs, True, Tiling(3, 8, 4, 4), 1.0)
    want = plain(*inputs, True, scale=1.0)
    # exp of a score that is off by one rounding at 1e4 is off by 1e-3
    torch.testing.assert_close(ours[0].double(), want[0], atol=4e-3, rtol=0)
    assert all(x.isfinite().all() for x in ours)


def test_half_precision_errs_at_most_twice_as_much_as_torch():
    inputs = [x.half() for x in tensors(1, 2, 1, 24, 29, 8)]
    exact = plain(*inputs, True)
    torch16 = plain(*inputs, True, dtype=torch.float16)
    ours, _ = traced(*inputs, True, Tiling(8, 8, 8, 4), 8**-0.5)
    for got, theirs, want in zip(ours, torch16, exact, strict=True):
        assert got.dtype == torch.float16
        error = (got - want).abs().max()
        assert error <= 2 * (theirs - want).abs().max()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("position", [0, 6, 12])
def test_nan_reaches_only_the_queries_that_attend_to_it(position):
    query, key, value, grad = tensors(1, 2, 1, 13, 13, 5)
    tiling = Tiling(5, 8, 4, 4)
    clean, _ = traced(query, key, value, grad, True, tiling, 0.4)
    for poisoned in (key, value):
        kept = poisoned[..., position, :].clone()
        poisoned[..., position, :] = torch.nan
        (out, *_), _ = traced(query, key, value, grad, True, tiling, 0.4)
        poisoned[..., position, :] = kept
        before = out[..., :position, :]
        assert torch.equal(before, clean[0][..., :position, :])
        assert out[..., position:, :].isnan().all()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("position", [0, 6, 12])
def test_a_nan_gradient_reaches_only_the_keys_its_query_attended_to(position):
    query, key, value, grad = tensors(1, 2, 1, 13, 13, 5)
    grad[..., position, :] = torch.nan
    (_, dq, dk, dv), _ = traced(
        query, key, value, grad, True, Tiling(5, 8, 4, 4), 0.4
    )
    for later in (dk, dv):
        assert later[..., : position + 1, :].isnan().all()
        assert later[..., position + 1 :, :].isfinite().all()
    assert dq.isnan().any(-1).sum() == 2  # this query, in both heads


def test_every_result_is_written_once_and_by_one_block():
    query, key, value, grad = tensors(1, 4, 2, 11, 13, 5)
    _, trace = traced(query, key, value, grad, True, Tiling(5, 4, 4, 2), 0.4)
    results = query.numel() * 2 + key.numel() * 2  # O, dQ, dK, dV
    rows = 4 * 11
    assert trace.stores == results + 3 * rows  # L, and L and D side by side
    assert trace.races == []  # so the order of blocks cannot matter


def mutant(module, old, new, which=0):
    """A copy of a kernel module with one piece of its source replaced."""
    parts = Path(module.__file__).read_text().split(old)
    assert len(parts) > which + 1, f"{old!r} is not in {module.__name__}"
    source = old.join(parts[: which + 1]) + new + old.join(parts[which + 1 :])
    copy = types.ModuleType(module.__name__)
    copy.__file__ = module.__file__
    exec(compile(source, module.__file__, "exec"), copy.__dict__)
    return copy


def run_mutant(module, changed, monkeypatch):
    """Forward or backward with a changed module, beside the right result."""
    for name in ("flash_forward", "flash_backward_query"):
        if name in vars(changed):
            monkeypatch.setattr(module, name, vars(changed)[name])
    query, key, value, grad = tensors(*SMALL)
    want = plain(query, key, value, grad, True, scale=0.4)
    scores = query.double() @ key.double().transpose(-1, -2) * 0.4
    seen = torch.ones_like(scores, dtype=torch.bool).tril()
    lse = scores.masked_fill(~seen, -torch.inf).logsumexp(-1)
    options = True, 0.4, Tiling(3, 8, 4, 4)
    with launch.using(Trace()) as trace:
        if module is kernels:
            got = launches.flash_forward(query, key, value, *options)
            return got, (want[0], lse), trace
        for name in ("row_statistics", "flash_backward_key"):
            monkeypatch.setattr(module, name, vars(changed)[name])
        saved = query, key, value, want[0].float(), lse.float()
        got = launches.flash_backward(*saved, grad, *options)
        return got, want[1:], trace


BARRIERS = [
    (module, k)
    for module in (kernels, backward)
    for k in range(
        Path(module.__file__).read_text().count("cuda.syncthreads()")
    )
]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("module", "which"), BARRIERS)
def test_dropping_any_barrier_is_a_race(module, which, monkeypatch):
    changed = mutant(module, "cuda.syncthreads()", "pass", which)
    _, _, trace = run_mutant(module, changed, monkeypatch)
    assert trace.races


MISTAKES = [
    (kernels, "cells[i, j] *= scale", "cells[i, j] *= 1"),
    (kernels, "(causal and key > query)", "(causal and key >= query)"),
    (kernels, "(causal and key > query)", "False"),
    (kernels, "key >= corner[2] or", "False or"),
    (kernels, "total *= factor", "pass"),
    (kernels, "float32(math.exp(peak - new_peak))", "float32(1)"),
    (kernels, "end = min(end, after)", "end = min(end, after - 4)"),
    (kernels, "head // (query.shape[0] // key.shape[0])", "head"),
    (kernels, "peak + float32(math.log", "peak - float32(math.log"),
    (kernels, "float32(1) / total", "float32(1)"),
    (kernels, "+= left[row, k]", "-= left[row, k]"),
    (backward, "inside and (key <= query or not causal)", "inside"),
    (backward, "* scale - rows[row, 0]", "* scale + rows[row, 0]"),
    (backward, "rows[row, 1]) * scale", "rows[row, 1])"),
    (backward, "- rows[row, 1]", "+ rows[row, 1]"),
    (backward, "w_tile.T, g_tile", "s_tile.T, g_tile"),
    (backward, "(kv_head + 1) * group", "kv_head * group + 1"),
    (backward, "first_k // block_q * block_q", "first_k + block_k"),
    (backward, "delta += product", "delta = product"),
]


@pytest.mark.parametrize(
    "module", [kernels, backward], ids=["forward", "backward"]
)
def test_without_a_mistake_the_numbers_are_right(module, monkeypatch):
    got, want, _ = run_mutant(module, module, monkeypatch)
    for ours, right in zip(got, want, strict=True):
        torch.testing.assert_close(ours.double(), right, atol=3e-6, rtol=1e-5)


@pytest.mark.sampled(6)
@pytest.mark.parametrize(("module", "old", "new"), MISTAKES)
def test_a_planted_mistake_changes_the_numbers(module, old, new, monkeypatch):
    changed = mutant(module, old, new)
    try:
        got, want, _ = run_mutant(module, changed, monkeypatch)
    except IndexError:  # on a GPU it would read past the end
        return
    assert not all(
        torch.allclose(ours.double(), right, atol=3e-6, rtol=1e-5)
        for ours, right in zip(got, want, strict=True)
    )


SIMULATED = Path(__file__).with_name("simulator.py")


@pytest.mark.parametrize("claim", claims(SIMULATED))
def test_in_numbas_simulator(claim, outcomes):
    assert outcomes[SIMULATED, claim] == ""


def on_a_gpu(monkeypatch):
    monkeypatch.setattr(launch, "missing", lambda: None)


@pytest.mark.skipif(
    torch.cuda.is_available(), reason="this machine has what is missing"
)
def test_without_a_gpu_the_error_says_what_to_install():
    with pytest.raises(RuntimeError) as error:
        launches.flash_attention(*tensors(*SMALL)[:3])
    assert 'pip install "llmnotes[cuda]"' in str(error.value)
    assert "CUDA device" in str(error.value)


def test_without_numba_cuda_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"llmnotes\[cuda\]"):
        launches.flash_attention(*tensors(*SMALL)[:3])


def test_cpu_tensors_are_refused_by_name(monkeypatch):
    on_a_gpu(monkeypatch)
    with pytest.raises(ValueError, match="query: got a tensor on cpu"):
        launches.flash_attention(*tensors(*SMALL)[:3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, k, v: (q[0], k[0], v[0]), "query: got shape"),
        (lambda q, k, v: (q.double(), k.double(), v.double()), "float64"),
        (lambda q, k, v: (q, k, v[..., :2]), "value: got head_dim 2"),
        (lambda q, k, v: (q, k[..., :2], v), "key: got head_dim 2"),
        (lambda q, k, v: (q, k, v[:, :, :3]), "value: got key 3"),
        (lambda q, k, v: (q, k.half(), v), "key: got dtype torch.float16"),
        (lambda q, k, v: (q[:, :, :0], k, v), "query: got shape"),
        (lambda q, k, v: (q.repeat(1, 3, 1, 1), k[:, :0], v[:, :0]), "key"),
        (
            lambda q, k, v: [x.repeat(1, 1, 1, 43) for x in (q, k, v)],
            "query: got head_dim 129, expected at most 128",
        ),
    ],
)
def test_bad_input_is_named(change, message, monkeypatch):
    on_a_gpu(monkeypatch)
    with pytest.raises(ValueError, match=message):
        launches.flash_attention(*change(*tensors(*SMALL)[:3]))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((129, 16, 16), "head_dim: got 129"),
        ((0, 16, 16), "head_dim: got 0"),
        ((8, 24, 16), "block_q: got 24"),
        ((8, 16, 8), "block_k: got 8"),
        ((8, 8, 4, 2), "block_q: got 8, expected at most 4"),
    ],
)
def test_block_sizes_without_a_kernel_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        Tiling(*sizes)
