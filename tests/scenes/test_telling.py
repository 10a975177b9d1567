"""Captions say what a scene means, and every one of them is read again."""

import itertools

import pytest
import torch

from llmnotes.scenes.scene import RELATIONS, Scene, Thing, same, scenes
from llmnotes.scenes.telling import WORDS, caption, captions, parse, words

RED = Thing("small", "red", "circle")
BLUE = Thing("large", "blue", "square")
SCENE = Scene((RED, BLUE), "left of")


def test_the_first_caption_is_canonical_and_the_rest_by_hand():
    red, blue = "a small red circle", "a large blue square"
    assert captions(SCENE)[:7] == [
        f"{red} left of {blue}",
        f"{red} to the left of {blue}",
        f"{red} on the left of {blue}",
        f"{blue} right of {red}",
        f"{blue} to the right of {red}",
        f"{blue} on the right of {red}",
        f"there is {red} left of {blue}",
    ]
    assert captions(Scene((RED,))) == [red, f"there is {red}", f"we see {red}"]
    assert caption(SCENE) == f"{red} left of {blue}"


def test_every_caption_of_every_scene_is_read_as_what_it_means():
    every = [*scenes(1, None), *scenes(2, None)]
    first = {caption(scene) for scene in every}
    assert len(first) == len(every)
    for scene in every[:24] + every[24::53]:
        told = captions(scene)
        assert len(set(told)) == len(told) == (3, 18)[len(scene.things) - 1]
        assert all(same(parse(text), scene) for text in told)
        assert parse(told[0]) == scene  # in the order of the words


def test_scenes_share_a_caption_only_if_they_mean_the_same():
    some = [
        Scene(pair, r)
        for pair in itertools.product((RED, BLUE), repeat=2)
        for r in RELATIONS
    ]
    for one, other in itertools.product(some, some):
        shared = set(captions(one)) & set(captions(other))
        assert bool(shared) == same(one, other)


def test_a_drawn_caption_follows_its_generator_and_reaches_all():
    drawn = [
        [caption(SCENE, torch.Generator().manual_seed(i)) for i in range(200)]
        for _ in range(2)
    ]
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == set(captions(SCENE))


def test_capitals_and_a_full_stop_do_not_count():
    assert parse("A small red circle  LEFT of a large blue square.") == SCENE


def test_the_27_words_are_all_used():
    told = {w for s in scenes(2)[::19] for t in captions(s) for w in words(t)}
    assert told == set(WORDS) and len(WORDS) == len(told) == 27


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a small red circles",
            "unknown word 'circles' at position 3.*'circle'$",
        ),
        ("a tiny red circle", "unknown word 'tiny' at position 1"),
        ("a small, red circle", "unknown word 'small,' at.*'small'$"),
        ("", "got the end at position 0, expected 'a'"),
        (" . ", "got the end at position 0, expected 'a'"),
        ("there is", "got the end at position 2, expected 'a'"),
        ("a red circle", "got 'red' at position 1, expected 'small' or 'lar"),
        ("a small circle", "got 'circle' at position 2, expected 'red' or"),
        ("a small red", "got the end at position 3, expected 'circle' or"),
        ("a small red circle left a", "got 'left' at position 4.*'left of'"),
        ("a small red circle over", "got the end at position 5, expected 'a'"),
        (
            "a small red circle a large blue square",
            "got 'a' at position 4, expected where it lies",
        ),
        (
            "a small red circle over a large blue square over",
            "got 'over' at position 9, expected the end",
        ),
    ],
)
def test_what_is_no_caption_is_refused_at_its_word(text, said):
    with pytest.raises(ValueError, match=f"^caption: .*{said}"):
        parse(text)
