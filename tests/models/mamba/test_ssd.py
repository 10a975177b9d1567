"""A recurrence, a masked matrix and chunks: one map."""

from functools import partial

import pytest
import torch

from llmnotes.models.mamba import scan, ssd
from tests.models.mamba.tiny import graded, inputs


def heads(length, batch=2, count=3, width=5, size=4, dtype=torch.float64):
    """x, fade, B and C."""
    draws = torch.Generator().manual_seed(length)

    def normal(*shape):
        found = torch.randn(batch, count, length, *shape, generator=draws)
        return found.to(dtype)

    return normal(width), -normal().exp(), normal(size), normal(size)


def close(found, expected, bound=1e-10):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=bound, atol=bound)


@pytest.mark.parametrize("length", [1, 2, 7, 16, 21])
def test_the_masked_matrix_is_the_loop(length):
    given = heads(length)
    found = graded(ssd.matrix, given)
    expected = graded(lambda *x: ssd.loop(*x)[0], given)
    close(found, expected)


@pytest.mark.parametrize("chunk", [*range(1, 23), 64])
def test_chunks_of_every_size_are_the_loop(chunk):
    given, start = heads(21), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    for more in ({}, dict(start=start)):
        found = graded(partial(ssd.chunked, chunk=chunk), given, **more)
        close(found, graded(ssd.loop, given, **more))


def test_gradients_are_those_of_finite_differences():
    given = [part.requires_grad_() for part in heads(4, 1, 1, 2, 2)]
    for form in (ssd.loop, ssd.matrix, partial(ssd.chunked, chunk=2)):
        assert torch.autograd.gradcheck(form, given)


def test_it_is_the_selective_scan_of_channels_that_fade_alike():
    x, delta, A, B, C = inputs(13, width=6, size=4)
    A = A[:1, :1].expand_as(A)  # one A
    delta = delta[..., :1].expand_as(delta)  # one Δ for each token
    y, state = scan.selective_scan(x, delta, A, B, C)
    fade = delta[:, None, :, 0] * A[0, 0]
    part = (delta * x)[:, None], fade, B[:, None], C[:, None]
    for form in (ssd.loop, partial(ssd.chunked, chunk=4)):
        found, last = form(*part)
        close([found[:, 0], last[:, 0].mT], [y, state])


def test_by_hand():
    x = torch.tensor([1.0, 2.0, 4.0])[None, None, :, None]
    fade = torch.tensor([0.0, 0.5, 0.25]).log()[None, None]
    one = torch.ones(1, 1, 3, 1)
    mask = ssd.segments(fade).exp()[0, 0]
    assert mask.tolist() == [
        [1, 0, 0],
        [0.5, 1, 0],
        [0.125, 0.25, 1],
    ]
    assert ssd.matrix(x, fade, one, one).flatten().tolist() == [1, 2.5, 4.625]


def test_minus_infinity_empties_the_state():
    x, fade, B, C = heads(12, 1)
    fade[..., [0, 5, 6]] = -torch.inf
    forms = [ssd.loop, *(partial(ssd.chunked, chunk=c) for c in (1, 4, 5, 12))]
    for form in forms:
        y, last = form(x, fade, B, C)
        for low, high in ((0, 5), (5, 6), (6, 12)):
            part = [one[:, :, low:high] for one in (x, fade, B, C)]
            alone, state = form(*part)
            close([y[:, :, low:high]], [alone])
        close([last], [state])
    close([ssd.matrix(x, fade, B, C)], [y])
    found = graded(partial(ssd.chunked, chunk=4), (x, fade, B, C))
    assert all(part.isfinite().all() for part in found)


def divided(x, fade):
    """The form that is often proposed: eˢ·Σ x·e⁻ˢ, with s the sum of fades.

    Exact on paper, and of two factors of which one overflows.
    """
    sums = fade.cumsum(-1)
    return sums.exp() * (x * torch.exp(-sums)).cumsum(-1)


def test_what_divides_by_decays_overflows_and_ours_does_not():
    x, length = torch.randn(256), 256
    fade = torch.full((length,), -0.5)
    naive = divided(x, fade)
    expected = divided(x.double()[:100], fade.double()[:100])
    one = torch.ones(1, 1, length, 1)
    given = x[None, None, :, None], fade[None, None], one, one
    right, _ = ssd.loop(*(part.double() for part in given))
    torch.testing.assert_close(right[0, 0, :100, 0], expected)  # same maths
    assert (~naive.isfinite()).sum() > 70
    forms = ssd.matrix(*given), ssd.chunked(*given)[0], ssd.loop(*given)[0]
    for ours in forms:
        torch.testing.assert_close(ours.double(), right, rtol=0, atol=1e-5)


def test_a_difference_of_long_sums_would_lose_its_digits():
    fade = torch.full((4096,), -0.5)
    fade[-1] = -1e-3
    sums = fade.cumsum(-1)
    lost = (sums[-1] - sums[-2]).item()
    assert abs(lost / -1e-3 - 1) > 0.01
    kept = ssd.segments(fade[-64:])[-1, -2].item()
    assert kept == pytest.approx(-1e-3, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_are_rounded_once(dtype):
    given = heads(20, dtype=dtype)
    wide = [part.float() for part in given]
    for form in (ssd.loop, ssd.chunked):
        y, state = form(*given)
        assert torch.equal(y, form(*wide)[0].to(dtype))
        assert state.dtype == torch.float32


def test_what_does_not_fit_is_named():
    x, fade, B, C = heads(6)
    with pytest.raises(ValueError, match="chunk: got 0, expected at least 1"):
        ssd.chunked(x, fade, B, C, chunk=0)
    for form in (ssd.loop, ssd.matrix, ssd.chunked):
        with pytest.raises(ValueError, match="fade: got 0.5, expected none a"):
            form(x, fade.abs().fill_(0.5), B, C)
        with pytest.raises(
            ValueError, match="B: got length 5, expected x's 6"
        ):
            form(x, fade, B[:, :, 1:], C)
        with pytest.raises(ValueError, match="C: got state 2, expected B's 4"):
            form(x, fade, B, C[..., :2])
        with pytest.raises(
            ValueError, match="fade: got heads 1, expected x's"
        ):
            form(x, fade[:, :1], B, C)
