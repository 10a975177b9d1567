"""The autoregressive prior: a distribution over codes, and draws from it."""

import itertools

import numpy as np
import pytest
import torch

from llmnotes.diffusion.dalle2 import AutoregressivePrior, CodesConfig
from llmnotes.diffusion.dalle2.autoregressive import cosines
from tests.diffusion.dalle2 import small
from tests.diffusion.dalle2.small import fresh

TEXTS, IMAGES = small.pairs()
KEPT, BUCKETS = small.CODES.kept, small.CODES.buckets
EVERY = torch.tensor(list(itertools.product(range(BUCKETS), repeat=KEPT)))


def log_softmax(x):
    """By hand, in NumPy."""
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def by_hand(prior, text, nearness, codes):
    """Log p of codes: each asked for anew, from those before it alone."""
    total = 0.0
    for place, code in enumerate(codes):
        before = torch.tensor([codes[:place]], dtype=torch.long)
        said = prior.logits(text[None], nearness[None], before)[0, -1]
        total += log_softmax(said.detach().numpy())[code]
    return total


def test_log_likelihood_is_the_sum_over_codes_each_from_those_before_it():
    prior = small.autoregressive().double()
    texts, images = TEXTS[:4].double(), IMAGES[:4].double()
    codes = prior.codes.encode(images).tolist()
    nearness = prior.near(texts, images)
    expected = [
        by_hand(prior, *row)
        for row in zip(texts, nearness, codes, strict=True)
    ]
    found = prior.log_likelihood(texts, images).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_probabilities_of_all_codes_sum_up_to_one():
    prior = small.autoregressive().double()
    text = TEXTS[:1].double().expand(len(EVERY), -1)
    nearness = torch.full((len(EVERY),), 2)
    said = prior.logits(text, nearness, EVERY[:, :-1]).log_softmax(-1)
    found = said.gather(-1, EVERY[..., None])[..., 0].sum(1).exp()
    assert len(EVERY) == BUCKETS**KEPT == 64
    assert abs(found.sum().item() - 1) < 1e-12
    assert found.max() > 3 * found.min()


def test_the_loss_is_nats_for_each_code_where_nothing_is_hidden():
    prior = small.autoregressive(drop=0.0)
    found = prior.loss(TEXTS, IMAGES, fresh())
    nats = -prior.log_likelihood(TEXTS, IMAGES).mean() / KEPT
    torch.testing.assert_close(found, nats)


def test_the_gradient_of_the_last_bias_by_hand():
    prior = small.autoregressive(drop=0.0)
    prior.loss(TEXTS, IMAGES, fresh()).backward()
    codes = prior.codes.encode(IMAGES)
    said = prior.logits(TEXTS, prior.near(TEXTS, IMAGES), codes[:, :-1])
    chances = np.exp(log_softmax(said.detach().double().numpy()))
    right = np.eye(BUCKETS)[codes.numpy()]
    expected = (chances - right).mean((0, 1))
    found = prior.write.bias.grad.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_hidden_captions_are_zeros():
    prior = small.autoregressive(drop=1.0)
    codes, near = prior.codes.encode(IMAGES), prior.near(TEXTS, IMAGES)
    said = prior.logits(torch.zeros_like(TEXTS), near, codes[:, :-1])
    expected = torch.nn.functional.cross_entropy(
        said.flatten(0, 1), codes.flatten()
    )
    found = prior.loss(TEXTS, IMAGES, fresh())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("place", range(KEPT))
def test_a_code_depends_on_those_before_it_alone(place):
    prior = small.autoregressive()
    near, codes = prior.near(TEXTS, IMAGES), prior.codes.encode(IMAGES)
    before = prior.logits(TEXTS, near, codes)
    codes[:, place] = (codes[:, place] + 1) % BUCKETS
    moved = (prior.logits(TEXTS, near, codes) - before).abs().amax((0, 2))
    assert (moved[: place + 1] < 1e-5).all() and (moved[place + 1 :] > 1e-3
                                                  ).all()  # fmt: skip


def test_where_a_code_stands_is_heard():
    prior = small.autoregressive()
    near, codes = prior.near(TEXTS, IMAGES), prior.codes.encode(IMAGES)
    said = prior.logits(TEXTS, near, codes[:, :-1])
    with torch.no_grad():
        prior.places.copy_(prior.places.roll(1, 0))
    other = prior.logits(TEXTS, near, codes[:, :-1])
    assert ((said - other).abs().amax((0, 2)) > 1e-3).all()


def test_caption_and_nearness_are_heard_by_every_code():
    prior = small.autoregressive()
    near, codes = prior.near(TEXTS, IMAGES), prior.codes.encode(IMAGES)
    said = prior.logits(TEXTS, near, codes[:, :-1])
    for other in (
        prior.logits(TEXTS.flip(0), near, codes[:, :-1]),
        prior.logits(TEXTS, (near + 1) % 5, codes[:, :-1]),
    ):
        assert ((said - other).abs().amax((0, 2)) > 1e-3).all()


def test_levels_of_nearness_are_equally_full_in_training():
    prior = small.autoregressive()
    near = prior.near(TEXTS, IMAGES)
    assert near.bincount().tolist() == [8] * 5
    order = cosines(TEXTS, IMAGES).argsort()
    assert (near[order].diff() >= 0).all()


def test_draws_have_the_chances_that_it_says():
    shape = CodesConfig(
        kept=1, buckets=4, levels=2, width=6, depth=1, heads=1
    )  # fmt: skip
    prior = small.autoregressive(shape)
    text = TEXTS[:1].expand(20_000, -1)
    codes = prior.codes.encode(prior.guess(text, fresh()))
    found = codes.flatten().bincount(minlength=4) / 20_000
    said = prior.logits(
        text[:1], torch.tensor([1]), torch.empty(1, 0, dtype=torch.long)
    )
    expected = said[0, 0].softmax(-1)
    assert expected.max() > 2 * expected.min()
    assert (found - expected).abs().max() < 0.015


def test_it_draws_with_a_nearness_from_the_upper_half():
    asked = []

    class Watched(AutoregressivePrior):
        def next(self, texts, nearness, codes):
            asked.append(nearness)
            return super().next(texts, nearness, codes)

    prior = Watched(TEXTS, IMAGES, small.CODES)
    prior.drawn(TEXTS, fresh())
    assert set(asked[0].tolist()) == {2, 3, 4}
    assert all(torch.equal(asked[0], later) for later in asked[1:])


def test_the_scale_leads_away_from_what_no_caption_says():
    prior = small.autoregressive(scale=2.5)
    near, codes = torch.tensor([4, 3]), torch.tensor([[1], [3]])
    zeros = torch.zeros_like(TEXTS[:2])
    with_, without = (
        prior.logits(t, near, codes)[:, -1] for t in (TEXTS[:2], zeros)
    )
    expected = without + 2.5 * (with_ - without)
    found = prior.next(TEXTS[:2], near, codes)
    torch.testing.assert_close(found, expected)


def test_what_is_drawn_is_a_middle_of_buckets():
    prior = small.autoregressive()
    found = prior.guess(TEXTS, fresh())
    again = prior.codes.decode(prior.codes.encode(found))
    torch.testing.assert_close(found, again)


REFUSED = {
    "heads": (
        lambda: CodesConfig(width=10, heads=3),
        "heads: got 3, expected a divisor of width = 10",
    ),
    "no level": (
        lambda: CodesConfig(levels=0),
        "levels: got 0, expected at least 1",
    ),
    "more axes than features": (
        lambda: AutoregressivePrior(TEXTS, IMAGES, CodesConfig(kept=9)),
        "kept: got 9, expected at most 7 axes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)
