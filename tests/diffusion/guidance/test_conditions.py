"""Conditions of any form are stacked and dropped row by row."""

import pytest
import torch

from llmnotes.diffusion.guidance.conditions import (
    dropped,
    repeated,
    stacked,
    together,
)

CLASSES = torch.tensor([3, 1, 4])
CAPTION = {
    "tokens": torch.arange(6).view(3, 2),
    "pooled": (torch.ones(3, 4), [torch.tensor([True, False, True])]),
}


def test_any_form_is_stacked_part_by_part():
    both = stacked(CAPTION, CAPTION)
    assert both["tokens"].tolist() == 2 * CAPTION["tokens"].tolist()
    assert both["pooled"][0].shape == (6, 4)
    assert both["pooled"][1][0].tolist() == 2 * [True, False, True]
    assert isinstance(both["pooled"], tuple)


def test_one_row_is_repeated_and_more_are_left():
    assert repeated(torch.tensor([7]), CLASSES).tolist() == [7, 7, 7]
    assert repeated(CLASSES, CLASSES) is CLASSES
    tall = repeated(torch.ones(1, 2, 5), torch.zeros(3, 2, 5))
    assert tall.shape == (3, 2, 5)


def drop(condition, share, seed=0):
    nothing = together(lambda part: torch.full_like(part, -1), condition)
    draw = torch.Generator().manual_seed(seed)
    return dropped(condition, nothing, share, generator=draw)


def test_all_parts_of_a_row_are_dropped_together():
    first = torch.arange(5000)
    lost, rows = drop((first, first[:, None].expand(-1, 3)), 0.3)
    assert (lost == -1).float().mean() == pytest.approx(0.3, abs=0.02)
    assert torch.equal((rows == -1).all(1), lost == -1)
    assert torch.equal((rows == -1).any(1), lost == -1)
    assert torch.equal(lost[lost >= 0], first[lost >= 0])


def test_parts_dropped_on_their_own_are_gone_together_only_by_the_square():
    """The trap of two text encoders: .1 each is .01, √.1 = .316 each is .1."""
    ones = torch.zeros(20_000)
    for share, both in ((0.1, 0.01), (0.1**0.5, 0.1)):
        lost = [drop(ones, share, seed) == -1 for seed in (1, 2)]
        gone = (lost[0] & lost[1]).float().mean()
        assert gone == pytest.approx(both, abs=0.007)


def test_none_and_all_can_be_dropped():
    assert drop(CLASSES, 0.0).tolist() == CLASSES.tolist()
    assert drop(CLASSES, 1.0).tolist() == [-1, -1, -1]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: drop(CLASSES, 1.5), "share: got 1.5, expected 0 to 1"),
        (lambda: stacked("a cat", "a dog"), "got str, expected a tensor"),
        (lambda: stacked((), ()), r"got \(\), expected a tensor"),
        (lambda: stacked((CLASSES,), [CLASSES]), "expected the same form"),
        (lambda: stacked(CLASSES, (CLASSES,)), "got tuple where another"),
        (
            lambda: stacked({"a": CLASSES}, {"b": CLASSES}),
            "expected the same form",
        ),
        (
            lambda: stacked(torch.ones(2, 77), torch.ones(2, 12)),
            "padded to one length",
        ),
        (lambda: stacked(CLASSES, CLASSES.float()), "rows of one type"),
    ],
)
def test_what_fits_no_form_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
