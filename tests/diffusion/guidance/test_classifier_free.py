"""Guidance without a classifier: one line through u and c."""

import numpy as np
import pytest
import torch

from llmnotes.diffusion.ddpm import Data, Denoiser, Noise, Velocity
from llmnotes.diffusion.guidance import (
    ClassifierFree,
    GaussianDenoiser,
    Interval,
    Normal,
    Rescaled,
    guide,
    rescaled,
)
from tests.diffusion.guidance import small
from tests.diffusion.guidance.small import LABELS, TIMES, Counted

SCALES = (-1.0, 0.0, 0.5, 1.0, 3.0, 7.5)


def counted():
    denoiser = small.denoiser()
    denoiser.network = Counted(denoiser.network)
    return denoiser, denoiser.network.seen


def test_one_number_by_hand():
    """u = 1, c = 3: halfway 2, at 1 the 3 itself, at 2.5 beyond it 6."""
    u, c = torch.tensor([[1.0]]), torch.tensor([[3.0]])
    found = [guide(u, c, s).item() for s in (0, 0.5, 1, 2.5, -1)]
    assert found == [1, 2, 3, 6, -1]


@pytest.mark.parametrize("scale", SCALES)
def test_it_is_the_papers_formula_with_one_more(scale):
    """(1 + w) c - w u of eq. 6, by value and by every gradient."""
    guided = ClassifierFree(small.denoiser(), scale)
    plain, xt, w = small.denoiser(), small.noisy(), scale - 1
    ours = guided(xt, TIMES, LABELS)
    theirs = (1 + w) * plain(xt, TIMES, LABELS) - w * plain(xt, TIMES)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    for mine, other in zip(
        guided.parameters(), plain.parameters(), strict=True
    ):
        torch.testing.assert_close(mine.grad, other.grad)


@pytest.mark.parametrize("target", (Noise(), Velocity(), Data()))
def test_guiding_the_noise_the_data_or_the_velocity_is_the_same(target):
    denoiser, xt = small.denoiser(target), small.noisy()
    guided = ClassifierFree(denoiser, 3.0)
    for ask in ("data", "noise"):
        said = getattr(denoiser, ask)
        expected = guide(said(xt, TIMES), said(xt, TIMES, LABELS), 3.0)
        torch.testing.assert_close(
            getattr(guided, ask)(xt, TIMES, LABELS), expected
        )


@pytest.mark.parametrize(
    ("scale", "evaluations"), [(0, [4]), (1, [4]), (2, [8]), (0.5, [8])]
)
def test_scales_0_and_1_need_one_half_and_others_one_doubled_batch(
    scale, evaluations
):
    denoiser, seen = counted()
    ClassifierFree(denoiser, scale)(small.noisy(), TIMES, LABELS)
    assert seen == evaluations


@pytest.mark.parametrize(
    ("scale", "condition"), [(1, LABELS), (0, None), (5, None)]
)
def test_it_is_the_model_itself_to_the_bit_where_nothing_is_added(
    scale, condition
):
    denoiser, xt = small.denoiser(), small.noisy()
    guided = ClassifierFree(denoiser, scale)
    assert torch.equal(
        guided(xt, TIMES, condition), denoiser(xt, TIMES, condition)
    )


def test_a_network_that_knows_no_condition_of_its_own_is_asked_twice():
    denoiser, seen = counted()
    guided = ClassifierFree(denoiser, 2.0)
    doubled = guided(small.noisy(), TIMES, LABELS)
    denoiser.network.nothing = None  # hides the method
    denoiser.nothing = lambda condition: None
    twice = guided(small.noisy(), TIMES, LABELS)
    torch.testing.assert_close(doubled, twice)
    assert seen == [8, 4, 4]


def test_a_negative_condition_stands_where_nothing_stood():
    denoiser, xt = small.denoiser(), small.noisy()
    away = ClassifierFree(denoiser, 2.0, negative=torch.tensor([1]))
    named, other = (
        denoiser(xt, TIMES, c) for c in (LABELS, torch.full((4,), 1))
    )
    torch.testing.assert_close(
        away(xt, TIMES, LABELS), guide(other, named, 2.0)
    )
    for_each = ClassifierFree(denoiser, 2.0, negative=torch.ones(4).long())
    assert torch.equal(for_each(xt, TIMES, LABELS), away(xt, TIMES, LABELS))


def test_without_a_condition_it_leads_away_from_the_negative_alone():
    denoiser, xt = small.denoiser(), small.noisy()
    away = torch.full((4,), 1)
    guided = ClassifierFree(denoiser, 2.0, negative=away)
    expected = guide(denoiser(xt, TIMES, away), denoiser(xt, TIMES), 2.0)
    torch.testing.assert_close(guided(xt, TIMES), expected)


def test_a_condition_may_be_a_pair_of_tensors():
    schedule = small.denoiser().schedule
    exact = GaussianDenoiser(schedule, Normal(0.0, 1.0))
    xt = small.noisy()
    pair = torch.full_like(xt, 0.7), torch.full_like(xt, 0.4)
    expected = guide(exact(xt, TIMES), exact(xt, TIMES, pair), 3.0)
    guided = ClassifierFree(exact, 3.0)
    torch.testing.assert_close(guided(xt, TIMES, pair), expected)


class TestRescaled:
    """The spread that the condition alone gives comes back."""

    def test_it_is_numpys(self):
        u, c = small.noisy(1), small.noisy(2)
        guided = guide(u, c, 4.0)
        wide = np.std(guided.numpy(), axis=(1, 2), ddof=1, keepdims=True)
        kept = np.std(c.numpy(), axis=(1, 2), ddof=1, keepdims=True)
        expected = guided.numpy() * (0.7 * kept / wide + 0.3)
        np.testing.assert_allclose(rescaled(guided, c), expected)

    def test_a_whole_share_gives_back_the_spread_and_none_changes_nothing(
        self,
    ):
        u, c = small.noisy(1), small.noisy(2)
        guided = guide(u, c, 4.0)
        whole = rescaled(guided, c, 1.0)
        torch.testing.assert_close(whole.std((1, 2)), c.std((1, 2)))
        assert torch.equal(rescaled(guided, c, 0.0), guided)

    def test_the_denoiser_does_it_to_what_its_network_says(self):
        denoiser, xt = small.denoiser(Velocity()), small.noisy()
        ours = Rescaled(denoiser, 4.0, share=0.5)(xt, TIMES, LABELS)
        c = denoiser(xt, TIMES, LABELS)
        guided = guide(denoiser(xt, TIMES), c, 4.0)
        torch.testing.assert_close(ours, rescaled(guided, c, 0.5))


class TestInterval:
    """Guidance at some noise levels."""

    def test_it_acts_inside_and_nowhere_else(self):
        denoiser, xt = small.denoiser(), small.noisy()
        found = Interval(denoiser, 3.0, first=7, last=13)(xt, TIMES, LABELS)
        plain = denoiser(xt, TIMES, LABELS)
        guided = ClassifierFree(denoiser, 3.0)(xt, TIMES, LABELS)
        assert torch.equal(found[[0, 3]], plain[[0, 3]])
        torch.testing.assert_close(found[[1, 2]], guided[[1, 2]])

    def test_outside_it_costs_one_evaluation(self):
        denoiser, seen = counted()
        guided = Interval(denoiser, 3.0, first=7, last=13)
        for t in (1, 10):
            guided(small.noisy(), torch.full((4,), t), LABELS)
        assert seen == [4, 8]


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_is_a_finite_number(scale):
    with pytest.raises(ValueError, match=f"scale: got {scale}, expected a"):
        ClassifierFree(small.denoiser(), scale)


def test_a_negative_text_of_another_length_is_refused():
    denoiser = Denoiser(torch.nn.Identity(), small.denoiser().schedule, Data())
    guided = ClassifierFree(denoiser, 2.0, negative=torch.ones(1, 5))
    with pytest.raises(ValueError, match="padded to one length"):
        guided(small.noisy(), TIMES, torch.ones(4, 7))
