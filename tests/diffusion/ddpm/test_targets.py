"""The three targets: converted into each other, weighed and by hand."""

import math

import pytest
import torch

from llmnotes.diffusion.ddpm import Data, Noise, Schedule, Velocity, linear
from llmnotes.diffusion.ddpm.targets import Target, noise_from

TARGETS = Noise(), Data(), Velocity()
SHAPE = 4, 3, 5


def drawn(seed=0):
    """A picture, its noise, and an angle: cos and sin are the levels."""
    draw = torch.Generator().manual_seed(seed)
    x0, noise = torch.randn(2, *SHAPE, generator=draw, dtype=torch.float64)
    angle = torch.tensor(0.3, dtype=torch.float64)
    return x0, noise, angle.cos(), angle.sin()


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: type(t).__name__)
def test_each_target_and_x_t_give_the_picture_and_the_noise(target):
    x0, noise, alpha, sigma = drawn()
    xt = alpha * x0 + sigma * noise
    said = target.of(x0, noise, alpha, sigma)
    found = target.data(said, xt, alpha, sigma)
    torch.testing.assert_close(found, x0)
    torch.testing.assert_close(noise_from(found, xt, alpha, sigma), noise)
    assert isinstance(target, Target)


def test_velocity_is_how_fast_x_moves_when_the_angle_does():
    """x = cos φ x_0 + sin φ ε is a circle; the target is its tangent."""
    x0, noise, alpha, sigma = drawn()
    here, little = math.atan2(sigma, alpha), 1e-6

    def at(angle):
        return math.cos(angle) * x0 + math.sin(angle) * noise

    slope = (at(here + little) - at(here - little)) / (2 * little)
    said = Velocity().of(x0, noise, alpha, sigma)
    torch.testing.assert_close(said, slope, rtol=1e-8, atol=1e-8)


def test_velocity_by_hand():
    said = Velocity().of(*map(torch.tensor, (1.0, -1.0, 0.6, 0.8)))
    assert said.item() == pytest.approx(-1.4)  # .6 · -1 - .8 · 1
    xt = torch.tensor(-0.2)  # .6 · 1 + .8 · -1
    found = Velocity().data(said, xt, torch.tensor(0.6), torch.tensor(0.8))
    assert found.item() == pytest.approx(1.0)


def test_the_same_mistake_weighs_by_the_signal_to_noise_ratio():
    """A guess of x_0 that is off by d: what each target's loss says of it."""
    x0, noise, alpha, sigma = drawn()
    wrong = x0 + drawn(1)[0]
    xt = alpha * x0 + sigma * noise
    guessed = noise_from(wrong, xt, alpha, sigma)
    snr = (alpha / sigma) ** 2

    def loss(target):
        right = target.of(x0, noise, alpha, sigma)
        said = target.of(wrong, guessed, alpha, sigma)
        return ((said - right) ** 2).mean()

    off = loss(Data())
    torch.testing.assert_close(loss(Noise()), snr * off)
    torch.testing.assert_close(loss(Velocity()), (snr + 1) * off)


def test_at_the_noisiest_a_guess_of_noise_says_little_of_the_picture():
    """ε off by .01 moves x_0 by 1.6 at t = T, by .0001 at t = 1."""
    schedule = Schedule(linear())
    one = torch.ones(2, 1, dtype=torch.float64)
    t = torch.tensor([1000, 1])
    levels = schedule.alpha(t, one), schedule.sigma(t, one)
    off = Noise().data(0.99 * one, one, *levels)
    off = off - Noise().data(one, one, *levels)
    assert off[0].item() == pytest.approx(1.57, abs=0.01)
    assert off[1].item() == pytest.approx(1e-4, rel=1e-2)
    calm = Velocity().data(0.99 * one, one, *levels)
    calm = calm - Velocity().data(one, one, *levels)
    assert calm.abs().max() <= 0.01


def test_least_squares_learn_the_mean_and_absolute_values_the_median():
    """Of 0, 0, 0, 0, 10 one learns 2, the other 0."""
    seen = torch.tensor([0.0, 0, 0, 0, 10])
    guesses = torch.linspace(-1, 11, 12_001, dtype=torch.float64)
    apart = guesses[:, None] - seen
    squares = guesses[apart.square().mean(1).argmin()]
    absolute = guesses[apart.abs().mean(1).argmin()]
    assert squares.item() == pytest.approx(2.0, abs=1e-3)
    assert absolute.item() == pytest.approx(0.0, abs=1e-3)


def test_the_median_of_the_noise_is_no_denoiser():
    """x_0 is -1 or, half as often, 1; at t the two noises cannot be told
    apart well: the mean of ε is what the score needs, the median is one of
    the two."""
    alpha, sigma = math.sqrt(0.1), math.sqrt(0.9)
    xt = torch.tensor(0.0, dtype=torch.float64)
    noises = torch.stack([(xt + alpha) / sigma, (xt - alpha) / sigma])
    odds = torch.tensor([2.0, 1.0]).double() * (-noises.square() / 2).exp()
    share = odds / odds.sum()
    mean = (share * noises).sum()
    # -σ times the slope of the log-density of x_t, by autograd
    at = xt.clone().requires_grad_()
    density = sum(
        w * (-((at - alpha * x) ** 2) / (2 * sigma**2)).exp()
        for w, x in ((2, -1), (1, 1))
    )
    (slope,) = torch.autograd.grad(density.log(), at)
    assert mean.item() == pytest.approx((-sigma * slope).item())
    median = noises[share.argmax()]
    assert abs(median - mean) > 0.2
