"""Priors: what all have in common, and what each says."""

import math

import pytest
import torch

from llmnotes.diffusion.dalle2 import (
    BestOf,
    Direct,
    MeanGap,
    MeanOf,
    Prior,
    Regression,
    scaled,
)
from llmnotes.diffusion.dalle2.priors import best
from tests.diffusion.dalle2 import small
from tests.diffusion.dalle2.small import fresh

TEXTS = small.pairs()[0][: small.DRAWS]


@pytest.mark.parametrize("name", small.PRIORS)
def test_what_is_drawn_has_the_length_that_a_decoder_knows(name):
    found = small.PRIORS[name]().drawn(TEXTS, fresh())
    lengths = torch.full((small.DRAWS,), math.sqrt(small.FEATURES))
    torch.testing.assert_close(found.norm(dim=1), lengths)


@pytest.mark.parametrize("name", small.PRIORS)
def test_equal_seeds_draw_the_same_and_leave_no_trace(name):
    prior = small.PRIORS[name]().train()
    one, two = (prior.drawn(TEXTS, fresh(4)) for _ in range(2))
    assert torch.equal(one, two) and not one.requires_grad
    assert prior.training
    assert all(p.grad is None for p in prior.parameters())


@pytest.mark.parametrize(
    "name, draws",
    [("direct", 0), ("mean gap", 0), ("regression", 0),
     ("autoregressive", 1), ("diffusion", 1)],
)  # fmt: skip
def test_only_some_priors_draw(name, draws):
    prior = small.PRIORS[name]()
    one, two = (prior.drawn(TEXTS, fresh(seed)) for seed in (0, 1))
    assert torch.equal(one, two) == (not draws)


@pytest.mark.parametrize("name", ["regression", "autoregressive", "diffusion"])
def test_a_loss_is_a_number_with_gradients_and_a_function_of_its_draws(name):
    prior = small.PRIORS[name]()
    texts, images = small.pairs()
    losses = [prior.loss(texts, images, fresh(seed)) for seed in (0, 0, 1)]
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[0], losses[2]) == (name == "regression")
    losses[0].backward()
    assert all(
        p.grad is not None and torch.isfinite(p.grad).all()
        for p in prior.parameters()
    )


def test_direct_says_what_the_caption_says():
    torch.testing.assert_close(Direct().drawn(TEXTS, fresh()), TEXTS)


def test_the_mean_gap_moves_the_mean_caption_onto_the_mean_picture():
    texts, images = small.pairs()
    moved = MeanGap(texts, images).guess(texts, fresh())
    torch.testing.assert_close(moved.mean(0), images.mean(0))
    torch.testing.assert_close(moved - moved[:1], texts - texts[:1])


def test_a_regression_is_its_network_told_of_noise_alone():
    prior = Regression(small.network())
    nothing, last = torch.zeros_like(TEXTS), torch.ones(len(TEXTS))
    said = prior.network(nothing, last, TEXTS)
    torch.testing.assert_close(prior.drawn(TEXTS, fresh()), scaled(said))
    images = small.pairs()[1][: len(TEXTS)]
    error = (said - images).square().sum() / images.numel()
    torch.testing.assert_close(prior.loss(TEXTS, images, fresh()), error)


class Listed(Prior):
    """Says what it was given, row after row."""

    def __init__(self, said):
        super().__init__()
        self.said = said

    def guess(self, texts, generator):
        return self.said


CANDIDATES = scaled(small.noise(3 * 5, 7, seed=8, dtype=torch.float32))


def test_the_best_is_what_a_loop_finds():
    found = CANDIDATES.view(3, 5, 7)
    expected = []
    for caption in range(5):
        dots = [float(found[k, caption] @ TEXTS[caption]) for k in range(3)]
        expected.append(found[dots.index(max(dots)), caption])
    assert torch.equal(best(found, TEXTS), torch.stack(expected))
    drawn = BestOf(Listed(CANDIDATES), 3).drawn(TEXTS, fresh())
    torch.testing.assert_close(drawn, torch.stack(expected))


def test_each_caption_chooses_among_its_own():
    """Candidates of a caption lie a whole batch apart."""
    rows = torch.eye(7).repeat(2, 1)[:10] * 7**0.5
    asked = []

    class Asked(Listed):
        def guess(self, texts, generator):
            asked.append(texts)
            return self.said

    found = BestOf(Asked(rows), 2).drawn(TEXTS, fresh())
    assert torch.equal(asked[0], torch.cat([TEXTS, TEXTS]))
    for row, said in enumerate(found):
        assert any(torch.equal(said, rows[row + 5 * k]) for k in range(2))


def test_of_one_the_best_and_the_mean_are_the_same():
    prior = small.diffusion()
    expected = prior.drawn(TEXTS, fresh(3))
    for several in (BestOf(prior, 1), MeanOf(prior, 1)):
        torch.testing.assert_close(several.drawn(TEXTS, fresh(3)), expected)


def test_more_candidates_are_nearer_to_the_caption():
    prior = small.autoregressive()
    near = [
        (BestOf(prior, count).drawn(TEXTS, fresh()) * TEXTS).sum(1).mean()
        for count in (1, 4, 16)
    ]
    assert near[0] < near[1] < near[2]


def test_the_mean_is_that_of_all_candidates():
    expected = scaled(CANDIDATES.view(3, 5, 7).mean(0))
    found = MeanOf(Listed(CANDIDATES), 3).drawn(TEXTS, fresh())
    torch.testing.assert_close(found, expected)


UNIT = TEXTS / 7**0.5
REFUSED = {
    **{
        f"unit vectors: {name}": (
            lambda made=made: made().drawn(UNIT, fresh()),
            "texts: got an embedding of length 1, expected √7 = 2.65; "
            "`scaled` makes it",
        )
        for name, made in small.PRIORS.items()
    },
    "one of none": (
        lambda: BestOf(Direct(), 0),
        "count: got 0, expected at least 1",
    ),
    "half of them hidden twice": (
        lambda: small.diffusion(drop=1.5),
        "drop: got 1.5, expected a share from 0 to 1",
    ),
    "the same, code by code": (
        lambda: small.autoregressive(drop=-0.1),
        "drop: got -0.1, expected a share from 0 to 1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)
