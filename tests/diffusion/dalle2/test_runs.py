"""Runs: priors and decoders learn, and draw the same for a seed."""

import pytest
import torch

from llmnotes import scenes
from llmnotes.diffusion.dalle2 import AutoregressivePrior, MeanGap, runs
from llmnotes.diffusion.dalle2.task import Decoding, Guessing, known
from tests.diffusion.dalle2 import small
from tests.diffusion.dalle2.small import fresh

CLIP = small.clip()
LEARNED, JUDGED = known(CLIP, 120), known(CLIP, 40, split="test")
CAPTIONS = ["a small red circle", "a large blue triangle"]


def lowered(prior, name):
    """Loss after a few steps, as a share of the loss before."""
    before = Guessing(LEARNED, JUDGED).evaluate(prior)
    history = runs.learn(
        prior, name, LEARNED, JUDGED, steps=12, rate=1e-2, size=32,
        progress=False,
    )  # fmt: skip
    return history[-1].validation_loss / before


def coarse(learned):
    """A small prior of few codes."""
    return AutoregressivePrior(learned.texts, learned.images, small.CODES)


@pytest.mark.parametrize("name", ["regression", "diffusion"])
def test_a_few_steps_lower_the_loss_of_a_prior(name):
    prior = runs.untrained(name, LEARNED)
    assert lowered(prior, name) < 0.8


def test_a_prior_of_codes_learns_too(monkeypatch):
    monkeypatch.setitem(runs.PRIORS, "autoregressive", coarse)
    prior = runs.untrained("autoregressive", LEARNED)
    assert lowered(prior, "autoregressive") < 0.9


def test_a_decoder_learns_and_all_its_weights_move():
    decoder = runs.untrained_decoder(small.FEATURES, small.SHAPE)
    before = {n: p.clone() for n, p in decoder.named_parameters()}
    task = Decoding(CLIP, steps=1000, among=scenes.scenes(1))
    start = task.evaluate(decoder)
    history = runs.learn_decoder(
        decoder, CLIP, objects=1, steps=8, size=8, rate=1e-2, progress=False
    )
    assert history[-1].validation_loss < 0.9 * start
    assert not any(
        torch.equal(p, before[n]) for n, p in decoder.named_parameters()
    )


@pytest.mark.parametrize("objects", [1, 2])
def test_a_decoder_never_sees_the_held_out_pairs(monkeypatch, objects):
    asked = []

    def fit(model, task, *_, **__):
        asked.append(task)
        return runs.train.History()

    monkeypatch.setattr(runs.train, "fit", fit)
    runs.learn_decoder(small.painter(), CLIP, objects=objects)
    among = asked[0].among
    assert len(among) == (18, 1296)[objects - 1]
    assert not any(scene.held_out for scene in among)
    assert all(len(scene.things) == objects for scene in among)


@pytest.mark.parametrize("name", ["direct", "mean gap"])
def test_some_priors_have_nothing_to_learn(name):
    prior = runs.untrained(name, LEARNED)
    assert not list(prior.parameters())
    assert name == "direct" or isinstance(prior, MeanGap)


def test_networks_are_as_wide_as_the_embeddings():
    prior = runs.untrained("regression", LEARNED)
    assert prior.network.config.features == small.FEATURES


def test_equal_seeds_make_equal_priors():
    one, two, other = (
        runs.untrained("diffusion", LEARNED, seed).state_dict()
        for seed in (0, 0, 1)
    )
    same = [torch.equal(one[n], two[n]) for n in one]
    differ = [not torch.equal(one[n], other[n]) for n in one]
    assert all(same) and any(differ)


def test_captions_become_pictures():
    prior = runs.untrained("diffusion", LEARNED)
    decoder = small.painter()
    one, two = (
        runs.draw(CLIP, prior, decoder, CAPTIONS, generator=fresh(1), steps=2)
        for _ in range(2)
    )
    assert torch.equal(one, two) and one.shape == (2, 3, 16, 16)
    assert 0 <= one.min() and one.max() <= 1
    assert scenes.share_right(one, CAPTIONS)["all"] == 0  # it knows nothing


def test_an_unknown_prior_is_refused():
    expected = (
        "name: got 'linear', expected one of direct, mean gap, regression, "
        "autoregressive, diffusion"
    )
    with pytest.raises(ValueError) as error:
        runs.untrained("linear", LEARNED)
    assert str(error.value) == expected
