"""What batches of captioned shapes hold, and who fits whom."""

import pytest
import torch

from llmnotes import scenes
from llmnotes.diffusion.clip import pairs
from llmnotes.diffusion.clip.task import meaning, pixels, swapped
from llmnotes.scenes import VOCABULARY, canonical, parse

LATE = 400  # a step at which everything may differ
TASKS = (
    pairs.Pairs, pairs.Contrasts, pairs.Parts, pairs.PartsAndContrasts,
    pairs.Singles,
)  # fmt: skip


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
        assert same.any(0).all() and same.any(1).all()
        assert images.min() >= -1 and images.max() > 0


@pytest.mark.parametrize("task", (pairs.Pairs, pairs.Contrasts))
def test_what_is_the_same_is_what_a_program_reads(task):
    images, ids, same = task(size=20).batch(LATE)
    seen = [scenes.read((image + 1) / 2) for image in images]
    said = [parse(caption) for caption in VOCABULARY.decode(ids)]
    expected = meaning(seen)[:, None] == meaning(said)
    assert torch.equal(same, expected)


def test_captions_that_leave_out_are_true_of_what_is_the_same():
    task = pairs.Parts(size=20)
    images, ids, same = task.batch(0)  # colours only
    seen = [scenes.read((image + 1) / 2) for image in images]
    keys = [pairs.known(scene, ("colour",)) for scene in seen]
    captions = VOCABULARY.decode(ids)
    for i, caption in enumerate(captions):
        assert not {"small", "large", "circle", "square"} & {*caption.split()}
        told = [w for w in caption.split() if w in scenes.COLOURS]
        colours = [t.colour for t in seen[i].things]
        assert told in (colours, colours[::-1])
    assert torch.equal(
        same, torch.tensor([[a == b for b in keys] for a in keys])
    )


@pytest.mark.parametrize("word", pairs.WORDS)
def test_a_block_agrees_in_all_but_one_attribute(word):
    found = pairs.block((word,), 8, draw())
    assert len(found) == len({canonical(scene) for scene in found}) > 4
    others = [w for w in pairs.WORDS if w != word]
    kept = {
        frozenset(tuple(getattr(t, w) for w in others) for t in s.things)
        for s in found
    }
    assert len(kept) == 1
    assert not any(scene.held_out for scene in found)


@pytest.mark.parametrize("seed", range(5))
def test_a_block_holds_the_twins_of_its_scenes(seed):
    found = pairs.block(("colour",), 8, draw(seed))  # few of those there are
    meant = {canonical(scene) for scene in found}
    known = [canonical(swapped(scene)) in meant for scene in found]
    assert sum(known) >= len(known) - 1  # the last may have been cut


def test_a_block_tells_of_more_than_one_relation():
    told = [
        {canonical(s).relation for s in pairs.block(("size",), 8, draw(seed))}
        for seed in range(5)
    ]
    assert max(map(len, told)) > 1


def test_every_fourth_batch_of_singles_shows_one_thing():
    for step in range(LATE, LATE + 8):
        images = pairs.Singles(size=8).batch(step)[0]
        things = {len(scenes.read((x + 1) / 2).things) for x in images}
        assert things == {1 if step % 4 == 3 else 2}


def test_half_of_a_batch_are_other_pictures_of_the_same():
    images, ids, same = pairs.Contrasts(size=64).batch(LATE)
    assert len(images) >= 2 * len(ids) - 1
    again = images[: len(ids)], images[len(ids) : 2 * len(ids)]
    assert torch.equal(same[: len(ids)], same[len(ids) : 2 * len(ids)])
    assert not torch.equal(*again)


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


def test_shares_are_drawn_as_often_as_they_say():
    generator = draw(2)
    shares = pairs.Contrasts.shares
    found = [pairs.one_of(shares, generator) for _ in range(1000)]
    for key, share in shares.items():
        assert abs(found.count(key) / 1000 - share) < 0.05


def test_pictures_of_a_task_are_as_a_tower_takes_them():
    drawn = scenes.batch(0, 0, 2)
    assert torch.equal(pixels(drawn.images), 2 * drawn.images - 1)
