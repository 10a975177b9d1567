"""Guesses of x_0 come back to where pictures are."""

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from llmnotes.diffusion.guidance import dynamic, static


def guesses(seed=0, spread=3.0):
    draw = torch.Generator().manual_seed(seed)
    return spread * torch.randn(5, 3, 7, 2, generator=draw)


def test_one_row_by_hand():
    """|x| sorted: 0 1 2 4; at .5 the scale is 1.5, what is beyond is cut."""
    x0 = torch.tensor([[0.0, -4.0, 1.0, 2.0]])
    found = dynamic(x0, 0.5)
    assert found.tolist() == [[0, -1, pytest.approx(2 / 3), 1]]
    assert static(x0).tolist() == [[0, -1, 1, 1]]
    assert dynamic(x0, 1.0).tolist() == [[0, -1, 0.25, 0.5]]


def test_it_is_diffusers_once_its_largest_value_is_raised():
    theirs = DDIMScheduler(
        thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=99
    )
    x0 = guesses()
    torch.testing.assert_close(dynamic(x0, 0.9), theirs._threshold_sample(x0))


def test_diffusers_default_thresholding_only_cuts():
    """sample_max_value is 1: its dynamic thresholding is the static one."""
    theirs = DDIMScheduler(thresholding=True)
    x0 = guesses()
    assert torch.equal(theirs._threshold_sample(x0), static(x0))


@pytest.mark.parametrize("limit", [1.0, 2.5])
def test_pictures_within_the_limit_are_left_and_each_has_its_own_scale(limit):
    x0 = torch.cat([guesses(1, 9.0), guesses(2, 0.1)])
    found = dynamic(x0, 0.9, limit)
    assert torch.equal(found[5:], x0[5:])
    assert found.abs().max() <= limit + 1e-5
    assert torch.equal(found[2:3], dynamic(x0[2:3], 0.9, limit))


def test_fewer_pixels_end_at_the_limit_than_by_cutting():
    x0 = guesses()
    ends = [(f(x0).abs() >= 0.9999).float().mean() for f in (dynamic, static)]
    assert ends[0] < 0.05 and ends[1] > 0.6


def test_half_precision_stays_what_it_was():
    found = dynamic(guesses().half(), 0.9)
    assert found.dtype == torch.half
    torch.testing.assert_close(
        found.float(), dynamic(guesses(), 0.9), atol=2e-3, rtol=0
    )


def test_a_percentile_is_a_share():
    with pytest.raises(ValueError, match="got 99.5, expected 0 to 1"):
        dynamic(guesses(), 99.5)
