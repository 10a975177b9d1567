"""A picture is noised and drawn again: which steps, and what is kept."""

import pytest
import torch

from llmnotes.diffusion.ddim import visited
from llmnotes.diffusion.ddpm import Data, Denoiser, Schedule, cosine
from llmnotes.diffusion.ddpm.schedule import scaled_linear
from llmnotes.diffusion.latent_diffusion import redraw
from llmnotes.diffusion.latent_diffusion.img2img import left

TIMES = [10, 8, 6, 4, 2, 0]


def seed(number=0):
    return torch.Generator().manual_seed(number)


class Heard(torch.nn.Module):
    """Answers what it was given, and remembers it."""

    def __init__(self):
        super().__init__()
        self.times, self.first = [], None

    def forward(self, x, time, condition):
        self.times.append(float(time[0]))
        self.first = x if self.first is None else self.first
        return condition * x


def denoiser(betas):
    return Denoiser(Heard(), Schedule(betas), Data())


LEFT = {1.0: TIMES, 0.99: TIMES[1:], 0.6: TIMES[2:], 0.39: TIMES[4:]}


@pytest.mark.parametrize("strength", LEFT)
def test_a_share_of_the_steps_is_made_again(strength):
    assert left(TIMES, strength, 5) == LEFT[strength]


@pytest.mark.parametrize("strength", [0.2, 0.6, 1.0])
def test_a_picture_begins_as_noisy_as_the_first_step_left(strength):
    """α_t of the picture and σ_t of the generator's noise, by hand."""
    model, x0 = denoiser(cosine(10)), torch.randn(2, 3, 5, 4).double()
    redraw(
        model, x0, TIMES, torch.tensor(0.5), strength=strength,
        generator=seed(),
    )  # fmt: skip
    first = LEFT.get(strength, TIMES[4:])[0]
    bar = model.schedule.alphas_bar[first]
    noise = torch.randn(x0.shape, generator=seed()).double()
    expected = bar.sqrt() * x0 + (1 - bar).sqrt() * noise
    torch.testing.assert_close(model.network.first, expected)
    heard = [round(10 * time) for time in model.network.times]
    assert heard == [t for t in TIMES if 0 < t <= first]


def test_strength_1_keeps_a_trace_of_the_picture():
    """Of Stable Diffusion's schedule .068, of the cosine nothing to see."""
    kept = []
    for betas in (scaled_linear(), cosine()):
        model = denoiser(betas)
        seen = []
        for x0 in (torch.full((1, 1, 4, 4), value) for value in (0.0, 1.0)):
            model.network.first = None
            redraw(
                model, x0, visited(1000, 5), torch.tensor(0.0), strength=1,
                generator=seed(),
            )  # fmt: skip
            seen.append(model.network.first)
        kept.append(float((seen[1] - seen[0]).mean()))
    assert kept == pytest.approx([0.0683, 0.0], abs=1e-4)


def test_no_gradient_and_no_other_random_numbers():
    before, x0 = torch.get_rng_state(), torch.ones(1, 1, 2, 2)
    x0.requires_grad_()
    drawn = redraw(
        denoiser(cosine(10)), x0, TIMES, torch.tensor(0.5), strength=0.5,
        generator=seed(),
    )  # fmt: skip
    assert not drawn.requires_grad
    assert torch.equal(torch.get_rng_state(), before)


REFUSALS = {
    0: "strength: got 0, expected above 0 and at most 1",
    -0.1: "strength: got -0.1, expected above 0 and at most 1",
    1.01: "strength: got 1.01, expected above 0 and at most 1",
    0.19: "strength: got 0.19, expected 0.2 or more: of 5 steps none is left",
}


@pytest.mark.parametrize("strength", REFUSALS)
def test_no_share_is_refused(strength):
    with pytest.raises(ValueError) as error:
        left(TIMES, strength, 5)
    assert str(error.value) == REFUSALS[strength]
