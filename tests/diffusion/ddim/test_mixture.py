import torch

from llmnotes.diffusion.ddim import Mixture
from llmnotes.diffusion.ddpm import Schedule, cosine
from tests.diffusion.ddim.small import noise, one_part


def test_one_part_is_the_rule_for_a_gaussian():
    denoiser = one_part(mean=0.3, spread=0.4)
    x, t = noise(9, 1), torch.arange(1, 1000, 111)
    bar = denoiser.schedule.alphas_bar[t, None]
    # cov(x_0, x_t) / var(x_t), from the mean
    slope = bar.sqrt() * 0.16 / (bar * 0.16 + 1 - bar)
    expected = 0.3 + slope * (x - bar.sqrt() * 0.3)
    torch.testing.assert_close(denoiser.data(x, t), expected)


def test_no_square_of_pictures_and_noise_is_guessed_better():
    # the mean square error is least, so no multiple of the guess beats it
    means, spreads = noise(3, 2, 2), torch.tensor([0.3, 0.1, 0.5]).double()
    denoiser = Mixture(Schedule(cosine()), means, spreads)
    generator = torch.Generator().manual_seed(1)
    part = torch.randint(3, (40_000,), generator=generator)
    x0 = means[part] + spreads[part, None, None] * noise(40_000, 2, 2, seed=2)
    t = torch.full((40_000,), 500)
    xt = denoiser.schedule.noisy(x0, t, noise(40_000, 2, 2, seed=3))
    guess = denoiser.data(xt, t)
    off = x0 - guess
    assert abs(float((off * guess).mean())) < 0.003  # orthogonal to itself,
    assert float((off * xt).mean().abs()) < 0.003  # to what it was told,
    assert float((off * xt.sin()).mean().abs()) < 0.003  # and to any of it


def test_a_condition_names_the_part():
    means, spreads = noise(3, 2), torch.tensor([0.3, 0.1, 0.5]).double()
    both = Mixture(Schedule(cosine()), means, spreads)
    x, t = noise(5, 2, seed=1), torch.tensor([3, 50, 200, 700, 1000])
    for part in range(3):
        alone = Mixture(
            Schedule(cosine()), means[part, None], spreads[part, None]
        )
        told = both.data(x, t, torch.full((5,), part))
        torch.testing.assert_close(told, alone.data(x, t))
