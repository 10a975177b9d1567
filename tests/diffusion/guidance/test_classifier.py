"""A classifier's gradient pulls, and nothing else is touched."""

import pytest
import torch
from torch import nn

from llmnotes.diffusion.ddpm import Noise
from llmnotes.diffusion.guidance import (
    AsIfClean,
    ClassifierGuidance,
    NoisyClassifier,
    Unconditional,
    pull,
)
from tests.diffusion.guidance import small
from tests.diffusion.guidance.small import CLASSES, LABELS, TIME, TIMES


def classifier():
    torch.manual_seed(2)
    return NoisyClassifier(6, CLASSES, 8).double()


class Linear(nn.Module):
    """Logits w_y · x: the gradient is w_y less the mean of w."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x, time):
        return x.flatten(1) @ self.weights.T


def test_the_gradient_of_a_linear_one_by_hand():
    """Two classes ±1 at x = 0: p = ½, ∇ log p(first) = 1 - (½ - ½) = 1."""
    up = Linear(torch.tensor([[1.0], [-1.0]]))
    found = pull(up, torch.zeros(2, 1), torch.ones(2), torch.tensor([0, 1]))
    assert found.tolist() == [[1.0], [-1.0]]


def test_each_picture_has_its_own_gradient():
    """The sum over the batch mixes none: row by row and by differences."""
    xt, time, judge = small.noisy(), TIME, classifier()
    found = pull(judge, xt, time, LABELS)
    for i in range(len(xt)):
        row = slice(i, i + 1)
        alone = pull(judge, xt[row], time[row], LABELS[row])
        torch.testing.assert_close(found[row], alone)

    def log_p(x):
        return judge(x, time).log_softmax(1)[torch.arange(4), LABELS]

    step = torch.zeros_like(xt)
    step[:, 1, 2] = 1e-6
    slope = (log_p(xt + step) - log_p(xt - step)) / 2e-6
    torch.testing.assert_close(slope, found[:, 1, 2], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("scale", [0.0, 1.0, -2.0])
def test_the_noise_is_that_of_algorithm_2(scale):
    """ε - s √(1 - ᾱ) ∇ log p."""
    denoiser, xt = small.denoiser(Noise()), small.noisy()
    guided = ClassifierGuidance(denoiser, classifier(), scale)
    gradient = pull(classifier(), xt, TIME, LABELS)
    left = (1 - denoiser.schedule.alphas_bar[TIMES]).sqrt()[:, None, None]
    expected = denoiser.noise(xt, TIMES, LABELS) - scale * left * gradient
    torch.testing.assert_close(guided.noise(xt, TIMES, LABELS), expected)


def test_the_mean_of_a_step_is_that_of_algorithm_1_to_first_order():
    """It moves by s β/√(1-β) ∇ log p, where Σ = β moves it by s β ∇."""
    denoiser, xt, t = small.denoiser(), small.noisy(), TIMES
    guided = ClassifierGuidance(denoiser, classifier(), 3.0)
    means = [
        d.schedule.posterior(d.data(xt, t, LABELS), xt, t)[0]
        for d in (guided, denoiser)
    ]
    gradient = pull(classifier(), xt, TIME, LABELS)
    beta = denoiser.schedule.betas[t][:, None, None]
    moved = 3.0 * beta / (1 - beta).sqrt() * gradient
    torch.testing.assert_close(means[0] - means[1], moved)
    small_beta = beta[0].item()
    assert moved[0] == pytest.approx(
        3.0 * small_beta * gradient[0], rel=small_beta
    )


def test_the_exact_classifier_turns_one_gaussian_into_the_other():
    """Bayes: ∇ log p(x) + ∇ log p(y|x) = ∇ log p(x|y), at every level.

    x is N(0, 1) + y with y = ±1, equally likely; that is no Gaussian, and
    its score and p(y | x_t) are known: alpha tanh.
    """
    denoiser = small.denoiser()
    schedule, t = denoiser.schedule, TIMES
    xt = small.noisy()[:, :1, :1]
    alpha = schedule.alpha(t, xt)

    class Mixture(type(denoiser)):
        def data(self, x, t, condition=None):
            # variance 1 at every level: the score of the mixture, exactly
            a, s = self.schedule.alpha(t, x), self.schedule.sigma(t, x)
            score = a * (a * x).tanh() - x
            return (x + s**2 * score) / a

    class Bayes(nn.Module):
        def forward(self, x, time):
            x = x.flatten(1)
            return torch.cat([x, -x], 1) * alpha.flatten(1)

    mixture = Mixture(nn.Identity(), schedule, denoiser.target)
    guided = ClassifierGuidance(mixture, Bayes(), 1.0)
    first = torch.zeros(4, dtype=torch.long)
    expected = (xt - alpha) * schedule.sigma(t, xt)  # -σ · score of N(α, 1)
    torch.testing.assert_close(guided.noise(xt, t, first), expected)


def test_no_gradient_runs_through_the_denoiser_or_into_weights():
    guided = ClassifierGuidance(small.denoiser(), classifier(), 1.0)
    xt = small.noisy().requires_grad_()
    with torch.no_grad():
        free = guided.data(xt, TIMES, LABELS)
    with torch.inference_mode():
        inside = guided.data(xt * 1, TIMES, LABELS)
    assert torch.equal(free, inside) and not free.requires_grad
    assert xt.grad is None
    assert all(p.grad is None for p in guided.parameters())


def test_the_denoiser_can_be_kept_from_hearing_the_class():
    denoiser, judge = small.denoiser(), classifier()
    deaf = ClassifierGuidance(Unconditional(denoiser), judge, 1.0)
    heard = ClassifierGuidance(denoiser, judge, 1.0)
    xt = small.noisy()
    pulled = heard.data(xt, TIMES, LABELS) - denoiser.data(xt, TIMES, LABELS)
    torch.testing.assert_close(
        deaf.data(xt, TIMES, LABELS) - denoiser.data(xt, TIMES), pulled
    )


def test_only_the_noise_aware_one_reads_the_time():
    xt, time = small.noisy(), TIME
    aware, clean = classifier(), AsIfClean(classifier())
    never = torch.zeros_like(time)
    assert torch.equal(clean(xt, time), aware(xt, never))
    assert (aware(xt, time) - aware(xt, never)).abs().max() > 0.01


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (None, "condition: got None, expected the classes"),
        (torch.full((4,), 5), "got classes 5 to 5, expected 0 to 4"),
        (torch.tensor([0, -1, 2, 1]), "got classes -1 to 2, expected 0 to 4"),
    ],
)
def test_a_class_that_nobody_knows_is_refused(condition, said):
    guided = ClassifierGuidance(
        Unconditional(small.denoiser()), classifier(), 1.0
    )
    with pytest.raises(ValueError, match=said):
        guided.data(small.noisy(), TIMES, condition)


def test_a_scale_of_a_classifier_is_a_finite_number():
    with pytest.raises(ValueError, match="scale: got nan"):
        ClassifierGuidance(small.denoiser(), classifier(), float("nan"))
