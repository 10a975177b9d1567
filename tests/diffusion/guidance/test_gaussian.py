"""What guidance does to Gaussians, against the equation it solves."""

import pytest
import torch

from llmnotes.diffusion.ddpm import Schedule, cosine
from llmnotes.diffusion.guidance import (
    ClassifierFree,
    GaussianDenoiser,
    Normal,
    drawn,
    drawn_with_noise,
    tilted,
)
from llmnotes.diffusion.guidance.gaussian import legendre

U, C = Normal(0.0, 1.0), Normal(0.0, 0.5)
PROTOTYPE = {2: (0.25, 0.378), 4: (0.0625, 0.277), 8: (0.0039, 0.200)}
CASES = [
    (Normal(0.3, 1.3), Normal(1.1, 0.6), 3.7),
    (Normal(-0.5, 0.7), Normal(0.4, 1.4), 1.8),
    (Normal(0.0, 1.0), Normal(1.0, 1.0), 5.0),
    (Normal(1.0, 0.9), Normal(-2.0, 0.4), 0.3),
    (Normal(0.2, 1.1), Normal(0.9, 0.5), -1.0),
]


def sampled(without, with_, scale, steps=1500, last=1e4):
    """Mean and spread by Heun's steps along dz/dk, from k = last to 0.

    Its solution is a line in where it begins, so two beginnings tell all.
    """
    ratio = (1e-4 / last) ** (1 / steps)

    def slope(z, k):
        parts = zip((1 - scale, scale), (without, with_), strict=True)
        return sum(w * k * (z - n.mean) / (n.std**2 + k**2) for w, n in parts)

    def end(z, k=last):
        for _ in range(steps):
            step, first = k * ratio - k, slope(z, k)
            z += step * (first + slope(z + step * first, k * ratio)) / 2
            k *= ratio
        return z

    return end(0.0), end(last) - end(0.0)


@pytest.mark.parametrize(("scale", "stds"), PROTOTYPE.items())
def test_three_scales_by_hand(scale, stds):
    """σ_c = ½, σ_u = 1: ½^s is drawn, 1/√(1 + 3 s) would be the tilted."""
    assert drawn(U, C, scale).std == pytest.approx(stds[0], rel=0.01)
    assert tilted(U, C, scale).std == pytest.approx(stds[1], rel=0.01)
    assert tilted(U, C, scale).std == pytest.approx((1 + 3 * scale) ** -0.5)


@pytest.mark.parametrize(("without", "with_", "scale"), CASES)
def test_the_law_is_where_a_fine_ode_ends(without, with_, scale):
    mean, std = sampled(without, with_, scale)
    law = drawn(without, with_, scale)
    assert law.std == pytest.approx(std, rel=1e-3)
    assert law.mean == pytest.approx(mean, rel=1e-3, abs=1e-3)


def test_the_samplers_own_denoiser_obeys_it():
    """DDIM's step, written out here, on 250 levels."""
    scale, with_ = 2.0, Normal(0.6, 0.5)
    schedule = Schedule(cosine(250))
    guided = ClassifierFree(GaussianDenoiser(schedule, U), scale)
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    pair = tuple(torch.full_like(x, value) for value in with_)
    for step in range(250, 0, -1):
        t = torch.full((2,), step)
        x0, noise = guided.data(x, t, pair), guided.noise(x, t, pair)
        x = schedule.noisy(x0, t - 1, noise)
    law = drawn(U, with_, scale)
    assert (x[1] - x[0]).item() == pytest.approx(law.std, rel=0.015)
    assert x[0].item() == pytest.approx(law.mean, rel=0.015)


@pytest.mark.parametrize(("without", "with_", "scale"), CASES)
def test_ddpm_draws_what_its_own_equation_ends_in(without, with_, scale):
    """Mean and variance by Heun's steps along dz = 2 slope dk + noise.

    Going down by dk the slope counts twice, and 2k dk of variance comes in.
    """
    steps, last = 1500, 1e4
    ratio, k = (1e-4 / last) ** (1 / steps), last
    weights = (1 - scale, scale)

    def change(state, k):
        mean, variance = state
        pull = [
            w * 2 * k / (n.std**2 + k**2)
            for w, n in zip(weights, (without, with_), strict=True)
        ]
        means = (without.mean, with_.mean)
        down = sum(p * (mean - m) for p, m in zip(pull, means, strict=True))
        return down, 2 * sum(pull) * variance - 2 * k

    state = (0.0, last**2)
    for _ in range(steps):
        step, first = k * ratio - k, change(state, k)
        guess = [s + step * c for s, c in zip(state, first, strict=True)]
        second = change(guess, k * ratio)
        state = [
            s + step * (a + b) / 2
            for s, a, b in zip(state, first, second, strict=True)
        ]
        k *= ratio
    law = drawn_with_noise(without, with_, scale)
    assert law.std == pytest.approx(state[1] ** 0.5, rel=2e-3)
    assert law.mean == pytest.approx(state[0], rel=2e-3, abs=2e-3)


def test_with_noise_it_is_neither_law_by_hand():
    """σ_c² = ¼, s = 2: variance ¼ (1 - 4^-3) / (3 · ¾) = 7/64."""
    law = drawn_with_noise(U, Normal(1.0, 0.5), 2)
    assert law.std**2 == pytest.approx(7 / 64)
    assert law.mean == pytest.approx((1 - 1 / 16) / (3 / 4))
    assert drawn(U, C, 2).std < law.std < tilted(U, C, 2).std


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_at_0_and_1_both_are_what_was_learned(scale):
    without, with_ = Normal(0.3, 1.3), Normal(1.1, 0.6)
    expected = pytest.approx((without, with_)[int(scale)])
    assert drawn(without, with_, scale) == expected
    assert drawn_with_noise(without, with_, scale) == expected
    assert tilted(without, with_, scale) == expected


@pytest.mark.parametrize("w", [0.5, 1.0, 6.5])
def test_shifted_only_both_are_the_shift_stretched(w):
    """N(0, 1) and N(μ, 1): exactly the score of N((1 + w) μ, 1)."""
    law = Normal((1 + w) * 0.7, 1.0)
    u, c = Normal(0.0, 1.0), Normal(0.7, 1.0)
    assert drawn(u, c, 1 + w) == pytest.approx(law)
    assert drawn_with_noise(u, c, 1 + w) == pytest.approx(law)
    assert tilted(u, c, 1 + w) == pytest.approx(law)
    schedule, t = Schedule(cosine(9)), torch.tensor([1, 5, 9])
    xt = torch.tensor([[0.3], [-1.2], [2.0]], dtype=torch.float64)
    guided = ClassifierFree(GaussianDenoiser(schedule, u), 1 + w)
    pair = torch.full_like(xt, 0.7), torch.ones_like(xt)
    noise = guided.noise(xt, t, pair)
    score = -(xt - schedule.alpha(t, xt) * law.mean)
    torch.testing.assert_close(noise, -schedule.sigma(t, xt) * score)


def test_at_the_last_level_guidance_has_the_score_of_the_tilted_density():
    """What is off is the way there, not the field at its end."""
    scale, with_ = 3.0, Normal(0.6, 0.5)
    schedule = Schedule(cosine(100_000))
    guided = ClassifierFree(GaussianDenoiser(schedule, U), scale)
    xt = torch.tensor([[0.9]], dtype=torch.float64)
    t, pair = torch.tensor([1]), tuple(torch.full_like(xt, v) for v in with_)
    score = -guided.noise(xt, t, pair) / schedule.sigma(t, xt)
    law = tilted(U, with_, scale)
    assert score.item() == pytest.approx(
        (law.mean - 0.9) / law.std**2, rel=1e-3
    )


def test_the_best_guess_is_the_mean_given_x_t():
    """By the integral over x_0, on a fine grid."""
    schedule, t = Schedule(cosine(10)), torch.tensor([6])
    exact = GaussianDenoiser(schedule, Normal(0.3, 0.8))
    xt = torch.tensor([[0.5]], dtype=torch.float64)
    x0 = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    alpha, sigma = schedule.alpha(t, xt).item(), schedule.sigma(t, xt).item()
    log = -(((x0 - 0.3) / 0.8) ** 2 + ((0.5 - alpha * x0) / sigma) ** 2) / 2
    mean = (log.softmax(0) * x0).sum().item()
    assert exact(xt, t).item() == pytest.approx(mean, rel=1e-9)


def test_gauss_legendre_integrates_polynomials_exactly():
    y, weights = legendre(4)
    for power in range(8):
        value = (weights * y**power).sum().item()
        assert value == pytest.approx(1 / (power + 1), rel=1e-12)


def test_a_tilt_that_is_no_density_is_refused():
    """σ_c above σ_u: the precision falls below 0 at some scale."""
    with pytest.raises(ValueError, match="scale: got 3, at which the tilted"):
        tilted(Normal(0, 1), Normal(0, 2), 3)
    assert drawn(Normal(0, 1), Normal(0, 2), 3).std == 8  # yet it is drawn
