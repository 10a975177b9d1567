"""Batches: (seed, step) decides them, and what they may show."""

import pytest
import torch

from llmnotes.scenes.batches import SPLITS, batch
from llmnotes.scenes.scene import same, scenes
from llmnotes.scenes.telling import caption, parse


def test_a_batch_is_a_function_of_seed_and_step():
    first, again = batch(3, 5, 17), batch(3, 5, 17)
    torch.rand(1)  # no state of torch's takes part
    assert torch.equal(first.images, again.images)
    assert (first.scenes, first.captions) == (again.scenes, again.captions)
    others = [batch(4, 5, 17), batch(3, 6, 17), batch(5, 3, 17)]
    others += [batch(3, 5, 17, split="test")]
    for other in others:
        assert not torch.equal(other.images, first.images)
        assert other.captions != first.captions


def test_captions_mean_their_scenes_with_and_without_paraphrases():
    told = batch(0, 0, 100)
    assert all(map(same, map(parse, told.captions), told.scenes))
    plain = batch(0, 0, 100, paraphrases=False)
    assert plain.captions == [caption(scene) for scene in plain.scenes]
    assert plain.scenes == told.scenes
    assert torch.equal(plain.images, told.images)
    assert plain.captions != told.captions


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_shows_held_out_pairs_always_or_never(split):
    shown = batch(1, 2, 200, split=split).scenes
    assert {scene.held_out for scene in shown} == {split == "held_out"}


def test_scenes_are_drawn_evenly_from_those_given():
    among = [*scenes(1)[:2], scenes(2)[7]]
    shown = batch(0, 0, 600, among).scenes
    counts = [shown.count(scene) for scene in among]
    assert sum(counts) == 600
    assert all(150 < count < 250 for count in counts)  # 4 σ of 200


@pytest.mark.parametrize(
    ("go", "said"),
    [
        (lambda: batch(0, 0, 0), "size: got 0, expected at least 1"),
        (lambda: batch(0, 0, 1, split="dev"), "split: got 'dev', expected on"),
        (lambda: batch(0, 0, 1, []), "among: got no scene, expected at least"),
    ],
)
def test_what_cannot_be_drawn_is_refused(go, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        go()
