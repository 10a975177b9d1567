"""Pairs under noise: what a noised CLIP learns from."""

import pytest
import torch

from llmnotes import scenes
from llmnotes.diffusion.clip.task import LAPTOP
from llmnotes.diffusion.ddpm import Schedule, cosine
from llmnotes.diffusion.glide.clip_guidance import NoisedCLIP
from llmnotes.diffusion.glide.noisy_pairs import NoisyPairs
from llmnotes.diffusion.glide.task import shown
from llmnotes.scenes import VOCABULARY
from llmnotes.scenes.scene import turned

SCHEDULE = Schedule(cosine(50))


def pairs(last=50, **options):
    few = scenes.scenes(1)[:5]
    return NoisyPairs(SCHEDULE, last, **dict(among=few, size=12) | options)


def test_a_batch_is_a_function_of_seed_and_step():
    for a, b in zip(pairs().batch(3), pairs().batch(3), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(pairs().batch(3)[0], pairs().batch(4)[0])


def test_noise_is_as_large_as_the_time_says():
    x, time, _, _ = pairs(size=50).batch(0)
    assert time.min() == 0 and time.max() == pytest.approx(1, abs=0.03)
    rough = (x[:, :, 1:] - x[:, :, :-1]).square().mean((1, 2, 3))
    assert rough[time > 0.8].min() > rough[time < 0.1].max()


def test_without_noise_pictures_are_clean():
    x, time, ids, _ = pairs(last=0).batch(0)
    assert not time.any()
    found = scenes.share_right(shown(x), VOCABULARY.decode(ids))
    assert found["all"] == 1


def test_all_that_means_the_same_is_right():
    one = scenes.parse("a small red circle left of a large blue circle")
    among = [one, turned(one), *scenes.scenes(2)[:3]]
    _, _, ids, same = pairs(among=among).batch(0)
    assert torch.equal(same, same.T) and same.diagonal().all()
    told = [scenes.parse(c) for c in VOCABULARY.decode(ids)]
    known = [[scenes.same(a, b) for b in told] for a in told]
    assert same.tolist() == known
    assert {s for s in told if s.relation} >= {one, turned(one)}


def test_the_loss_reaches_pictures_words_and_the_scale():
    model = NoisedCLIP(LAPTOP)
    loss = pairs().loss(model, pairs().batch(0))
    loss.backward()
    for name, p in model.named_parameters():
        if "position_embedding" not in name or "vision" in name:
            assert p.grad is not None, name
    assert model.clip.logit_scale.grad != 0


def test_a_level_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="last: got 51, expected 0 to 50"):
        pairs(last=51)
