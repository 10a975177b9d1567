"""Images by name: what they are, and what is said when there are none."""

import sys

import numpy as np
import pytest
import sklearn.datasets
import torch

from llmnotes import data, pictures, scenes


def test_the_digits_are_scikit_learns_between_0_and_1():
    found, labels = data.images("digits")
    pixels, classes = sklearn.datasets.load_digits(return_X_y=True)
    assert found.dtype == np.float32 and found.shape == (1797, 8, 8)
    assert (found.min(), found.max()) == (0, 1)
    np.testing.assert_array_equal(found.reshape(1797, -1) * 16, pixels)
    np.testing.assert_array_equal(labels, classes)


def test_every_name_is_listed_with_what_it_is_and_can_be_had():
    for name, about in pictures.names().items():
        found, labels = pictures.images(name)
        assert len(found) == len(labels) and about


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="^name: got 'cats'.*one of digits"):
        data.images("cats")


def test_without_scikit_learn_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(RuntimeError, match="digits: .*pip install scikit-l"):
        data.images("digits")


def test_every_captioned_set_is_listed_and_gives_what_is_asked_for():
    for name, about in pictures.captioned_names().items():
        found, told = data.captioned(name, count=7)
        assert len(found) == len(told) == 7 and about


def test_the_shapes_are_those_of_scenes_in_three_splits():
    train, said = data.captioned("shapes", count=64)
    assert train.dtype == np.float32 and train.shape == (64, 3, 16, 16)
    assert scenes.share_right(torch.from_numpy(train), said)["all"] == 1
    again, told = data.captioned("shapes", count=64)
    assert told == said and np.array_equal(again, train)
    for other in ({"split": "test"}, {"seed": 1}):
        assert not np.array_equal(data.captioned(count=64, **other)[0], train)
    for split in scenes.batches.SPLITS:
        for objects in (1, 2):
            told = data.captioned(split=split, objects=objects, count=32)[1]
            read = [scenes.parse(caption) for caption in told]
            assert {s.held_out for s in read} == {split == "held_out"}
            assert {len(s.things) for s in read} == {objects}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"name": "cats"}, "name: got 'cats', expected one of shapes"),
        ({"split": "dev"}, "split: got 'dev', expected one of train, test"),
        ({"objects": 3}, "objects: got 3, expected 1 or 2"),
        ({"count": 0}, "count: got 0, expected at least 1"),
    ],
)
def test_what_no_captioned_set_has_is_refused(asked, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        data.captioned(**asked)
