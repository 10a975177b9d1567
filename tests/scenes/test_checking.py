"""The checker: right on what was drawn, never on what was not."""

import math

import pytest
import torch

from llmnotes.scenes.batches import batch
from llmnotes.scenes.checking import (
    WRONG,
    Found,
    Verdict,
    found,
    read,
    read_all,
    relation_of,
    share_right,
    shifts,
    verdict,
    verdicts,
)
from llmnotes.scenes.drawing import draw
from llmnotes.scenes.scene import (
    RELATIONS,
    Scene,
    Thing,
    canonical,
    same,
    scenes,
    turned,
)
from tests.scenes.pictures import circle, noisy, picture, square

RED = Thing("small", "red", "circle")
BLUE = Thing("large", "blue", "square")
SCENE = Scene((RED, BLUE), "left of")
ALL = ["number", "sizes", "colours", "shapes", "relation", "all"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("objects", [1, 2])
def test_600_drawn_pictures_are_all_read_and_none_by_another_caption(objects):
    drawn = batch(11, 0, 600, scenes(objects, None))
    assert read_all(drawn.images) == [canonical(s) for s in drawn.scenes]
    right = share_right(drawn.images, drawn.captions)
    assert right == dict.fromkeys(ALL, 1)
    others = drawn.scenes[1:] + drawn.scenes[:1]
    different = [
        not same(a, b) for a, b in zip(others, drawn.scenes, strict=True)
    ]
    said = verdicts(drawn.images, others)
    assert sum(different) > 500
    assert [one.all for one in said] == [not d for d in different]


def test_the_meaning_counts_and_not_the_side_it_is_told_from():
    image = draw(SCENE, seeded())
    assert verdict(image, SCENE).all and verdict(image, turned(SCENE)).all
    assert verdict(
        image, "we see a large blue square right of a small red circle"
    ).all
    assert read(image) == SCENE


def test_each_attribute_is_judged_by_itself():
    image = draw(SCENE, seeded(1))

    def said(one, other, relation="left of"):
        return verdict(image, Scene((Thing(*one), Thing(*other)), relation))

    red, blue = ("small", "red", "circle"), ("large", "blue", "square")
    right = Verdict(True, True, True, True, True)
    assert said(red, blue) == right and right.all
    for wrong, expected in [
        (("large", "red", "circle"), (True, False, True, True, True)),
        (("small", "green", "circle"), (True, True, False, True, True)),
        (("small", "red", "triangle"), (True, True, True, False, True)),
    ]:
        assert said(wrong, blue) == Verdict(*expected)
    for relation in RELATIONS[1:]:
        got = said(red, blue, relation)
        assert got == Verdict(True, True, True, True, False) and not got.all
    # Swapped things: all words are there, only the relation is wrong.
    assert said(blue, red) == Verdict(True, True, True, True, False)
    # A colour that moved to the other thing is wrong twice.
    assert not said(
        ("small", "blue", "circle"), ("large", "red", "square")
    ).all
    assert verdict(image, Scene((RED,))) == WRONG


def test_another_number_of_things_has_nothing_right():
    one, two = Scene((RED,)), SCENE
    assert verdict(draw(one, seeded()), two) == WRONG
    assert verdict(draw(two, seeded()), one) == WRONG
    corners = [(3, 3), (12, 3), (3, 12)]
    three = picture(*((circle(2.1, x, y), "red") for x, y in corners))
    assert len(found(three[None])[0]) == 3
    assert read(three) is None and verdict(three, two) == WRONG
    assert found(picture()[None]) == [()]
    assert read(picture()) is None and verdict(picture(), one) == WRONG


def test_things_that_touch_or_overlap_are_not_two():
    for x in (10.2, 11.0, 11.6):
        both = picture((circle(2.1, 6.5), "red"), (square(3.2, x), "blue"))
        assert read(both) is None and verdict(both, SCENE) == WRONG


def test_one_unclear_thing_is_no_scene_and_spoils_its_word_alone():
    both = picture((circle(2.1, 4), "red"), (square(3.2, 12), (0.6, 0.1, 0.8)))
    assert read(both) is None
    assert verdict(both, SCENE) == Verdict(True, True, False, True, True)


def at(x, y):
    return Found(None, None, None, (x, y))


def test_the_longer_way_tells_the_relation_and_the_diagonal_none():
    assert relation_of(at(2, 5), at(9, 8)) == "left of"
    assert relation_of(at(9, 8), at(2, 5)) == "right of"
    assert relation_of(at(6, 2), at(8, 9)) == "above"
    assert relation_of(at(8, 9), at(6, 2)) == "below"
    for x, y in [(9, 9), (9, 1.5), (9, 8.7), (8.7, 9), (5, 5)]:
        assert relation_of(at(5, 5), at(x, y)) is None
    slanted = picture(
        (circle(2.1, 4, 4), "red"), (square(3.2, 11, 11), "blue")
    )
    assert len(found(slanted[None])[0]) == 2 and read(slanted) is None
    for relation in RELATIONS:
        assert not verdict(slanted, Scene((RED, BLUE), relation)).all


def test_noise_of_a_twentieth_changes_no_reading():
    drawn = batch(12, 0, 300, scenes(2, None))
    assert share_right(noisy(drawn.images, 0.05), drawn.scenes)["all"] == 1


def test_noise_alone_is_never_a_scene():
    for sigma in (0.1, 0.3, 1.0):
        images = noisy(picture().expand(200, -1, -1, -1), sigma, seed=1)
        assert read_all(images) == [None] * 200


def test_under_noise_the_checker_says_nothing_before_it_says_a_wrong_word():
    drawn = batch(13, 0, 400, scenes(1, None))
    read = read_all(noisy(drawn.images, 0.15))
    pairs = list(zip(read, drawn.scenes, strict=True))
    wrong = sum(one is not None and one != scene for one, scene in pairs)
    silent = sum(one is None for one, _ in pairs)
    assert wrong <= 4 < silent


def test_shifts_match_things_by_place_and_not_by_look():
    one = picture((circle(2.1, 4, 5), "red"), (circle(2.1, 12, 5), "blue"))
    other = picture((circle(2.1, 4, 6), "blue"), (circle(2.1, 12, 8), "red"))
    alone = picture((circle(2.1, 4, 5), "red"))
    got = shifts(
        torch.stack([one, one, alone]), torch.stack([other, alone] * 2)[:3]
    )
    assert got[0] == pytest.approx((1 + 3) / 2, abs=0.02)
    assert math.isnan(got[1]) and math.isnan(got[2])
    assert shifts(one[None], one[None]).tolist() == [0]


def test_shares_count_pictures_by_hand():
    images = torch.stack([draw(SCENE, seeded(i)) for i in range(4)])
    told = [SCENE, turned(SCENE), Scene((BLUE, RED), "left of"), Scene((RED,))]
    assert share_right(images, told) == {
        "number": 0.75,
        "sizes": 0.75,
        "colours": 0.75,
        "shapes": 0.75,
        "relation": 0.5,
        "all": 0.5,
    }


@pytest.mark.parametrize(
    ("go", "said"),
    [
        (lambda im: verdicts(im, [SCENE]), "scenes: got 1, expected 2, one"),
        (lambda im: share_right(im[:0], []), "images: got none, expected at"),
        (lambda im: verdict(im[0], "a red cat"), "caption: got the unknown"),
        (lambda im: shifts(im, im[:1]), "others: got 1, expected 2, one for"),
        (lambda im: read(im[0, :, :8]), "images: got shape .1, 3, 8, 16."),
    ],
)
def test_what_cannot_be_judged_is_refused(go, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        go(torch.zeros(2, 3, 16, 16))
