"""A guided denoiser is a denoiser: whatever samples with one, samples."""

import pytest
import torch

from llmnotes.diffusion.ddpm import Data, Noise, Velocity, sample
from llmnotes.diffusion.guidance import (
    ClassifierFree,
    ClassifierGuidance,
    NoisyClassifier,
    Thresholded,
    Unconditional,
    static,
)
from tests.diffusion.guidance import small
from tests.diffusion.guidance.small import CLASSES, LABELS, TIMES

TARGETS = (Data(), Noise(), Velocity())


def wrappers(denoiser):
    """One of each kind."""
    torch.manual_seed(1)
    classifier = NoisyClassifier(6, CLASSES, 8).double()
    return {
        "free": ClassifierFree(denoiser, 2.5),
        "classifier": ClassifierGuidance(denoiser, classifier, 1.5),
        "cut": Thresholded(denoiser, static),
        "deaf": Unconditional(denoiser),
        "all": Thresholded(
            ClassifierGuidance(ClassifierFree(denoiser, 2.5), classifier, 1.5),
            static,
        ),
    }


@pytest.mark.parametrize("name", wrappers(small.denoiser()))
@pytest.mark.parametrize("target", TARGETS, ids=lambda t: type(t).__name__)
def test_what_is_said_data_and_noise_agree(name, target):
    guided = wrappers(small.denoiser(target))[name]
    xt = small.noisy()
    schedule = guided.schedule
    alpha, sigma = schedule.alpha(TIMES, xt), schedule.sigma(TIMES, xt)
    x0 = guided.data(xt, TIMES, LABELS)
    noise = guided.noise(xt, TIMES, LABELS)
    torch.testing.assert_close(alpha * x0 + sigma * noise, xt)
    said = guided(xt, TIMES, LABELS)
    torch.testing.assert_close(said, target.of(x0, noise, alpha, sigma))


@pytest.mark.parametrize("name", wrappers(small.denoiser()))
def test_sampling_leaves_modes_and_gradients_and_follows_its_seed(name):
    guided = wrappers(small.denoiser())[name].float()
    guided.train()
    guided.denoiser.eval()
    modes = [module.training for module in guided.modules()]

    def drawn(seed):
        draw = torch.Generator().manual_seed(seed)
        return sample(guided, (4, 2, 3), LABELS, generator=draw)

    first = drawn(0)
    assert torch.equal(first, drawn(0)) and not torch.equal(first, drawn(1))
    assert not first.requires_grad and first.isfinite().all()
    assert [module.training for module in guided.modules()] == modes
    assert all(p.grad is None for p in guided.parameters())
    assert all(p.requires_grad for p in guided.parameters())


def test_the_unconditional_hears_nothing():
    denoiser, xt = small.denoiser(), small.noisy()
    said = Unconditional(denoiser)(xt, TIMES, LABELS)
    torch.testing.assert_close(said, denoiser(xt, TIMES))
    assert (said - denoiser(xt, TIMES, LABELS)).abs().max() > 0.1


def test_a_rule_acts_on_x_0_and_never_on_x_t():
    denoiser, xt = small.denoiser(), 3 * small.noisy()
    cut = Thresholded(denoiser, static)
    x0 = denoiser.data(xt, TIMES, LABELS)
    assert x0.abs().max() > 1
    assert torch.equal(cut.data(xt, TIMES, LABELS), x0.clamp(-1, 1))
    # the noise is computed again from what was cut: both make x_t
    assert (
        cut.noise(xt, TIMES, LABELS) - denoiser.noise(xt, TIMES, LABELS)
    ).abs().max() > 0.1


def test_weights_are_those_of_the_denoiser_once():
    denoiser = small.denoiser()
    guided = ClassifierFree(denoiser, 2.0)
    names = [f"denoiser.{name}" for name in denoiser.state_dict()]
    assert list(guided.state_dict()) == names
    assert guided.network is denoiser.network
    assert guided.schedule is denoiser.schedule
