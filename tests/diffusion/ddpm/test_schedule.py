"""Schedules and the posterior: by hand, by Bayes' rule and by diffusers."""

import math

import pytest
import torch
from diffusers import DDPMScheduler
from torch import nn

from llmnotes.diffusion.ddpm import Schedule, cosine, linear, scaled_linear

SHORT = torch.tensor([0.1, 0.3, 0.2, 0.6, 0.7, 0.9], dtype=torch.float64)
SHAPE = 5, 3, 2


def pictures(seed=0, shape=SHAPE):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=draw, dtype=torch.float64)


def test_the_schedules_end_where_their_papers_say():
    bar = Schedule(linear()).alphas_bar
    assert bar[1000].item() == pytest.approx(4.0358e-5, rel=1e-4)
    assert bar[500].item() == pytest.approx(0.07859, rel=1e-4)
    assert bar[0].item() == 1.0
    assert scaled_linear().neg().log1p().sum().exp().item() == (
        pytest.approx(0.004660, rel=1e-4)
    )


def test_cosine_is_equation_17_up_to_its_clip():
    steps, s = 1000, 0.008

    def f(t):
        return math.cos((t / steps + s) / (1 + s) * math.pi / 2) ** 2

    bar = Schedule(cosine(steps, s)).alphas_bar
    worst = max(
        abs(bar[t].item() / (f(t) / f(0)) - 1) for t in range(steps - 1)
    )
    assert worst < 1e-9
    assert cosine()[-1] == 0.999  # would be 1 and leave nothing
    assert bar[-1].item() == pytest.approx(2.4e-9, rel=0.02)


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (linear, {"beta_schedule": "linear"}),
        (cosine, {"beta_schedule": "squaredcos_cap_v2"}),
        (
            scaled_linear,
            {"beta_schedule": "scaled_linear", "beta_start": 0.00085,
             "beta_end": 0.012},
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("steps", (1000, 37))
def test_betas_are_those_of_diffusers(ours, theirs, steps):
    other = DDPMScheduler(num_train_timesteps=steps, **theirs)
    torch.testing.assert_close(
        ours(steps).float(), other.betas, rtol=2e-5, atol=1e-7
    )


def test_float32_is_off_in_the_fourth_digit_where_there_is_little_noise():
    exact = (1 - (1 - linear()).cumprod(0))[0]
    coarse = (1 - (1 - linear().float()).cumprod(0))[0]
    assert 1e-4 < abs(coarse / exact - 1) < 1e-3


def test_one_draw_has_the_mean_and_the_variance_of_the_iteration():
    """Unit noise, step by step, says what each step's noise becomes."""
    schedule = Schedule(SHORT)
    for t in range(1, 7):
        own = torch.zeros(t, dtype=torch.float64)
        mean = 1.0
        for s in range(1, t + 1):
            keep = math.sqrt(1 - SHORT[s - 1])
            mean, own = keep * mean, keep * own
            own[s - 1] = math.sqrt(SHORT[s - 1])
        one = torch.ones(1, 1, dtype=torch.float64)
        at = torch.tensor([t])
        drawn_mean = schedule.noisy(one, at, 0 * one)
        drawn_noise = schedule.noisy(0 * one, at, one)
        assert drawn_mean.item() == pytest.approx(mean)
        assert drawn_noise.item() == pytest.approx(own.norm().item())


def test_one_draw_is_no_path():
    """Equal in distribution at each t; from t to t + 1 the noise is new."""
    schedule, n = Schedule(SHORT), 40_000
    draw = torch.Generator().manual_seed(0)
    x, noise = torch.zeros(n, 1), torch.randn(n, 1, generator=draw)
    t = torch.full((n,), 2)
    jumped = schedule.noisy(x, t, noise), schedule.noisy(x, t + 1, noise)
    step = torch.randn(n, 1, generator=draw)
    walked = (0.8**0.5 * jumped[0]) + 0.2**0.5 * step  # β_3 = .2
    spread = jumped[1].var().item()
    assert walked.var().item() == pytest.approx(spread, rel=0.03)
    together = torch.cat([jumped[0], walked], 1).T.corrcoef()[0, 1]
    assert torch.cat(jumped, 1).T.corrcoef()[0, 1] > 0.999
    bar = schedule.alphas_bar
    expected = 0.8 * (1 - bar[2]) / (1 - bar[3])
    assert together.item() == pytest.approx(expected.sqrt().item(), abs=0.02)


def by_bayes(x0, xt, t, betas):
    """Mean and variance of x_{t-1} from the joint covariance of the chain."""
    size = t + 1
    # x_s = keep x_{s-1} + noise: a triangular system, solved as a whole
    chain = torch.eye(size, dtype=torch.float64)
    noise = torch.zeros(size, dtype=torch.float64)
    noise[0] = 1e-300  # x_0 is known
    for s in range(1, size):
        chain[s, s - 1] = -((1 - betas[s - 1]) ** 0.5)
        noise[s] = betas[s - 1]
    inverse = torch.linalg.inv(chain)
    covariance = inverse @ noise.diag() @ inverse.T
    mean = inverse[:, 0, None] * x0.flatten()
    gain = covariance[t - 1, t] / covariance[t, t]
    there = mean[t - 1] + gain * (xt.flatten() - mean[t])
    left = covariance[t - 1, t - 1] - gain * covariance[t - 1, t]
    return there.view_as(x0), left


@pytest.mark.parametrize("t", range(1, 7))
def test_the_posterior_is_bayes_rule_on_the_whole_chain(t):
    x0, xt = pictures(0), pictures(1)
    at = torch.full(SHAPE[:1], t)
    mean, variance = Schedule(SHORT).posterior(x0, xt, at)
    right, left = by_bayes(x0, xt, t, SHORT)
    torch.testing.assert_close(mean, right)
    assert variance.shape == (5, 1, 1)
    torch.testing.assert_close(variance.flatten(), left.expand(5))


def test_the_last_step_adds_no_noise_and_says_the_picture():
    x0, xt = pictures(0), pictures(1)
    mean, variance = Schedule(SHORT).posterior(x0, xt, torch.ones(5).long())
    torch.testing.assert_close(mean, x0)
    assert (variance == 0).all()


def test_every_picture_has_a_step_of_its_own():
    schedule, t = Schedule(SHORT), torch.tensor([6, 1, 3, 2, 6])
    x0, xt = pictures(0), pictures(1)
    together = schedule.posterior(x0, xt, t)[0], schedule.noisy(x0, t, xt)
    for i in range(5):
        one = slice(i, i + 1)
        alone = schedule.posterior(x0[one], xt[one], t[one])[0]
        torch.testing.assert_close(together[0][one], alone)
        alone = schedule.noisy(x0[one], t[one], xt[one])
        torch.testing.assert_close(together[1][one], alone)


def test_the_tables_stay_in_float64_and_follow_everything_else():
    model = nn.Module()
    model.schedule = Schedule(SHORT)
    model.half()
    assert model.schedule.alphas_bar.dtype == torch.float64
    model.to(torch.float32)
    assert model.schedule.betas.dtype == torch.float64
    assert model.schedule.alphas_bar[1].item() == 0.9  # no bit was lost
    names = set(model.state_dict())
    assert names == {"schedule.betas", "schedule.alphas_bar"}
    other = nn.Module()
    other.schedule = Schedule(SHORT / 2, end=1.0)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.schedule.betas, model.schedule.betas)
    assert model.to("meta").schedule.betas.device.type == "meta"


def test_levels_are_in_the_dtype_of_the_pictures():
    schedule = Schedule(SHORT)
    for dtype in (torch.float16, torch.float32, torch.float64):
        x = torch.ones(2, 3, dtype=dtype)
        assert schedule.alpha(torch.tensor([1, 6]), x).dtype == dtype


ROW = "betas: got shape (2, 3), expected one row"
NOISY = (
    "betas: got a schedule that ends with 0.364 of the picture, expected at "
    "most 0.1: samples begin with noise alone"
)
BETAS = {
    "no row": (torch.full((2, 3), 0.5), ROW),
    "none": (torch.ones(0), "betas: got shape (0,), expected one row"),
    "a beta of 1": (
        torch.tensor([0.5, 1.0]),
        "betas: got 0.5 to 1.0, expected numbers between 0 and 1",
    ),
    "a beta of 0": (
        torch.tensor([0.0, 0.99]),
        "betas: got 0.0 to 0.9900000095367432, expected numbers between 0 "
        "and 1",
    ),
    "too few steps": (linear(200), NOISY),
}


@pytest.mark.parametrize("name", BETAS)
def test_betas_that_are_no_way_into_noise_are_refused(name):
    betas, message = BETAS[name]
    if betas.ndim > 1:  # under test the annotation would answer first
        from llmnotes.diffusion.ddpm.schedule import check_betas as refuse
    else:
        refuse = Schedule
    with pytest.raises(ValueError) as caught:
        refuse(betas, 0.1)
    assert str(caught.value) == message


def test_stable_diffusion_s_schedule_ends_just_within():
    left = Schedule(scaled_linear()).alphas_bar[-1].sqrt()
    assert left.item() == pytest.approx(0.0683, abs=1e-4)
