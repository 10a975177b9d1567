"""The fused operations against PyTorch's, forward and gradient."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st

from llmnotes.transformer import fused, fused_loops
from llmnotes.transformer.attention import attention
from llmnotes.transformer.gpt import GPT, GPTConfig
from llmnotes.transformer.rope import angles, rotate


def same(ours, theirs, *inputs):
    """Outputs and gradients; theirs is computed in float64."""
    wide = [x.detach().double().requires_grad_() for x in inputs]
    a, b = ours(*inputs), theirs(*wide)
    torch.testing.assert_close(a.double(), b, rtol=2e-5, atol=2e-5)
    upstream = torch.randn_like(a)
    for x, y in zip(
        torch.autograd.grad(a, inputs, upstream),
        torch.autograd.grad(b, wide, upstream.double()),
        strict=True,
    ):
        torch.testing.assert_close(x.double(), y, rtol=1e-4, atol=1e-4)


def random(*shape, seed=0):
    torch.manual_seed(seed)
    return torch.randn(*shape).requires_grad_()


def test_exp_is_right_to_the_last_bits_and_does_not_overflow():
    x = np.linspace(-87, 87, 4001, dtype=np.float32)
    got = np.array([fused_loops.exp(v) for v in x])
    want = np.exp(x.astype(np.float64))
    assert (abs(got / want - 1)).max() < 1e-5
    for extreme in (-1e30, 1e30, -math.inf):
        assert 0 <= fused_loops.exp(np.float32(extreme)) < math.inf


def test_gelu_and_its_gradient():
    x = torch.cat([torch.linspace(-9, 9, 301), torch.tensor([-1e4, 1e4])])
    same(
        fused.gelu,
        lambda x: F.gelu(x, approximate="tanh"),
        x.requires_grad_(),
    )


def test_squared_relu_and_its_gradient():
    same(fused.relu_squared, lambda x: F.relu(x) ** 2, random(3, 5, 7))


def reference_norm(x, weight):
    unit = F.rms_norm(x, x.shape[-1:], eps=float(fused_loops.EPS))
    return unit + weight * F.pad(unit, (0, 0, 1, 0))[:, :-1]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_rms_norm_mixes_in_the_row_before(length):
    same(fused.rms_norm, reference_norm, random(3, length, 7), random(7))


def test_the_row_before_never_comes_from_another_sequence():
    x = random(3, 5, 7).detach()
    whole = fused.rms_norm(x, torch.ones(7))
    for b in range(3):
        alone = fused.rms_norm(x[b : b + 1], torch.ones(7))
        torch.testing.assert_close(whole[b : b + 1], alone)


def reference_attend(z, heads, turn, unit):
    split = "b t (three h d) -> three b h t d"
    query, key, value = rearrange(z, split, three=3, h=heads)
    if unit:
        query, key = (
            F.rms_norm(x, x.shape[-1:], eps=float(fused_loops.EPS))
            for x in (query, key)
        )
    if turn is not None:
        query, key = (rotate(x, turn.double()) for x in (query, key))
    out = attention(query, key, value, causal=True)
    return rearrange(out, "b h t d -> b t (h d)")


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 3),
    st.integers(1, 19),
    st.integers(1, 3),
    st.sampled_from([2, 4, 6]),
    st.booleans(),
    st.booleans(),
)
def test_attend_equals_the_chapters_attention(
    batch, length, heads, width, unit, rope
):
    turn = angles(torch.arange(length), width) if rope else None
    same(
        lambda z: fused.attend(z, heads, turn, unit=unit),
        lambda z: reference_attend(z, heads, turn, unit),
        random(batch, length, 3 * heads * width),
    )


def test_large_scores_stay_finite():
    z = 100 * random(1, 5, 12)
    out = fused.attend(z, 2)
    (grad,) = torch.autograd.grad(out.sum(), z)
    assert out.isfinite().all() and grad.isfinite().all()


def test_strides_do_not_matter():
    z, x = random(5, 3, 12).transpose(0, 1), random(5, 3, 12).transpose(0, 1)
    torch.testing.assert_close(
        fused.attend(z, 2), fused.attend(z.contiguous(), 2)
    )
    for act in (fused.gelu, fused.relu_squared):
        torch.testing.assert_close(act(x), act(x.contiguous()))


def test_the_fused_gpt_is_the_same_model():
    torch.manual_seed(0)
    config = GPTConfig(23, n_positions=11, n_embd=12, n_layer=2, n_head=3)
    plain, quick = GPT(config), fused.FusedGPT(config)
    assert plain.state_dict().keys() == quick.state_dict().keys()
    with torch.no_grad():
        for p in plain.parameters():
            p.add_(0.1 * torch.randn_like(p))
    quick.load_state_dict(plain.state_dict())
    ids = torch.randint(23, (3, 9))
    a, b = plain(ids), quick(ids)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    upstream = torch.randn_like(a)
    for x, y in zip(
        torch.autograd.grad(a, list(plain.parameters()), upstream),
        torch.autograd.grad(b, list(quick.parameters()), upstream),
        strict=True,
    ):
        torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4)
