"""The bound, term by term, against Bayes' rule and torch's own KL."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from llmnotes.diffusion.ddpm import Data, Denoiser, Schedule, linear
from llmnotes.diffusion.ddpm.bound import (
    Terms,
    bits_per_dimension,
    decoder,
    fixed_large,
    fixed_small,
    optimal,
    posterior_variance,
    prior,
    squared_errors,
    terms,
)

SHAPE = 5, 3, 2
BETAS = torch.tensor([0.1, 0.3, 0.2, 0.6, 0.7, 0.9], dtype=torch.float64)


class Half(nn.Module):
    """Says a half of what it sees: wrong, but known."""

    def forward(self, x, time, condition=None):
        assert not self.training
        return x / 2


class Nearer(nn.Module):
    """E[x_0 | x_t] where x_0 is all -1 or all 1, each as often."""

    def __init__(self, schedule):
        super().__init__()
        self.bar = schedule.alphas_bar

    def forward(self, x, time, condition=None):
        bar = self.bar[(time * (len(self.bar) - 1)).round().long()]
        bar = bar[:, None].to(x.dtype)
        odds = 2 * bar.sqrt() / (1 - bar) * x.sum(1, keepdim=True)
        return torch.tanh(odds / 2).expand_as(x)


def schedule():
    return Schedule(BETAS)


def pictures(shape=SHAPE, seed=0):
    draw = torch.Generator().manual_seed(seed)
    levels = torch.randint(17, shape, generator=draw)
    return (levels / 8 - 1).double()


def by_hand(x0, variance, clip=1.0, seed=3):
    """Terms with q(x_{t-1} | x_t, x_0) as a product of two Gaussians."""
    draw = torch.Generator().manual_seed(seed)
    found, bar = [], 1.0
    for t, beta in enumerate(BETAS.tolist(), 1):
        before, bar = bar, bar * (1 - beta)
        noise = torch.randn(x0.shape, generator=draw).double()
        xt = math.sqrt(bar) * x0 + math.sqrt(1 - bar) * noise
        said = (xt / 2).clamp(-clip, clip)
        if t == 1:
            found.append(bins(x0, said, variance[1]).flatten(1).sum(1))
            continue
        forward, backward = 1 / (1 - before), (1 - beta) / beta
        both = forward + backward
        step = xt / math.sqrt(1 - beta) * backward
        means = [(math.sqrt(before) * forward * x + step) / both
                 for x in (x0, said)]  # fmt: skip
        right = Normal(means[0], math.sqrt(1 / both))
        ours = Normal(means[1], float(variance[t]) ** 0.5)
        found.append(kl_divergence(right, ours).flatten(1).sum(1))
    end = Normal(math.sqrt(bar) * x0, math.sqrt(1 - bar))
    start = kl_divergence(end, Normal(torch.zeros_like(x0), 1.0))
    return start.flatten(1).sum(1), torch.stack(found[1:], 1), found[0]


def bins(x0, mean, variance, levels=17):
    """-ln of the share of a level, through erf."""
    half = 1 / (levels - 1)
    normal = Normal(mean, float(variance) ** 0.5)
    high = torch.where(x0 == 1, 1.0, normal.cdf(x0 + half))
    low = torch.where(x0 == -1, 0.0, normal.cdf(x0 - half))
    return -(high - low).log()


def draws(seed=3):
    return torch.Generator().manual_seed(seed)


def half(**options):
    denoiser = Denoiser(Half(), schedule(), Data())
    variances = {"small": fixed_small(schedule()),
                 "large": fixed_large(schedule())}  # fmt: skip
    return terms(denoiser, pictures(), variances, generator=draws(), **options)


@pytest.mark.parametrize("name", ["small", "large"])
@pytest.mark.parametrize("clip", [1.0, 0.5])
def test_every_term_is_that_of_bayes_rule_and_of_torch(name, clip):
    variance = {"small": fixed_small, "large": fixed_large}[name](schedule())
    found = half(clip=clip)[name]
    start, steps, last = by_hand(pictures(), variance, clip)
    torch.testing.assert_close(found.prior, start)
    torch.testing.assert_close(found.steps, steps)
    torch.testing.assert_close(found.decoder, last)
    torch.testing.assert_close(found.total, start + steps.sum(1) + last)


def test_every_t_has_its_column():
    assert half()["small"].steps.shape == (5, len(BETAS) - 1)


def test_a_level_by_hand():
    """The mean on the level, its edges one σ away: -ln .6827."""
    said = decoder(torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor(1 / 256))
    assert float(said) == pytest.approx(0.381715, abs=1e-6)


@pytest.mark.parametrize("count", [2, 5, 17])
def test_levels_have_all_of_the_probability(count):
    x0 = torch.linspace(-1, 1, count, dtype=torch.float64)
    for mean in (-3.0, -0.3, 0.01, 1.4):
        nats = decoder(x0, torch.full_like(x0, mean), torch.tensor(0.2), count)
        assert float((-nats).exp().sum()) == pytest.approx(1)


def test_a_level_far_from_the_mean_still_has_its_price():
    """100 σ away: ½ 100² and the tail's ln(100 √2π); nothing is rounded."""
    x0 = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    std = (1 + 15 / 16) / 100
    nats = decoder(x0, -x0, torch.tensor(std**2, dtype=torch.float64))
    expected = 5000 + math.log(100 * math.sqrt(2 * math.pi))
    assert nats[:, 0].tolist() == pytest.approx([expected] * 2, abs=1e-3)
    torch.testing.assert_close(nats[0], nats[1])
    middle = decoder(torch.zeros(1), -x0[0].float(), torch.tensor(1e-4))
    assert middle.item() == pytest.approx(93.75**2 / 2 + 5.46, abs=1e-2)


def test_what_is_left_of_a_picture_is_paid_for():
    x0 = pictures()
    bar = float((1 - BETAS).prod())
    kl = bar * x0**2 + (1 - bar) - 1 - math.log(1 - bar)
    torch.testing.assert_close(prior(schedule(), x0), kl.sum((1, 2)) / 2)


def test_the_best_variance_is_best_at_every_t():
    at = schedule()
    denoiser, x0 = Denoiser(Half(), at, Data()), pictures()
    draw, error = draws(), [0.0]
    for t in range(1, at.steps + 1):
        noise = torch.randn(x0.shape, generator=draw).double()
        xt = at.noisy(x0, torch.full((len(x0),), t), noise)
        error.append(float(((xt / 2).clamp(-1, 1) - x0).square().mean()))
    measured = squared_errors(denoiser, x0, generator=draws())
    expected = torch.tensor(error, dtype=torch.float64)
    torch.testing.assert_close(measured, expected)
    best = optimal(at, measured)
    tried = {"best": best, "less": best * 0.95, "more": best * 1.05}
    found = terms(denoiser, x0, tried, generator=draws())
    steps = {name: one.steps.mean(0) for name, one in found.items()}
    assert (steps["best"] < steps["less"]).all()
    assert (steps["best"] < steps["more"]).all()


def test_the_bound_lies_above_the_truth_and_near_it():
    """Two pictures, each as often: ln 2 nats and no less."""
    at = Schedule(linear(150, 2e-3, 0.12))
    x0 = torch.tensor([-1.0, 1.0])[:, None].repeat(40, 3)
    denoiser = Denoiser(Nearer(at), at, Data())
    found = terms(denoiser, x0, {"small": fixed_small(at)},
                  generator=draws(), levels=2)["small"]  # fmt: skip
    nats = float(found.total.mean())
    assert math.log(2) - 0.05 < nats < math.log(2) + 0.15


def test_named_variances_are_the_papers():
    at = schedule()
    tilde = [at.posterior(*2 * [torch.zeros(1, 1)], torch.tensor([t]))[1]
             for t in range(1, 7)]  # fmt: skip
    expected = torch.cat(tilde).flatten().double()
    torch.testing.assert_close(posterior_variance(at)[1:].float(),
                               expected.float())  # fmt: skip
    small = fixed_small(at)
    torch.testing.assert_close(small[2:], posterior_variance(at)[2:])
    assert small[1] == at.betas[1] > 0
    torch.testing.assert_close(fixed_large(at)[1:], BETAS)


def test_no_error_means_the_small_variance_and_bits_are_nats_over_ln_2():
    at = schedule()
    none = optimal(at, torch.zeros(7, dtype=torch.float64))
    torch.testing.assert_close(none, posterior_variance(at))
    assert float(bits_per_dimension(torch.tensor(6 * math.log(2)), 3)) == (
        pytest.approx(2)
    )


def test_a_bound_leaves_the_denoiser_as_it_was():
    denoiser = Denoiser(Half(), schedule(), Data()).train()
    large = {"large": fixed_large(schedule())}
    found = [
        terms(denoiser, pictures(), large, generator=draws())["large"]
        for _ in range(2)
    ]
    assert denoiser.training and denoiser.network.training
    assert isinstance(found[0], Terms)
    torch.testing.assert_close(found[0].total, found[1].total)


OFF = pictures() + 0.01
ROW = fixed_large(schedule())


@pytest.mark.parametrize(
    ("x0", "variance", "message"),
    [
        (OFF, ROW, "x0: got .*, expected one of 17 grey levels"),
        (pictures() * 3, ROW, "x0: got -?3.0*, expected one of 17"),
        (pictures(), ROW[1:], "mine: got shape .* for each t from 0 to 6"),
        (pictures(), posterior_variance(schedule()),
         "mine: got 0.0 at t = 1, expected variances above 0"),
    ],
)  # fmt: skip
def test_refuses(x0, variance, message):
    denoiser = Denoiser(Half(), schedule(), Data())
    with pytest.raises(ValueError, match=message):
        terms(denoiser, x0, {"mine": variance}, generator=draws())


def test_refuses_errors_that_are_not_one_for_each_t():
    with pytest.raises(ValueError, match="error: got shape .* from 0 to 6"):
        optimal(schedule(), torch.zeros(6))
