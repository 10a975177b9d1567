"""Scenes, their number and their meaning, counted and told by hand."""

import pytest

from llmnotes.scenes.scene import (
    COLOURS,
    HELD_OUT,
    SHAPES,
    Scene,
    Thing,
    canonical,
    same,
    scenes,
    turned,
)

RED = Thing("small", "red", "circle")
BLUE = Thing("large", "blue", "square")


def test_a_scene_told_from_the_other_side_means_the_same():
    scene = Scene((RED, BLUE), "left of")
    assert turned(scene) == Scene((BLUE, RED), "right of") != scene
    assert same(scene, turned(scene))
    assert canonical(turned(scene)) == scene
    assert not same(scene, Scene((BLUE, RED), "left of"))
    assert not same(scene, Scene((RED, BLUE), "above"))


def test_there_are_2304_scenes_of_two_things_and_1296_to_train_on():
    assert 2304 == len(scenes(2, None)) == 24 * 24 * 4
    assert 1296 == len(scenes(2)) == 18 * 18 * 4
    assert len(scenes(2, True)) == 2304 - 1296
    assert [len(scenes(1, h)) for h in (False, True, None)] == [18, 6, 24]
    assert len({canonical(s) for s in scenes(2, None)}) == 1152


def test_training_has_every_colour_and_every_shape_and_no_held_out_pair():
    for objects in (1, 2):
        things = [t for scene in scenes(objects) for t in scene.things]
        pairs = {(t.colour, t.shape) for t in things}
        assert pairs.isdisjoint(HELD_OUT) and len(pairs) == 9
        for colour in COLOURS:
            assert len([p for p in pairs if p[0] == colour]) >= 2
        for shape in SHAPES:
            assert len([p for p in pairs if p[1] == shape]) == 3
        held = scenes(objects, True)
        assert all(any(t.held_out for t in s.things) for s in held)


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: Thing("tiny", "red", "circle"), "size: got 'tiny'.*small"),
        (lambda: Thing("small", "pink", "circle"), "colour: got 'pink'"),
        (lambda: Thing("small", "red", "disc"), "shape: got 'disc'"),
        (lambda: Scene(()), "things: got 0 of them, expected 1 or 2"),
        (lambda: Scene((RED,) * 3), "things: got 3 of them"),
        (lambda: Scene((RED, BLUE)), "relation: got None, expected one of"),
        (lambda: Scene((RED, BLUE), "near"), "relation: got 'near'"),
        (lambda: Scene((RED,), "above"), "relation: got 'above', expected No"),
        (lambda: scenes(3), "objects: got 3, expected 1 or 2"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        make()
