"""What batches of captioned shapes hold, and who fits whom."""

import pytest
import torch

from llmnotes import scenes
from llmnotes.diffusion.clip import pairs
from llmnotes.diffusion.clip.task import meaning, pixels, swapped
from llmnotes.scenes import VOCABULARY, canonical, parse

LATE = 400
TASKS = pairs.Pairs, pairs.Exchanges


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("step", (0, LATE))
def test_a_batch_is_a_function_of_seed_and_step(task, step):
    learned = task(size=12, seed=3)
    one, again = learned.batch(step), task(size=12, seed=3).batch(step)
    other = task(size=12, seed=4).batch(step)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[0][:1], other[0][:1])


@pytest.mark.parametrize("task", TASKS)
def test_every_picture_has_a_caption_and_every_caption_a_picture(task):
    for step in range(LATE, LATE + 5):
        images, ids, same = task(size=24).batch(step)
        assert same.shape == (len(images), len(ids))
        assert same.diagonal().all()
        assert images.min() >= -1 and images.max() > 0


@pytest.mark.parametrize("task", TASKS)
def test_what_is_the_same_is_what_a_program_reads(task):
    images, ids, same = task(size=20).batch(LATE)
    seen = [scenes.read((image + 1) / 2) for image in images]
    said = [parse(caption) for caption in VOCABULARY.decode(ids)]
    expected = meaning(seen)[:, None] == meaning(said)
    assert torch.equal(same, expected)


@pytest.mark.parametrize("seed", range(5))
def test_a_family_has_the_same_words_in_other_places(seed):
    base = pairs.several(scenes.scenes(2), 1, draw(seed))[0]
    found = pairs.family(base)
    assert base in found and swapped(base) in found or is_symmetric(base)
    assert len(found) == len({canonical(scene) for scene in found})
    words = [
        {w: sorted(getattr(t, w) for t in s.things) for w in pairs.WORDS}
        for s in found
    ]
    assert all(one == words[0] for one in words)
    assert {scene.relation for scene in found} == {base.relation}


def is_symmetric(scene):
    """Whether the exchange of all attributes changes nothing."""
    return canonical(swapped(scene)) == canonical(scene)


def test_a_family_by_hand():
    base = parse("a small red circle left of a large blue triangle")
    told = {
        "a small red circle left of a large blue triangle",
        "a large red circle left of a small blue triangle",
        "a small blue circle left of a large red triangle",  # held out
        "a small red triangle left of a large blue circle",  # held out
        "a large blue circle left of a small red triangle",  # held out
        "a large red triangle left of a small blue circle",  # held out
        "a small blue triangle left of a large red circle",
        "a large blue triangle left of a small red circle",
    }
    meant = {s for s in map(parse, told) if not s.held_out}
    assert {*pairs.family(base)} == meant and len(meant) == 4


def test_a_batch_of_exchanges_holds_families():
    told = pairs.Exchanges(size=32).told(0, draw())
    known = {canonical(scene) for scene in told}
    twins = [canonical(swapped(scene)) in known for scene in told]
    assert sum(twins) >= 24  # the last family may be cut


def test_nothing_that_is_held_out_is_shown():
    for task in TASKS:
        for step in (0, LATE, LATE + 3):
            told = task(size=16).batch(step)[0]
            read = [scenes.read((image + 1) / 2) for image in told]
            assert not any(scene.held_out for scene in read if scene)


def test_ids_are_cut_behind_the_longest_end():
    ids = pairs.encoded(["a red left of a blue", "a small red circle"])
    assert ids.shape == (2, 8)
    assert (ids == VOCABULARY.end).any(1).all()


def test_pictures_of_a_task_are_as_a_tower_takes_them():
    drawn = scenes.batch(0, 0, 2)
    assert torch.equal(pixels(drawn.images), 2 * drawn.images - 1)
