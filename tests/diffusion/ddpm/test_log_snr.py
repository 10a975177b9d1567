"""γ as a function of time: ends, slopes, and times that are spread."""

import math

import pytest
import torch

from llmnotes.diffusion.ddpm.log_snr import (
    CosineGamma,
    Gamma,
    LearnedGamma,
    LinearBeta,
    alpha_sigma,
    spread_times,
)

T = torch.linspace(0, 1, 41, dtype=torch.float64)


def learned(first=-7.0, last=5.0):
    gamma = LearnedGamma(first, last, stairs=9)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        gamma.heights.copy_(3 * torch.randn(9, generator=draw))
    return gamma


ALL = {
    "line": Gamma(-7.0, 5.0), "cosine": CosineGamma(-7.0, 5.0),
    "beta": LinearBeta(-7.0, 5.0), "learned": learned(),
}  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_noise_grows_from_one_end_to_the_other(name):
    gamma = ALL[name](T).detach()
    assert gamma[0].item() == pytest.approx(-7)
    assert gamma[-1].item() == pytest.approx(5)
    assert (gamma.diff() > 0).all()


@pytest.mark.parametrize("name", ALL)
def test_the_slope_is_the_derivative(name):
    t = T[1:-1].clone().requires_grad_()
    (slope,) = torch.autograd.grad(ALL[name](t).sum(), t)
    found = ALL[name].slope(t).detach()
    torch.testing.assert_close(found, slope, rtol=1e-6, atol=1e-6)


def test_a_learned_one_begins_nearly_as_a_line():
    gamma = LearnedGamma(-7.0, 5.0)
    away = (gamma(T).detach() - ALL["line"](T)).abs().max()
    assert float(away) < 0.4


def test_curves_are_what_they_are_called():
    t = T[1:-1]
    cosine, beta = ALL["cosine"], ALL["beta"]
    alpha = torch.sigmoid(-cosine(t)).sqrt()
    angles = torch.arccos(alpha) / (math.pi / 2)
    torch.testing.assert_close(angles, cosine.along(t))
    roots = (-torch.sigmoid(-beta(t)).log()).sqrt()
    steps = roots.diff()
    torch.testing.assert_close(steps, steps[:1].expand_as(steps))


def test_the_picture_and_the_noise_share_the_variance():
    gamma = torch.tensor([-3.0, 0.0, 4.0])
    alpha, sigma = alpha_sigma(gamma, torch.zeros(3, 2, 5))
    assert alpha.shape == sigma.shape == (3, 1, 1)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(3, 1, 1))
    ratio = (sigma / alpha).square().log().flatten()
    torch.testing.assert_close(ratio, gamma)


def test_spread_times_leave_no_gap_and_each_is_uniform():
    draw = torch.Generator().manual_seed(0)
    times = torch.stack([spread_times(7, draw) for _ in range(4000)])
    assert (times >= 0).all() and (times < 1).all()
    gaps = times.sort(1).values.diff(dim=1)
    torch.testing.assert_close(gaps, torch.full_like(gaps, 1 / 7))
    tenths = (times[:, 3] * 10).long().bincount(minlength=10) / 4000
    assert float((tenths - 0.1).abs().max()) < 0.02


@pytest.mark.parametrize("kind", [Gamma, CosineGamma, LinearBeta])
def test_refuses_ends_the_wrong_way_round(kind):
    with pytest.raises(ValueError, match="last: got -8.0, expected more"):
        kind(6.0, -8.0)
