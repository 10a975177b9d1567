"""The continuous bound: known integrals, whatever the way between the ends."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Categorical, Normal, kl_divergence

from llmnotes.diffusion.ddpm.continuous import (
    Fourier,
    LevelsGuess,
    VelocityGuess,
    bound,
    check_real_times,
    decoder,
    diffusion,
    grey_levels,
    prior,
)
from llmnotes.diffusion.ddpm.gaussian import Gaussian
from llmnotes.diffusion.ddpm.log_snr import (
    CosineGamma,
    Gamma,
    LearnedGamma,
    LinearBeta,
    alpha_sigma,
)

GAMMAS = {"line": Gamma, "cosine": CosineGamma, "beta": LinearBeta,
          "learned": LearnedGamma}  # fmt: skip
DATA = Gaussian(0.3, 0.16)


class Constant(nn.Module):
    """A network that says the same of everything."""

    def __init__(self, said):
        super().__init__()
        self.said = said

    def forward(self, x, time, condition=None):
        return self.said.to(x).expand_as(x)


def exact(z, gamma):
    """E[x_0 | z] of Gaussian data."""
    return DATA.denoised(z, *alpha_sigma(gamma, z))


def nodes(count):
    """Hermite's points of a standard normal, and their shares."""
    points, weights = np.polynomial.hermite_e.hermegauss(count)
    return torch.from_numpy(points), torch.from_numpy(weights / weights.sum())


def over_time(denoiser, gamma, x0, points, count):
    """E diffusion by quadrature: midpoints of t, Hermite's of the noise."""
    noise, shares = nodes(count)
    t = (torch.arange(points).double() + 0.5) / points
    each = torch.full((points * count, 1), x0).double()
    nats = diffusion(
        denoiser, gamma, each, t.repeat_interleave(count),
        noise.repeat(points)[:, None],
    )  # fmt: skip
    return float(nats.detach().view(points, count).mean(0) @ shares)


@pytest.mark.parametrize("name", GAMMAS)
def test_only_the_ends_matter(name):
    """For Gaussians the integral is known; x_0 one s from the mean."""
    gamma = GAMMAS[name](-8.0, 6.0)
    found = over_time(exact, gamma, DATA.mean + 0.4, points=3000, count=3)
    s = math.log(DATA.variance)
    ends = torch.tensor([s + 8.0, s - 6.0], dtype=torch.float64)
    known = (F.softplus(ends[0]) - F.softplus(ends[1])) / 2
    assert found == pytest.approx(float(known), rel=1e-4)


def test_the_way_between_the_ends_decides_what_one_draw_is_worth():
    draw = torch.Generator().manual_seed(0)
    x0 = DATA.mean + 0.4 * torch.randn(20000, 1, generator=draw)
    noise, t = (f(len(x0), *size, generator=draw) for f, size in
                ((torch.randn, (1,)), (torch.rand, ())))  # fmt: skip
    found = {n: diffusion(exact, kind(), x0, t, noise).detach()
             for n, kind in GAMMAS.items()}  # fmt: skip
    means = {n: float(x.mean()) for n, x in found.items()}
    assert means["cosine"] == pytest.approx(means["line"], rel=0.05)
    assert float(found["cosine"].std()) > 1.5 * float(found["line"].std())


def test_one_draw_is_half_the_slope_times_the_squared_error_of_the_noise():
    draw = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(5, 3, 2, generator=draw) for _ in range(2))
    t = torch.rand(5, generator=draw)
    weight = torch.randn(6, 6, generator=draw).requires_grad_()
    gamma = LinearBeta(-4.0, 3.0)

    def linear(z, at):
        return (z.flatten(1) @ weight).view_as(z)

    ours = diffusion(linear, gamma, x0, t, noise)
    alpha, sigma = (f(gamma(t)).sqrt()[:, None, None] for f in
                    (lambda g: 1 / (1 + g.exp()),
                     lambda g: 1 / (1 + (-g).exp())))  # fmt: skip
    z = alpha * x0 + sigma * noise
    wrong = noise - (z - alpha * linear(z, None)) / sigma
    theirs = 0.5 * gamma.slope(t) * (wrong**2).sum((1, 2))
    torch.testing.assert_close(ours, theirs)
    grads = [torch.autograd.grad(x.sum(), weight, retain_graph=True)[0]
             for x in (ours, theirs)]  # fmt: skip
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("level", [0, 1, 4])
def test_a_guess_by_bayes_rule_costs_what_its_level_is_worth(level):
    """The bound is -ln p(x_0) of each level, without a gap."""
    values = grey_levels(5).double()
    logs = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25]).double().log()
    guess = LevelsGuess(Constant(logs), (-8.0, 6.0), values)

    def said(z, gamma):
        return guess(z, gamma)

    x0, gamma = float(values[level]), Gamma(-8.0, 8.0)
    noise, shares = nodes(60)
    last = decoder(torch.full((60, 1), x0).double(), noise[:, None], -8.0,
                   values)  # fmt: skip
    nats = over_time(said, gamma, x0, 500, 60) + float(shares @ last)
    nats += float(prior(torch.tensor([[x0]]).double(), 8.0))
    assert nats == pytest.approx(-float(logs[level]), abs=2e-3)


def test_what_the_levels_are_is_said_by_the_network_alone():
    """Much noise: the mean of the levels as the network weighs them."""
    values, logs = grey_levels(3), torch.tensor([[0.0, 0.0, 1.0]])
    guess = LevelsGuess(Constant(logs), (-8.0, 9.0), values)
    said = guess(torch.zeros(2, 4), torch.full((2,), 30.0))
    e = math.e
    torch.testing.assert_close(said, torch.full((2, 4), (e - 1) / (e + 2)))


def test_a_network_that_says_v_is_read_as_such_at_its_own_noise():
    class Told(nn.Module):
        def forward(self, z, time, condition=None):
            return z * time[:, None]

    z, gamma = torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, 2.0])
    alpha, sigma = alpha_sigma(gamma, z)
    said = VelocityGuess(Told(), (-2.0, 6.0))(z, gamma)
    time = torch.tensor([[0.25], [0.5]])
    torch.testing.assert_close(said, alpha * z - sigma * z * time)


def test_the_prior_is_torchs_kl():
    x0 = torch.tensor([[0.5, -1.0, 0.25], [1.0, 0.0, -0.5]])
    alpha, sigma = alpha_sigma(torch.tensor([2.0]), x0)
    kl = kl_divergence(Normal(alpha * x0, sigma), Normal(0 * x0, 1.0))
    torch.testing.assert_close(prior(x0, 2.0), kl.sum(1))


def test_the_decoder_is_a_choice_between_levels():
    """By hand: two levels, z_0 on 0 between them: ln 2."""
    values = grey_levels(2)
    alpha, sigma = alpha_sigma(torch.tensor([-1.0]), torch.zeros(1, 1))
    x0 = torch.tensor([[1.0]])
    noise = -alpha * x0 / sigma
    assert float(decoder(x0, noise, -1.0, values)) == pytest.approx(
        math.log(2)
    )
    values, numbers = grey_levels(5), torch.tensor([[0, 3, 4]])
    x0 = values[numbers]
    noise = torch.tensor([[0.3, -2.0, 1.0]])
    z = alpha * x0 + sigma * noise
    logits = -((z[..., None] - alpha * values) ** 2) / (2 * sigma**2)
    said = -Categorical(logits=logits).log_prob(numbers)
    found = decoder(x0, noise, -1.0, values)
    torch.testing.assert_close(found, said.sum(1))


def test_waves_tell_levels_apart_from_what_is_between_them():
    """On 17 levels: n = 4 says (0, 1), n = 3 says (0, ±1) in turn."""
    said = Fourier()(grey_levels(17)[:, None])
    z, sin3, cos3, sin4, cos4 = said.T
    torch.testing.assert_close(z, grey_levels(17))
    turns = torch.tensor([(-1.0) ** i for i in range(17)])
    for found, expected in ((sin3, 0 * z), (cos3, turns), (sin4, 0 * z),
                            (cos4, 0 * z + 1)):  # fmt: skip
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    between = Fourier((4,))(torch.tensor([[1 / 32]]))
    torch.testing.assert_close(between, torch.tensor([[1 / 32, 1.0, 0.0]]))


def test_a_bound_has_three_terms_and_leaves_the_guess_as_it_was():
    guess = LevelsGuess(Constant(torch.zeros(1)), (-8.0, 6.0), grey_levels(5))
    x0 = grey_levels(5)[torch.arange(15).view(5, 3) % 5]  # all levels alike
    found = [
        bound(guess.train(), Gamma(), x0, grey_levels(5), 800,
              generator=torch.Generator().manual_seed(0))
        for _ in range(2)
    ]  # fmt: skip
    assert found[0].shape == (5, 3) and guess.training
    torch.testing.assert_close(*found)
    mean = float(found[0].sum(1).mean())
    assert mean == pytest.approx(3 * math.log(5), rel=0.02)


def test_a_bound_leaves_no_gap_in_time_within_a_picture_or_between_them():
    seen = []

    class Watched(nn.Module):
        def forward(self, z, gamma):
            seen.append(gamma)
            return z

    bound(Watched(), Gamma(0.0, 1.0), torch.ones(7, 3), grey_levels(2), 5,
          generator=torch.Generator().manual_seed(0))  # fmt: skip
    times = torch.stack(seen)  # γ is t here
    for t, gap in ((times.flatten(), 1 / 35), (times[:, 4], 1 / 5)):
        gaps = t.sort().values.diff()
        torch.testing.assert_close(gaps, torch.full_like(gaps, gap))


X0, T = torch.zeros(3, 2), torch.tensor([0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("t", "message"),
    [
        (T[:2], r"t: got shape \(2,\) for 3 pictures, expected one time"),
        (T * 1000, "t: got 0.0 to 1000.0, expected times from 0 to 1"),
        (T - 0.1, "expected times from 0 to 1"),
    ],
)
def test_refuses(t, message):
    with pytest.raises(ValueError, match=message):
        check_real_times(t, X0)


def test_refuses_where_the_bound_is_asked_for():
    with pytest.raises(ValueError, match="expected times from 0 to 1"):
        diffusion(exact, Gamma(), X0, T * 1000, X0)


def test_refuses_pictures_that_are_on_no_level():
    with pytest.raises(ValueError, match="x0: got 0.1000, expected one of 5"):
        decoder(X0 + 0.1, X0, -8.0, grey_levels(5))
