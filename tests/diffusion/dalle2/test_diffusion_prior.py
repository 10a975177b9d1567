"""The diffusion prior: guided, hidden from, and never clipped."""

import torch
from torch import nn

from llmnotes.diffusion.dalle2 import DiffusionPrior, scaled
from llmnotes.diffusion.ddim import DPMSolver2M, sample
from llmnotes.diffusion.ddpm import denoising_loss
from tests.diffusion.dalle2 import small
from tests.diffusion.dalle2.small import fresh

TEXTS, IMAGES = (x[:6] for x in small.pairs())


class Sure(nn.Module):
    """Says the same embedding, whatever the noise."""

    config = small.NETWORK

    def __init__(self, said):
        super().__init__()
        self.said = said

    def forward(self, x, time, condition=None):
        return self.said

    def nothing(self, condition):
        return torch.zeros_like(condition)


def test_large_numbers_of_an_embedding_are_not_clipped():
    """A picture's bound of 1 would cut off most of these."""
    said = torch.tensor([[2.4, -1.0, 0.3, 0.1, 0.0, 0.0, 0.2]])
    prior = DiffusionPrior(Sure(said), steps=4)
    text = TEXTS[:1]
    torch.testing.assert_close(prior.guess(text, fresh()), said)
    clipped = sample(
        prior.denoiser, (1, 7), text, generator=fresh(), steps=4,
        solver=DPMSolver2M(),
    )  # fmt: skip
    assert clipped.max() == 1


def test_in_one_step_it_says_what_it_guesses_of_noise_alone():
    prior = small.diffusion(steps=1)
    noise = torch.randn(TEXTS.shape, generator=fresh(2))
    said = prior.denoiser.network(noise, torch.ones(6), TEXTS)
    torch.testing.assert_close(prior.drawn(TEXTS, fresh(2)), scaled(said))


def test_the_scale_leads_away_from_what_no_caption_says():
    prior = small.diffusion(steps=1, scale=3.0)
    noise = torch.randn(TEXTS.shape, generator=fresh(2))
    time, zeros = torch.ones(6), torch.zeros_like(TEXTS)
    with_, without = (
        prior.denoiser.network(noise, time, t) for t in (TEXTS, zeros)
    )
    expected = without + 3 * (with_ - without)
    torch.testing.assert_close(prior.guess(TEXTS, fresh(2)), expected)


def test_the_loss_is_the_simple_one_with_captions_hidden():
    draw = fresh(5)
    t = torch.randint(1, 1001, (6,), generator=draw)
    noise = torch.randn(IMAGES.shape, generator=draw)
    hidden = torch.rand(6, generator=draw) < 0.4
    assert 0 < hidden.sum() < 6
    told = TEXTS.masked_fill(hidden[:, None], 0.0)
    prior = small.diffusion(drop=0.4)
    expected = denoising_loss(prior.denoiser, IMAGES, t, noise, told)
    torch.testing.assert_close(prior.loss(TEXTS, IMAGES, fresh(5)), expected)


def test_the_target_is_the_embedding_itself():
    """A network that says it has no loss, at every t."""
    prior = DiffusionPrior(Sure(IMAGES))
    assert prior.loss(TEXTS, IMAGES, fresh()) == 0


def test_all_times_from_one_to_the_last_are_learned():
    seen = []

    class Watched(Sure):
        def forward(self, x, time, condition=None):
            seen.append(time)
            return self.said

    many = IMAGES[:1].expand(4000, -1)
    prior = DiffusionPrior(Watched(many))
    prior.loss(many, many, fresh())
    steps = (seen[0] * 1000).round()
    assert steps.min() <= 2 and steps.max() >= 999 and steps.min() >= 1
