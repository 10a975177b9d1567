"""DDPM against diffusers step by step, the exact case, and a bad loop."""

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from torch import nn

from llmnotes.diffusion.ddpm import (
    Data,
    Denoiser,
    Noise,
    Schedule,
    Velocity,
    chain,
    cosine,
    denoising_loss,
    linear,
    sample,
)
from llmnotes.diffusion.ddpm.gaussian import Exact, Gaussian
from llmnotes.diffusion.ddpm.schedule import check_times
from tests.diffusion.ddpm import exhibits

SHAPE = 3, 2, 5
KINDS = {"epsilon": Noise(), "sample": Data(), "v_prediction": Velocity()}


class Small(nn.Module):
    """A network of one layer that reads the time, too."""

    def __init__(self, dropout=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.mix, self.drop = nn.Linear(11, 10).double(), nn.Dropout(dropout)

    def forward(self, x, time, condition=None):
        rows = torch.cat([x.flatten(1).double(), time[:, None].double()], 1)
        said = self.drop(torch.tanh(self.mix(rows))).to(x.dtype)
        return said.view_as(x) + (0 if condition is None else condition)


def denoiser(target=None, steps=60, dropout=0.0):
    target = target or Velocity()
    return Denoiser(Small(dropout), Schedule(cosine(steps)), target)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def by_diffusers(model, kind, clip, exact):
    """The same chain with DDPMScheduler, and its noise."""
    steps = model.schedule.steps
    other = DDPMScheduler(
        num_train_timesteps=steps, beta_schedule="squaredcos_cap_v2",
        prediction_type=kind, clip_sample=clip is not None,
        clip_sample_range=clip or 1.0, variance_type="fixed_small",
    )  # fmt: skip
    if exact:  # its own table is in float32
        other.alphas_cumprod = model.schedule.alphas_bar[1:]
        other.one = torch.tensor(1.0, dtype=torch.float64)
    draw = seeded()
    x = torch.randn(SHAPE, generator=draw)
    other.set_timesteps(steps)
    for at in other.timesteps:
        t = torch.full(SHAPE[:1], int(at) + 1)
        with torch.no_grad():
            said = model(x, t)
        x = other.step(said, at, x, generator=draw).prev_sample.float()
    return x


@pytest.mark.parametrize("exact", (True, False))
@pytest.mark.parametrize("clip", (None, 1.0, 0.5))
@pytest.mark.parametrize("kind", KINDS)
def test_the_chain_is_that_of_diffusers(kind, clip, exact):
    model = denoiser(KINDS[kind])
    ours = sample(model, SHAPE, generator=seeded(), clip=clip)
    theirs = by_diffusers(model, kind, clip, exact)
    size = theirs.abs().max().item()
    tight = 1e-6 if exact else 1e-3
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tight * size)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_and_its_gradients_are_those_of_numpy(kind):
    model = Denoiser(Small(), Schedule(linear()), KINDS[kind])
    draw = seeded(1)
    x0, noise = torch.randn(2, *SHAPE, generator=draw, dtype=torch.float64)
    t = torch.tensor([1000, 1, 420])
    loss = denoising_loss(model, x0, t, noise)
    bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[t.numpy() - 1]
    a, s = np.sqrt(bar), np.sqrt(1 - bar)
    a, s = a[:, None, None], s[:, None, None]
    x, e = x0.numpy(), noise.numpy()
    wanted = {
        "epsilon": e, "sample": x, "v_prediction": a * e - s * x
    }[kind]  # fmt: skip
    w, b = (p.detach().numpy() for p in model.network.mix.parameters())
    rows = np.concatenate(
        [(a * x + s * e).reshape(3, 10), t.numpy()[:, None] / 1000], 1
    )
    said = np.tanh(rows @ w.T + b)
    off = said - wanted.reshape(3, 10)
    assert loss.item() == pytest.approx((off**2).mean(), rel=1e-6)
    back = 2 * off / off.size * (1 - said**2)
    grads = torch.autograd.grad(loss, list(model.parameters()))
    for ours, theirs in zip(grads, (back.T @ rows, back.sum(0)), strict=True):
        torch.testing.assert_close(
            ours, torch.from_numpy(theirs), rtol=1e-5, atol=1e-7
        )


def test_the_network_reads_time_between_0_and_1_and_the_condition():
    model, seen = denoiser(steps=1000), []
    model.network.register_forward_pre_hook(lambda _, x: seen.append(x))
    condition = torch.ones(SHAPE)
    model(torch.zeros(SHAPE), torch.tensor([1, 500, 1000]), condition)
    assert seen[0][1].tolist() == pytest.approx([0.001, 0.5, 1.0])
    assert seen[0][2] is condition


@pytest.mark.parametrize("target", KINDS.values(), ids=KINDS)
def test_what_it_says_of_picture_and_noise_makes_x_t(target):
    model, t = denoiser(target), torch.tensor([3, 40, 60])
    xt = torch.randn(SHAPE, generator=seeded(), dtype=torch.float64)
    data, noise = model.data(xt, t), model.noise(xt, t)
    made = model.schedule.noisy(data, t, noise)
    torch.testing.assert_close(made, xt)


def test_seeds_make_equal_pictures_and_others_make_others():
    model = denoiser(steps=20)
    one, two = (sample(model, SHAPE, generator=seeded(4)) for _ in range(2))
    assert torch.equal(one, two)
    other = sample(model, SHAPE, generator=seeded(5))
    assert not torch.allclose(one, other)


def test_sampling_leaves_modes_gradients_and_random_numbers_alone():
    model = denoiser(steps=20, dropout=0.5)
    model.train()
    model.network.mix.eval()
    state = torch.get_rng_state()
    made = sample(model, SHAPE, generator=seeded())
    assert model.training and model.network.drop.training
    assert not model.network.mix.training
    assert not made.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(made, sample(model, SHAPE, generator=seeded()))


def test_the_chain_has_every_x_from_noise_to_picture():
    model = denoiser(steps=20)
    states = list(chain(model, SHAPE, generator=seeded()))
    assert len(states) == 21
    first = torch.randn(SHAPE, generator=seeded())
    assert torch.equal(states[0], first)
    end = sample(model, SHAPE, generator=seeded())
    torch.testing.assert_close(states[-1], end)


def test_only_the_guess_is_clipped():
    model = denoiser(steps=20)
    states = list(chain(model, SHAPE, generator=seeded(), clip=0.1))
    assert states[5].abs().max() > 1
    assert states[-1].abs().max() <= 0.1  # x_0 is the last guess


def drawn_by_the_law(gaussian, schedule):
    """Mean and deviation that T steps of the exact denoiser end with."""
    mean, variance = 0.0, 1.0
    t = torch.arange(1, schedule.steps + 1)
    one = torch.ones(len(t), dtype=torch.float64)
    from_xt, spread = schedule.posterior(0 * one, one, t)
    from_x0, _ = schedule.posterior(one, 0 * one, t)
    alpha, sigma = schedule.alpha(t, one), schedule.sigma(t, one)
    rest = gaussian.denoised(0 * one, alpha, sigma)
    gain = gaussian.denoised(one, alpha, sigma) - rest
    for i in reversed(range(len(t))):
        keep = from_xt[i] + from_x0[i] * gain[i]
        mean = keep * mean + from_x0[i] * rest[i]
        variance = keep**2 * variance + spread[i]
    return float(mean), float(variance**0.5)


def test_exact_denoising_draws_from_the_data():
    """Up to β̃, which is too small a step: .374 of .4 with 60 steps."""
    gaussian, schedule = Gaussian(0.3, 0.4**2), Schedule(cosine(60))
    mean, spread = drawn_by_the_law(gaussian, schedule)
    assert mean == pytest.approx(0.3, abs=1e-3)
    assert 0.37 < spread < 0.38
    x = sample(
        Exact(gaussian, schedule), (6000, 1), generator=seeded(), clip=None
    )
    assert x.mean().item() == pytest.approx(mean, abs=0.015)
    assert x.std().item() == pytest.approx(spread, abs=0.01)


def test_a_loop_that_clamps_x_t_loses_the_distribution():
    """What public code does: it ends at the border instead of .3 ± .4."""
    model = Exact(Gaussian(0.3, 0.4**2), Schedule(cosine(60)))
    right = sample(model, (2000, 1), generator=seeded(), clip=None)
    assert right.mean().item() == pytest.approx(0.3, abs=0.03)
    assert right.std().item() == pytest.approx(0.374, abs=0.02)
    both = exhibits.clamped_and_scaled(model, (2000, 1), seeded())
    assert both.mean() > 0.97 and both.std() < 0.03
    clamped = exhibits.clamped(model, (2000, 1), seeded())
    assert clamped.std() < 0.9 * right.std()


def test_without_new_noise_all_samples_are_the_mean():
    model = Exact(Gaussian(0.3, 0.4**2), Schedule(cosine(60)))
    made = exhibits.silent(model, (50, 1), seeded())
    torch.testing.assert_close(
        made, torch.full((50, 1), 0.3), rtol=0, atol=1e-3
    )


def test_a_single_picture_hides_the_bad_loop():
    """Where all data is one number, the last guess mends everything."""
    model = Exact(Gaussian(0.25, 0.0), Schedule(cosine(60)))
    for loop in (exhibits.clamped, exhibits.clamped_and_scaled):
        made = loop(model, (9, 1), seeded())
        torch.testing.assert_close(made, torch.full((9, 1), 0.25))


TIMES = {
    "0, which is no noise": (
        torch.tensor([0, 1, 2]), "t: got 0 to 2, expected 1 to 1000"
    ),
    "diffusers' last but one": (
        torch.tensor([1001, 1, 2]), "t: got 1 to 1001, expected 1 to 1000"
    ),
    "a fraction": (
        torch.rand(3), "t: got torch.float32, expected whole numbers"
    ),
    "one for all": (
        torch.tensor(5),
        "t: got shape () for 3 pictures, expected one step for each",
    ),
    "one too many": (
        torch.ones(4).long(),
        "t: got shape (4,) for 3 pictures, expected one step for each",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TIMES)
def test_times_that_are_none_are_refused(name):
    t, message = TIMES[name]
    x = torch.zeros(SHAPE)
    with pytest.raises(ValueError) as caught:
        check_times(t, x, 1000, first=1)
    assert str(caught.value) == message
    if t.ndim and len(t) == 3 and not t.is_floating_point():
        with pytest.raises(ValueError, match="expected 1 to 1000"):
            denoiser(steps=1000)(x, t)


def test_diffusers_takes_minus_1_for_its_noisiest_step():
    """A t counted from 1 that is made one of theirs, at t = 0."""
    other = DDPMScheduler()
    x, t = torch.ones(1, 2), torch.tensor([-1])
    noisy = other.add_noise(x, 0 * x, t)
    assert noisy[0, 0].item() == pytest.approx(4.0358e-5**0.5, rel=1e-3)
    with pytest.raises(ValueError, match="t: got -1 to -1, expected 0 to"):
        Schedule(linear()).noisy(x, t, 0 * x)


def test_diffusers_takes_one_t_for_a_batch():
    """A forgotten draw for each picture is no error there."""
    x, t = torch.ones(3, 2), torch.tensor([7])
    assert DDPMScheduler().add_noise(x, 0 * x, t).shape == x.shape
    with pytest.raises(ValueError, match=r"t: got shape \(1,\) for 3 pictur"):
        check_times(t, x, 1000)


def test_diffusers_fixed_large_log_is_no_number():
    """It takes the root of a logarithm (diffusers#14569)."""
    x = torch.zeros(1, 2, 2, 2)
    other = DDPMScheduler(variance_type="fixed_large_log")
    assert other.step(x, 500, x).prev_sample.isnan().all()
