"""The exact case: by integration, by hand, and in the limit."""

import math

import pytest
import torch

from llmnotes.diffusion.ddpm import Schedule, cosine, linear
from llmnotes.diffusion.ddpm.bound import (
    fixed_large,
    fixed_small,
    optimal,
    posterior_variance,
    shrink,
)
from llmnotes.diffusion.ddpm.gaussian import (
    EULER,
    Exact,
    Gaussian,
    gap,
    losses,
)

BETAS = torch.tensor([0.5, 0.5, 0.9, 0.8], dtype=torch.float64)
ODD = Gaussian(0.3, 0.16)


def paced(steps, begin=linear):
    """A line of betas that brings the same noise in any number of steps."""
    return Schedule(begin(steps, 0.1 / steps, 20 / steps))


def test_the_exact_guess_is_the_mean_of_what_it_may_have_been():
    at = Schedule(BETAS)
    x0 = torch.linspace(-5, 5, 20001, dtype=torch.float64)
    weight = torch.exp(-((x0 - ODD.mean) ** 2) / (2 * ODD.variance))
    xt = torch.tensor([[-1.2], [0.1], [2.0]], dtype=torch.float64)
    for t in range(1, 5):
        times = torch.full((3,), t)
        alpha, sigma = at.alpha(times, xt), at.sigma(times, xt)
        seen = torch.exp(-((xt - alpha * x0) ** 2) / (2 * sigma**2)) * weight
        mean = (seen * x0).sum(1) / seen.sum(1)
        said = Exact(ODD, at).data(xt, times)[:, 0]
        torch.testing.assert_close(said, mean)
        left = (seen * (x0 - mean[:, None]) ** 2).sum(1) / seen.sum(1)
        torch.testing.assert_close(left, ODD.unknown(at)[t].expand(3))


def test_the_reverse_variance_is_that_of_the_joint_gaussian():
    at = Schedule(BETAS)
    for t in range(1, 5):
        before = at.alphas_bar[t - 1] * ODD.variance + 1 - at.alphas_bar[t - 1]
        keep = 1 - at.betas[t]
        both = keep.sqrt() * before
        now = keep * before + at.betas[t]
        torch.testing.assert_close(ODD.reverse(at)[t], before - both**2 / now)


def test_the_best_variance_is_the_true_one():
    at = Schedule(BETAS)
    torch.testing.assert_close(optimal(at, ODD.unknown(at)), ODD.reverse(at))


@pytest.mark.parametrize("variance", [fixed_small, fixed_large])
@pytest.mark.parametrize("data", [ODD, Gaussian(-1.0, 3.0)])
def test_the_gap_is_the_bound_less_the_entropy(variance, data):
    """The bound from x_0 to x_T, the gap from x_T to x_0: two ways round."""
    at = Schedule(BETAS)
    sigma, bar = variance(at), at.alphas_bar[-1]
    second = data.variance + data.mean**2
    nats = (bar * second - bar - (1 - bar).log()) / 2
    wrong = shrink(at) ** 2 * data.unknown(at) / sigma
    for t in range(2, 5):
        ratio = posterior_variance(at)[t] / sigma[t]
        nats += (ratio - 1 - ratio.log() + wrong[t]) / 2
    nats += ((2 * math.pi * sigma[1]).log() + wrong[1]) / 2
    assert gap(data, at, sigma) == pytest.approx(
        float(nats) - data.entropy(), abs=1e-12
    )


def test_one_step_by_hand():
    """N(0, 1): reverse = β = ½, β̃_2 = ⅓; (½ - ln 1.5) / 2 nats are lost."""
    at = Schedule(BETAS)
    lost = losses(Gaussian(), at, fixed_small(at))
    assert float(lost[2]) == pytest.approx(0.0472674, abs=1e-7)
    assert float(lost[1]) == pytest.approx(0, abs=1e-15)


def test_each_named_variance_is_right_for_its_own_data():
    at = paced(50)
    noise, point = Gaussian(0, 1), Gaussian(0.3, 1e-12)
    assert gap(noise, at, fixed_large(at)) == pytest.approx(0, abs=1e-12)
    lost = losses(point, at, fixed_small(at))[2:]
    assert float(lost.abs().max()) < 1e-8
    assert gap(noise, at, fixed_small(at)) > 0.1
    assert float(losses(point, at, fixed_large(at))[2:].sum()) > 0.1


@pytest.mark.parametrize("steps", [7, 100, 1000])
def test_the_best_variance_has_no_gap_at_any_number_of_steps(steps):
    at = Schedule(linear(steps, 0.5 / steps, min(0.9, 30 / steps)))
    data = Gaussian(0, 0.16)
    nats = gap(data, at, optimal(at, data.unknown(at)))
    start = float(losses(data, at, fixed_small(at))[0])
    assert nats == pytest.approx(start, abs=1e-12)


def test_the_gap_of_the_large_variance_closes_with_the_steps():
    data = Gaussian(0, 0.16)
    few, many = (gap(data, paced(t), fixed_large(paced(t)))
                 for t in (1000, 10000))  # fmt: skip
    assert few / many == pytest.approx(10, rel=0.02)


def test_the_gap_of_the_small_variance_never_closes():
    at = paced(1_000_000)
    bits = gap(ODD, at, fixed_small(at)) / math.log(2)
    assert bits == pytest.approx(EULER / 2 / math.log(2), abs=1e-3)


def test_the_limit_is_that_of_a_sum_whose_terms_know_no_steps():
    t = torch.arange(2, 2_000_000, dtype=torch.float64)
    ratio = t / (t - 1)
    assert float((ratio - 1 - ratio.log()).sum() / 2) == pytest.approx(
        EULER / 2, abs=1e-6
    )


def test_noise_that_begins_like_a_square_leaves_more():
    at = Schedule(cosine(30_000, 0.0))
    nats = gap(Gaussian(), at, fixed_small(at))
    assert nats == pytest.approx(EULER + math.pi**2 / 12, abs=2e-4)


def test_refuses_a_negative_variance():
    with pytest.raises(ValueError, match="variance: got -1, expected 0 or"):
        Gaussian(0.0, -1)
